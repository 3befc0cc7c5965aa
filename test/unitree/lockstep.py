# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A Go2 in explicit time: its computer, the driver's link, the policy's controller."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from policy_inference.backends.registry import open_backend
from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.load import load_bundle
from policy_inference.core.limits import StricterLimits, limits_in_force
from policy_inference.core.policy import joint_controller
from policy_inference.interfaces import Mode
from robot_driver.interfaces import WireCommand
from robot_driver.link import Link
from robot_sim.driven import NS_PER_S
from robot_sim.host_faults import HostFaultPlan
from robot_sim.unitree_host import LOW_CMD, ApiRequest, UnitreeHost
from robot_sim.unitree_state import UnitreeFault
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
        controller: The policy's.
        velocity: That it is commanded, m/s and rad/s.
    """

    def __init__(self) -> None:
        """Put a standing robot on the floor, which its own controller holds."""
        bundle = load_bundle(BUNDLE, kind=JointBundle)
        self._backend, _ = open_backend(bundle, ["onnx"])
        contract, self._now_ns = bundle.contract, 0
        limits = limits_in_force(contract, StricterLimits())
        self.controller = joint_controller(bundle, self._backend, limits, lambda: self._now_ns)
        self._period_ns, self.velocity = contract.period_ns, (0.0, 0.0, 0.0)
        names = contract.joints.names
        self._to_wire = [names.index(name) for name in GO2.figures.joint_names]
        self._from_wire = np.argsort(self._to_wire)
        self.host = UnitreeHost("go2")
        settings = replace(GO2.defaults, remote_required=False)
        self.link: Link[UnitreeState] = Link(_Driver(settings), 0)
        self.link.receive(_QUIET.pack(), (GRAPH, 0), 0)
        self._state: UnitreeState | None = None
        self._sequence = 0

    def close(self) -> None:
        """Close the back end."""
        self._backend.close()

    def fail(self, *faults: str) -> None:
        """Let these faults begin now."""
        planned = [UnitreeFault.parse(text) for text in faults]
        names = self.host.world.joint_names
        self.host.adopt(HostFaultPlan(planned, seed=0, joint_names=names))

    def run(self, seconds: float) -> None:
        """Let time go by."""
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
            if self._now_ns % self._period_ns == 0 and self._state is not None:
                self._tick(self._state)
            for frame in self.link.step(self._now_ns):
                self._deliver(frame)
            self.link.sent(self._now_ns)

    def walk(self) -> None:
        """Take control, stand up, and walk ahead for two seconds."""
        self.run(1.5)
        self.link.take((), self._now_ns)
        self.run(6.0)
        answer = self.link.report(self._now_ns).answer
        assert answer is not None
        assert answer.success, answer.message
        self.controller.stand()
        while self.controller.mode is Mode.STAND:
            self.run(0.02)
        self.controller.run()
        self.velocity = (0.5, 0.0, 0.0)
        self.run(2.0)
        assert self.controller.mode is Mode.RUN, self.controller.snapshot().reason

    def _tick(self, state: UnitreeState) -> None:
        controller, now_ns = self.controller, self._now_ns
        for field, values in {
            "joint_pos": state.joint_pos[self._from_wire],
            "joint_vel": state.joint_vel[self._from_wire],
            "quat_xyzw": state.quat_xyzw,
            "ang_vel_body": state.ang_vel,
        }.items():
            controller.state[field][:] = values
        for entry in controller.inputs.values():
            entry.accept(now_ns, now_ns, now_ns)
        controller.command.set(self.velocity, now_ns)
        targets = controller.tick(now_ns, now_ns + self._period_ns)
        assert targets is not None
        self._sequence += 1
        rows = targets.block[:, self._to_wire]
        command = WireCommand(
            sequence=self._sequence,
            mode=int(targets.mode),
            valid_for_ns=NS_PER_S // 10,
            values=rows[:5].T.copy(),
            effort_limit=rows[5].copy(),
            received_ns=now_ns,
        )
        self.link.follow(command, now_ns)

    def _deliver(self, frame: bytes) -> None:
        topic = RobotTopic(frame[0])
        if topic is RobotTopic.LOWCMD:
            self.host.receive(LOW_CMD, frame[1:])
            return
        asked = wire.read_request(frame[1:])
        assert asked is not None
        self.host.receive(_SERVICES[topic], ApiRequest(*asked))
