# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A Go2 in explicit time: its computer, the driver's link, the policy's controller."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from policy_core.interfaces import F64, Mode
from robot_driver.link import Link
from robot_sim.host_faults import HostFaultPlan
from robot_sim.unitree_host import LOW_CMD, ApiRequest, UnitreeHost
from robot_sim.unitree_state import UnitreeFault
from testkit.wire_policy import WirePolicy
from unitree_driver import wire
from unitree_driver.figures import GO2
from unitree_driver.reception import GRAPH, PublisherNews, UnitreeState
from unitree_driver.robot import UnitreeRobot
from unitree_driver.wire import TOPIC_NAMES, RobotTopic, ServiceResponse

BUNDLE = Path(__file__).resolve().parents[2] / "config" / "bundles" / "go2_walk"
_SERVICES = {RobotTopic.SWITCHER_REQUEST: "motion_switcher", RobotTopic.SPORT_REQUEST: "sport"}
_QUIET = PublisherNews((), ("unitree_go/msg/LowState",), True)


class _Driver(UnitreeRobot):
    model = GO2

    def open(self) -> Any:
        raise NotImplementedError

    def adopt(self, descriptors: Any) -> Any:
        raise NotImplementedError


class Go2:
    """All of it, millisecond by millisecond; the operator is the test.

    Attributes:
        link: The driver's state machine.
        policy: That drives it.
    """

    def __init__(self) -> None:
        """Put a lying robot on the floor, which its own controller holds."""
        self.policy = WirePolicy(BUNDLE, GO2.figures.joint_names)
        self.host = UnitreeHost("go2", pose="lying")
        settings = replace(GO2.defaults, remote_required=False)
        self.link: Link[UnitreeState] = Link(_Driver(settings), 0)
        self.link.receive(_QUIET.pack(), (GRAPH, 0), 0)
        self._state: UnitreeState | None = None
        self._now_ns = 0

    def fail(self, *faults: str) -> None:
        planned = [UnitreeFault.parse(text) for text in faults]
        names = self.host.world.joint_names
        self.host.adopt(HostFaultPlan(planned, seed=0, joint_names=names))

    def run(self, seconds: float) -> None:
        for _ in range(round(1000 * seconds)):
            self.host.act()
            published = self.host.step()
            self._now_ns = self.host.world.time_ns
            for _, data in published:
                source = (TOPIC_NAMES[RobotTopic.LOWSTATE], 0)
                self._state = self.link.receive(data, source, self._now_ns) or self._state
            for _, answer in self.host.answers():
                data = wire.response(ServiceResponse(*answer))
                source = (TOPIC_NAMES[RobotTopic.SWITCHER_RESPONSE], 0)
                self.link.receive(data, source, self._now_ns)
            command = self.policy.tick(self._now_ns, _fields(self._state))
            if command is not None:
                self.link.follow(command, self._now_ns)
            for frame in self.link.step(self._now_ns):
                self._deliver(frame)
            self.link.sent(self._now_ns)

    def walk(self) -> None:
        """Take control, stand up, and walk ahead for two seconds."""
        self.run(1.5)
        self.link.take((), self._now_ns)
        self.run(2.5)
        answer = self.link.report(self._now_ns).answer
        assert answer is not None
        assert answer.success, answer.message
        self.policy.controller.stand()
        while self.policy.controller.mode is Mode.STAND:
            self.run(0.02)
        self.policy.controller.run()
        self.policy.velocity = (0.5, 0.0, 0.0)
        self.run(2.0)
        assert self.policy.controller.mode is Mode.RUN, self.policy.controller.snapshot().reason

    def _deliver(self, frame: bytes) -> None:
        topic = RobotTopic(frame[0])
        if topic is RobotTopic.LOWCMD:
            self.host.receive(LOW_CMD, frame[1:])
            return
        asked = wire.read_request(frame[1:])
        assert asked is not None
        self.host.receive(_SERVICES[topic], ApiRequest(*asked))


def _fields(state: UnitreeState | None) -> dict[str, F64] | None:
    """Return what the policy senses, in the order of the wire."""
    return state and {
        "joint_pos": state.joint_pos,
        "joint_vel": state.joint_vel,
        "quat_xyzw": state.quat_xyzw,
        "ang_vel_body": state.ang_vel,
    }
