# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""An emulated Unitree host in lockstep, and the messages of its driver."""

from typing import Any

import numpy as np

from robot_sim import unitree_messages as messages
from robot_sim.host_faults import HostFaultPlan
from robot_sim.robot_host import HostEvent
from robot_sim.unitree_host import LOW_CMD, LOW_STATE, ApiRequest, ApiResponse, UnitreeHost
from robot_sim.unitree_state import UnitreeFault

CHECK, SELECT, RELEASE = 1001, 1002, 1003
STAND_DOWN = 1005


def low_cmd(
    family: str, pose: np.ndarray, *, stiffness: float, damping: float, **changes: Any
) -> bytes:
    """Return a LowCmd that holds a pose, in the order of the motors.

    Args:
        changes: Other values for fields of the message; `motors_...` sets a field of its motors.
            The CRC is right unless `crc` is given.
    """
    message = messages.blank(f"{family}.LowCmd")
    motors = message["motor_cmd"]
    motors["mode"][: len(pose)] = 1
    motors["q"][: len(pose)], motors["kp"][: len(pose)] = pose, stiffness
    motors["kd"][: len(pose)] = damping
    if family == "go":
        message["head"], message["level_flag"] = messages.HEAD, messages.LEVEL_FLAG
    else:
        message["mode_machine"] = 5
    wrong_crc = changes.pop("crc", 0)
    for field, value in changes.items():
        if field.startswith("motors_"):
            motors[field.removeprefix("motors_")] = value
        else:
            message[field] = value
    messages.seal(message)
    message["crc"] ^= wrong_crc
    return messages.encode(f"{family}.LowCmd", message)


class Unitree:
    """A Unitree host, its events, and the messages that it sent."""

    def __init__(self, robot: str = "go2", *, faults: list[str] | None = None, **options: Any):
        self.events: list[HostEvent] = []
        self.host = UnitreeHost(robot, **options)
        self.host.on_event = self.events.append
        self.plan(*(faults or []))
        self.family = self.host.model.family
        self.sent: dict[str, bytes] = {}
        self._requests = 0

    def plan(self, *faults: str) -> None:
        planned, names = UnitreeFault.parse_all(faults), self.host.world.joint_names
        self.host.adopt(HostFaultPlan(planned, seed=0, joint_names=names))

    @property
    def happened(self) -> list[str]:
        """The events so far, without ignored inputs."""
        return [event.what for event in self.events if event.what != "ignored"]

    @property
    def ignored(self) -> dict[str, int]:
        """Number of ignored inputs, by kind."""
        return {kind: count for kind, count in self.host.ignored.items() if count}

    @property
    def standing(self) -> np.ndarray:
        """The standing pose in the order of the motors, rad."""
        names = self.host.figures.joint_names
        return self.host.figures.standing_rad[[names.index(n) for n in self.host.model.motors]]

    @property
    def height_m(self) -> float:
        return float(self.host.world.sense().pos_world[2])

    def command(self, pose: np.ndarray | None = None, **changes: Any) -> bytes:
        """Return a LowCmd that holds a pose, by default the standing pose."""
        given = {"stiffness": 60.0, "damping": 3.0, **changes}
        return low_cmd(self.family, self.standing if pose is None else pose, **given)

    def send(self, data: bytes) -> None:
        self.host.receive(LOW_CMD, data)

    def ask(self, api: int, parameter: str = "{}", service: str = "motion_switcher") -> ApiResponse:
        self._requests += 1
        request = ApiRequest(number=self._requests, api=api, parameter=parameter)
        self.host.receive(service, request)
        ((answering, answer),) = self.host.answers()
        assert (answering, answer.number, answer.api) == (service, self._requests, api)
        return answer

    def run(self, seconds: float, command: bytes | None = None) -> messages.Record:
        """Step the host, with a command every 2 ms if given; return the last LowState."""
        for step in range(round(seconds * 1000)):
            if command is not None and step % 2 == 0:
                self.send(command)
            self.host.act()
            self.sent.update(self.host.step())
        return self.state()

    def state(self) -> messages.Record:
        return messages.decode(f"{self.family}.LowState", self.sent[LOW_STATE])

    def release(self) -> None:
        """Let a standing quadruped lie down, then release its own controller."""
        if self.host.model.feet and self.height_m > 0.15:
            self.ask(STAND_DOWN, service="sport")
            self.run(2.5)
        self.ask(RELEASE)
        self.run(0.4)
        assert not self.host.mode
