# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A link, its robot and its policy in explicit time; nothing here waits."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np

from robot_driver.interfaces import DriverAnswer, DriverPhase, WireCommand
from robot_driver.link import Link
from unitree_driver import wire
from unitree_driver.figures import GO2, UnitreeFigures
from unitree_driver.motion_service import CHECK_MODE, RELEASE_MODE, SELECT_MODE, STAND_DOWN
from unitree_driver.reception import GRAPH, PublisherNews, UnitreeState
from unitree_driver.robot import UnitreeRobot
from unitree_driver.wire import (
    F64,
    TOPIC_NAMES,
    RobotTopic,
    ServiceRequest,
    ServiceResponse,
    WirelessRemote,
)

from .messages import NO_KEYS, low_cmd_values, low_state, remote_with_keys

MS = 1_000_000
STEP_MS = 2
FASTEST_RAD_S = 15.0
DAMP, STAND, RUN = 0, 1, 3
"""Modes of policy_msgs/JointCommand."""
STANDING = np.array([-0.1, 0.8, -1.5, 0.1, 0.8, -1.5, -0.1, 1.0, -1.5, 0.1, 1.0, -1.5])
QUIET = PublisherNews((), ("unitree_go/msg/LowState",), True)


class FakeRobot:
    """The robot's services and its body, which is where its controller puts it.

    Attributes:
        active: Name of its controller; empty: it is released.
        stubborn: Whether ReleaseMode has no effect.
        deaf: Whether no request is answered.
        lies_after_ms: Time that StandDown takes.
        requests: All that came, in order.
    """

    def __init__(self, model: UnitreeFigures, active: str) -> None:
        self.model, self.active = model, active
        self.stubborn = self.deaf = False
        self.lies_after_ms = 600
        self.requests: list[ServiceRequest] = []
        self.answers: list[ServiceResponse] = []
        self.joint_pos = STANDING if model is GO2 else np.full(len(model.slots), 0.05)
        self.lying_at_ms: int | None = None

    def hear(self, frame: bytes, now_ms: int) -> None:
        request = wire.read_request(frame[1:])
        assert request is not None
        self.requests.append(request)
        if frame[0] == RobotTopic.SPORT_REQUEST:
            if request.api == STAND_DOWN and self.active:
                self.lying_at_ms = now_ms + self.lies_after_ms
            return
        if self.deaf:
            return
        data = ""
        if request.api == CHECK_MODE:
            data = json.dumps({"form": "0", "name": self.active})
        elif request.api == RELEASE_MODE and not self.stubborn:
            self.active = ""
        elif request.api == SELECT_MODE:
            self.active = json.loads(request.parameter)["name"]
        self.answers.append(ServiceResponse(request.identity, request.api, 0, data))

    def move(self, now_ms: int) -> None:
        """Lie down, when it is time."""
        if self.lying_at_ms is not None and now_ms >= self.lying_at_ms:
            assert self.model.lying is not None
            self.joint_pos = self.model.lying.position

    def is_free(self) -> bool:
        """Return whether no controller of its own is active."""
        return not self.active

    def apis(self) -> list[int]:
        """Return what was asked, without repetitions in a row."""
        asked = [request.api for request in self.requests]
        return [api for i, api in enumerate(asked) if i == 0 or api != asked[i - 1]]


class Lockstep:
    """A link with a robot that sends its state and, while `mode` is set, a policy of 50 Hz.

    Attributes:
        sent: Time in ms and frame of all that was sent.
        answers: To requests, as they ended.
    """

    def __init__(self, model: UnitreeFigures = GO2, *, active: str = "ai", **settings: Any) -> None:
        """Begin with a robot that its own controller holds, without a sender of commands."""

        class Robot(UnitreeRobot):
            def open(self) -> Any:
                raise NotImplementedError

            def adopt(self, descriptors: Any) -> Any:
                raise NotImplementedError

        Robot.model, Robot.figures, Robot.name = model, model.figures, model.name
        self.model, self.robot = model, FakeRobot(model, active)
        self.driver = Robot(replace(model.defaults, **settings))
        self.link: Link[UnitreeState] = Link(self.driver, 0)
        self.shown = self.robot.joint_pos
        self.now_ms = 0
        self.silent = False
        self.remote: WirelessRemote = NO_KEYS
        self.changes: dict[str, Any] = {}
        self.mode: int | None = None
        self.sequence = 0
        self.sent: list[tuple[int, bytes]] = []
        self.answers: list[DriverAnswer] = []
        self.graph(QUIET)

    @property
    def now_ns(self) -> int:
        return self.now_ms * MS

    def phase(self) -> DriverPhase:
        return self.link.phase

    def graph(self, news: PublisherNews) -> None:
        """Let the transport say which publishers there are."""
        self.link.receive(news.pack(), (GRAPH, 0), self.now_ns)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 1000 / STEP_MS)):
            self.now_ms += STEP_MS
            self.robot.move(self.now_ms)
            if not self.silent:
                self.tell()
            for answer in self.robot.answers:
                self.hear(answer)
            self.robot.answers.clear()
            if self.mode is not None and self.now_ms % 20 == 0:
                self.command(self.mode)
            self.step()

    def tell(self) -> UnitreeState | None:
        """Let the robot send its state, with the tick of the present time."""
        moved = self.robot.joint_pos - self.shown
        self.shown = self.robot.joint_pos
        data = low_state(
            self.model,
            tick=self.now_ms,
            joint_pos=self.robot.joint_pos,
            joint_vel=np.clip(1e3 * moved / STEP_MS, -FASTEST_RAD_S, FASTEST_RAD_S),
            remote=self.remote,
            **self.changes,
        )
        return self.receive(data)

    def receive(self, data: bytes) -> UnitreeState | None:
        """Take the bytes of a LowState."""
        return self.link.receive(data, (TOPIC_NAMES[RobotTopic.LOWSTATE], 0), self.now_ns)

    def hear(self, answer: ServiceResponse) -> None:
        """Take an answer of the motion service."""
        source = (TOPIC_NAMES[RobotTopic.SWITCHER_RESPONSE], 0)
        self.link.receive(wire.response(answer), source, self.now_ns)

    def press(self, *names: str) -> None:
        """Press and release keys of the remote."""
        self.remote = remote_with_keys(*names)
        self.run(0.02)
        self.remote = NO_KEYS
        self.run(0.02)

    def stand(self) -> None:
        """Let the policy stand up, in a second."""
        self.robot.lying_at_ms = None
        lying = self.robot.joint_pos
        for share in np.linspace(0.0, 1.0, 100):
            self.robot.joint_pos = lying + share * (STANDING - lying)
            self.run(0.01)
        assert self.phase() is DriverPhase.FOLLOWING, self.link.reason
        self.sent.clear()

    def command(self, mode: int) -> None:
        """Let the policy hold the present pose once; in MODE_DAMP it has no stiffness."""
        self.sequence += 1
        values = np.zeros((len(self.model.slots), 5))
        values[:, 0] = self.robot.joint_pos
        values[:, 3], values[:, 4] = (0.0 if mode == DAMP else 30.0), 1.0
        command = WireCommand(
            sequence=self.sequence,
            mode=mode,
            valid_for_ns=100 * MS,
            values=values,
            effort_limit=self.model.figures.largest_torque_nm,
            received_ns=self.now_ns,
        )
        self.link.follow(command, self.now_ns)
        self.step()

    def step(self) -> None:
        """Let the link send what is due."""
        out = self.link.step(self.now_ns)
        for frame in out:
            if frame[0] != RobotTopic.LOWCMD:
                self.robot.hear(frame, self.now_ms)
        self.sent += [(self.now_ms, frame) for frame in out]
        self.link.sent(self.now_ns)
        while self.link.answers_wait:
            answer = self.link.report(self.now_ns).answer
            assert answer is not None
            self.answers.append(answer)
            self.link.answer_delivered()

    def take(self) -> None:
        """Ask for control, of a robot that has been seen for long enough."""
        self.run(0.6)
        self.press("A")
        self.link.take((), self.now_ns)
        self.step()

    def in_control(self, mode: int | None = None) -> None:
        """Take control and, where a mode is given, let the policy go through MODE_DAMP to it."""
        self.answers.clear()
        self.take()
        asked_ms = self.now_ms
        while not self.answers and self.now_ms < asked_ms + 3000:
            self.run(0.1)
        assert self.phase() is DriverPhase.DAMPING, (self.link.reason, self.answers)
        if mode is not None:
            self.mode = DAMP
            self.run(0.1)
            self.mode = mode
            self.run(0.1)
            assert self.phase() is DriverPhase.FOLLOWING, self.link.reason
        self.sent.clear()
        self.answers.clear()
        self.robot.requests.clear()

    def commands(self) -> list[F64]:
        """Values [n, 5] of all commands that were sent; each with a right checksum."""
        return [
            low_cmd_values(self.model, frame[1:])
            for _, frame in self.sent
            if frame[0] == RobotTopic.LOWCMD
        ]

    @property
    def damps(self) -> bool:
        """Whether the newest command damps all joints, and does nothing else."""
        expected = np.zeros((len(self.model.slots), 5))
        expected[:, 4] = self.driver.settings.damping
        return bool((self.commands()[-1] == expected).all())
