# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated Lite3 walks while the arm on its back reaches: two policies at once, in lockstep."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from model_tools.simulation.arm import ReachCase, raw_frame, try_reach
from model_tools.simulation.controlled import ControlledPolicy, SensedRobot, drive_command
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.load import load_bundle
from policy_core.bundle.set_bundle import SetBundle
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import F64, Mode
from policy_core.members.chunk.controller import camera_input
from policy_core.members.chunk.settings import ChunkSettings
from policy_core.sets.policy import SetReport
from policy_inference.backends.registry import open_backend, open_models
from policy_inference.kinds.policy_set import SetKind
from robot_sim.arm_carrier import ArmCarrier
from robot_sim.arm_expert import ReachJudge
from robot_sim.drives import DriveCommand
from robot_sim.metrics import WalkMetrics, measure
from robot_sim.walk import Schedule, walk
from robot_sim.world import Sensors, World

from .opening import opened_with_onnx

pytestmark = pytest.mark.slow
BUNDLES = Path(__file__).resolve().parents[2] / "config" / "bundles"
INFERENCE_S = 0.05
FRAME_NS = 33_000_000
FIRST_S, EACH_S = 5.0, 5.0
SEEDS = (1, 2, 3)
DURATION_S = FIRST_S + EACH_S * len(SEEDS)
COMMANDS: Schedule = [(FIRST_S, (0.5, 0.0, 0.0)), (10.0, (0.3, 0.0, 0.4)), (15.0, (0.0, 0.3, 0.0))]


class Carrier:
    """A robot with an arm under the controller of a set; it operates itself."""

    def __init__(self, bundle: SetBundle, world: ArmCarrier) -> None:
        self.world, self._now_ns, self._seen_ns = world, 0, -FRAME_NS
        self.policy = SetKind(
            ChunkSettings(simulated_latency_s=INFERENCE_S), simulated_time=True
        ).open(
            opened_with_onnx(bundle.path),
            {},
            bundle,
            limits_in_force(bundle.contract, StricterLimits()),
            lambda: self._now_ns,
        )
        self.controller = self.policy.controller
        self._names = bundle.contract.joints.on_robot()
        self._robot = SensedRobot(self._names, self.controller.state)
        self._period_ns = bundle.contract.period_ns
        self._asked_to_stand = self.blind = False
        self._reach: ReachJudge | None = None
        self.reached = list[bool]()
        self._cubes = [*SEEDS]

    @property
    def report(self) -> SetReport:
        assert self.policy.switching is not None
        return self.policy.switching.report

    def __call__(self, sensors: Sensors, command: F64) -> DriveCommand:
        self._now_ns = now_ns = sensors.time_ns
        controller = self.controller
        self._robot.write(sensors)
        vx, vy, wz = command.tolist()
        controller.command.set((vx, vy, wz), now_ns)
        cameras = {camera_input(name) for name in self.policy.frames}
        for name, entry in controller.inputs.items():
            if name not in cameras:
                entry.accept(now_ns, now_ns or None, now_ns)
        if not self.blind and now_ns - self._seen_ns >= FRAME_NS:
            self._see(now_ns)
        if not self._asked_to_stand:
            self._asked_to_stand = True
            controller.stand()
        elif controller.mode is Mode.READY:
            controller.run()
        targets = controller.tick(now_ns, now_ns + self._period_ns)
        assert targets is not None
        self._judge(now_ns)
        return drive_command(self._names, targets)

    def _see(self, now_ns: int) -> None:
        self._seen_ns = now_ns
        for name, buffers in self.policy.frames.items():
            frame = raw_frame(self.world.render(name))
            for buffer in buffers:
                buffer.add(frame, now_ns)
            self.controller.inputs[camera_input(name)].accept(now_ns, now_ns or None, now_ns)

    def _judge(self, now_ns: int) -> None:
        """Put the cube elsewhere at its times; see whether the arm came to it."""
        index = (now_ns - round(FIRST_S * 1e9)) / (EACH_S * 1e9)
        if self._cubes and index >= len(SEEDS) - len(self._cubes):
            self._end_reach()
            self.world.move_cube(self._cubes.pop(0))
            self._reach = ReachJudge()
        if self._reach is not None:
            self._reach.look(self.world.sense_arm())

    def _end_reach(self) -> None:
        if self._reach is not None:
            self.reached.append(self._reach.succeeded)

    def close(self) -> None:
        self._end_reach()
        self.policy.close()


@pytest.fixture
def arm_on_legs() -> Iterator[Carrier]:
    """A Lite3 that carries an SO-101, under the walk and the reach that ship as a set."""
    world = ArmCarrier()
    robot = Carrier(load_bundle(BUNDLES / "lite3_so101", kind=SetBundle), world)
    yield robot
    robot.policy.close()
    world.close()


def walked_alone() -> WalkMetrics:
    bundle = load_bundle(BUNDLES / "lite3_walk", kind=JointBundle)
    backend, _ = open_backend(bundle, ["onnx"])
    try:
        policy = ControlledPolicy(bundle, backend)
        return measure(walk(World(), policy, COMMANDS, duration_s=DURATION_S, until=None))
    finally:
        backend.close()


def reached_alone() -> list[bool]:
    """Return which of the cubes the arm reaches on a table that stands."""
    bundle = load_bundle(BUNDLES / "so101_reach", kind=ChunkBundle)
    with open_models(bundle.models, ["onnx"], {}) as models:
        cases = [
            ReachCase(seed=seed, duration_s=EACH_S, inference_ms=1e3 * INFERENCE_S)
            for seed in SEEDS
        ]
        return [try_reach(bundle, models, case).succeeded for case in cases]


@pytest.mark.acceptance
def test_the_legs_walk_and_the_arm_reaches_as_each_does_alone(arm_on_legs: Carrier) -> None:
    robot, world = arm_on_legs, arm_on_legs.world
    trace = walk(world, robot, COMMANDS, duration_s=DURATION_S, until=None)
    robot.close()
    together = measure(trace, effort_limit_nm=world.effort_limit_nm)
    alone = walked_alone()
    assert robot.controller.mode is Mode.RUN
    assert robot.report.switches == 0
    assert together.falls == alone.falls == 0
    assert together.mean_velocity_error_mps < alone.mean_velocity_error_mps + 0.05
    assert together.mean_turn_error_radps < alone.mean_turn_error_radps + 0.05
    assert sum(robot.reached) >= sum(reached_alone()) - 1


@pytest.mark.acceptance
def test_cameras_that_stop_leave_the_arm_to_the_fallback_and_the_robot_walks_on(
    arm_on_legs: Carrier,
) -> None:
    robot, world = arm_on_legs, arm_on_legs.world
    walk(world, robot, COMMANDS, duration_s=7.0, until=None)
    robot.blind = True
    walk(world, robot, [(0.0, (0.5, 0.0, 0.0))], duration_s=5.0, until=None)
    assert (robot.report.state, robot.report.fallbacks) == ("walk", 1)
    assert robot.controller.mode is Mode.RUN
    assert not world.fallen
    np.testing.assert_allclose(
        world.sense_arm().joint_pos, [0.0, -1.0, 0.6, 1.4, -1.5708, 0.0], atol=0.1
    )
