# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A Lite3 in explicit time: its host, the network, the driver's link, the policy's controller."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lite3_driver.figures import Lite3Settings
from lite3_driver.robot import Lite3
from lite3_driver.wire import Lite3State
from policy_core.interfaces import F64, Mode
from robot_driver.interfaces import DriverAnswer, DriverPhase
from robot_driver.link import Link
from robot_sim.driven import NS_PER_S
from robot_sim.lite3_host import Lite3Fault, Lite3FaultPlan, MotionHost
from robot_sim.robot_host import HostEvent
from robot_sim.world import World
from testkit.wire_policy import WirePolicy

BUNDLE = Path(__file__).resolve().parents[2] / "config" / "bundles" / "lite3_walk"
HOST, DRIVER = ("10.0.0.1", 43893), ("10.0.0.2", 40000)
MS = 1_000_000
WATCHDOG_S = 0.05
"""Of the host: the second longest of those that are reported."""


class Robot:
    """All of it, millisecond by millisecond.

    Attributes:
        events: What happened to the host.
        answers: To requests for control.
    """

    def __init__(
        self, policy: WirePolicy, *, faults: Sequence[Lite3Fault] = (), in_full: bool = False
    ) -> None:
        """Put a robot on the floor, legs folded, and let the driver listen.

        Args:
            policy: What drives it.
            faults: Of robot, host and network.
            in_full: Whether the angular velocity is to be checked, and folding has its 7 s; else
                the robot, whose legs are folded, is trusted to keep them so within 0.2 s.
        """
        self._in_full = in_full
        settings = (
            Lite3Settings(host_address=HOST[0])
            if in_full
            else Lite3Settings(host_address=HOST[0], angular_velocity_checked=True, fold_s=0.2)
        )
        self.events: list[HostEvent] = []
        self.answers: list[DriverAnswer] = []
        self.world = World()
        self.host = MotionHost(self.world, watchdog_s=WATCHDOG_S)
        self.host.adopt(Lite3FaultPlan(faults))
        self.host.on_event = self.events.append
        self.policy = policy
        self.link = Link(Lite3(settings), self.world.time_ns)
        self._newest: Lite3State | None = None

    @property
    def happened(self) -> list[str]:
        """What happened to the host, without times and without datagrams that changed nothing."""
        return [event.what for event in self.events if event.what != "ignored"]

    def phase(self) -> DriverPhase:
        return self.link.phase

    def mode(self) -> Mode:
        return self.policy.controller.mode

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 1000)):
            self.host.act()
            frame = self.host.step()
            now_ns = self.world.time_ns
            frames = [] if frame is None else [frame]
            forged = [self.host.plan.forged(each, now_ns) for each in frames]
            for data in [*self.host.plan.state.carry(frames, now_ns), *filter(None, forged)]:
                self._newest = self.link.receive(data, HOST, now_ns) or self._newest
            command = self.policy.tick(now_ns, _fields(self._newest))
            if command is not None:
                self._newest = None
                self.link.follow(command, now_ns)
            sent = [(data, DRIVER) for data in self.link.step(now_ns)]
            self.link.sent(now_ns)
            for data, source in self.host.plan.command.carry(sent, now_ns):
                self.host.receive(data, source)
            while self.link.answers_wait:
                answer = self.link.report(now_ns).answer
                assert answer is not None
                self.answers.append(answer)
                self.link.answer_delivered()

    def fail(self, *, in_s: float = 0.0, **fault: Any) -> None:
        """Let a fault of robot, host or network begin, and end all others."""
        start_s = self.world.time_ns / NS_PER_S + in_s
        self.host.adopt(Lite3FaultPlan([Lite3Fault(start_s=start_s, **fault)]))

    def take_control(self) -> None:
        """Take control; where that is done in full, the robot is turned by hand first."""
        if self._in_full:
            self.run(0.5)
            self.world.turn(np.pi / 2, 2.0)
            self.run(2.0)
        self.run(1.2)
        self.link.take((), self.world.time_ns)
        self.run(7.6 if self._in_full else 0.8)
        assert [answer.success for answer in self.answers] == [True], self.answers
        self.answers.clear()

    def stand_and_run(self) -> None:
        """Let the policy go from DAMP to RUN, as its operator does."""
        self.run(0.04)
        self.policy.controller.stand()
        for _ in range(100):
            self.run(0.04)
            if self.mode() is Mode.READY:
                break
        self.policy.controller.run()
        self.run(0.3)
        assert self.mode() is Mode.RUN

    def mean_velocity(self, seconds: float) -> F64:
        """Return the mean of vx, vy over so long, in the body frame, m/s."""
        seen = []
        for _ in range(round(seconds * 50)):
            self.run(0.02)
            seen.append(self.world.sense().lin_vel_body[:2])
        return np.asarray(np.mean(seen, axis=0))


def _fields(state: Lite3State | None) -> dict[str, F64] | None:
    """Return what the policy senses, in the order of the wire."""
    return state and {
        "joint_pos": state.joint_pos,
        "joint_vel": state.joint_vel,
        "quat_xyzw": _quat_xyzw(state.rpy),
        "ang_vel_body": state.ang_vel,
    }


def _quat_xyzw(rpy: F64) -> F64:
    """Return rotations about z, then y, then x as a quaternion x, y, z, w."""
    (cr, cp, cy), (sr, sp, sy) = np.cos(rpy / 2), np.sin(rpy / 2)
    return np.array(
        [
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
            cr * cp * cy + sr * sp * sy,
        ]
    )
