# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The closed loop of policy and world; with real policies, that the model is a Lite3 to them."""

import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from robot_sim.errors import SimError
from robot_sim.faults import FaultPlan
from robot_sim.figures import LITE3
from robot_sim.metrics import Segment, measure
from robot_sim.rotation import rotate_inverse
from robot_sim.walk import Policy, walk
from robot_sim.world import DriveCommand, Sensors, World, position_command
from testkit.wording import refusal

ACTION_SCALE = np.tile([0.125, 0.25, 0.25], 4)
FORWARD = (0.8, 0.0, 0.0)


def stance(sensors: Sensors, command: np.ndarray) -> DriveCommand:
    """Hold the default stance, whatever is asked."""
    return position_command(LITE3.standing_rad, stiffness=100.0, damping=2.5)


def test_the_policy_sees_commands_when_they_are_due() -> None:
    seen: list[tuple[int, float]] = []

    def policy(sensors: Sensors, command: np.ndarray) -> DriveCommand:
        seen.append((sensors.time_ns // 1_000_000, float(command[0])))
        return stance(sensors, command)

    schedule = [(0.04, (0.5, 0.0, 0.0)), (0.08, (0.1, 0.0, 0.0))]
    trace = walk(World(pose="standing"), policy, schedule, duration_s=0.12)
    assert seen == [(0, 0.0), (20, 0.0), (40, 0.5), (60, 0.5), (80, 0.1), (100, 0.1)]
    np.testing.assert_array_equal(trace.command[:, 0], [command for _, command in seen])
    np.testing.assert_array_equal(trace.target[0], LITE3.standing_rad)


def test_targets_are_recorded_in_the_order_of_the_robot() -> None:
    def reversed_stance(sensors: Sensors, command: np.ndarray) -> DriveCommand:
        return position_command(
            LITE3.standing_rad[::-1],
            stiffness=100.0,
            damping=2.5,
            joint_names=sensors.joint_names[::-1],
        )

    trace = walk(World(pose="standing"), reversed_stance, [], duration_s=0.1)
    np.testing.assert_array_equal(trace.target[-1], LITE3.standing_rad)


def test_the_truth_is_recorded_while_the_policy_sees_the_fault() -> None:
    seen: list[float] = []

    def policy(sensors: Sensors, command: np.ndarray) -> DriveCommand:
        seen.append(float(sensors.joint_vel[0]))
        return stance(sensors, command)

    plan = FaultPlan.parse(["nan:joint_states.velocity@0.04+0.02"])
    trace = walk(World(pose="standing"), policy, [], duration_s=0.1, faults=plan)
    assert np.isnan(seen).tolist() == [False, False, True, False, False]
    assert np.isfinite(trace.joint_vel).all()


def test_a_silent_stream_silences_the_policy_until_the_drives_damp() -> None:
    world = World(pose="standing")
    trace = walk(world, stance, [], duration_s=1.0, faults=FaultPlan.parse(["drop:imu@0.5"]))
    assert np.isfinite(trace.target).all(axis=1).sum() == 25
    assert world.damped


def test_a_walk_ends_with_a_fall() -> None:
    plan = FaultPlan.parse(["push:left@0.5+0.5=400"])
    trace = walk(World(pose="standing"), stance, [], duration_s=5.0, faults=plan)
    assert trace.time_s[-1] < 3.0
    assert measure(trace).falls == 1


def test_unsorted_schedules_and_odd_rates_are_refused() -> None:
    with refusal(SimError):
        walk(World(), stance, [(1.0, FORWARD), (0.5, FORWARD)], duration_s=1.0)
    with refusal(SimError):
        walk(World(pose="standing"), stance, [], duration_s=1.0, rate_hz=60.0)


@dataclasses.dataclass
class OnnxPolicy:
    """A 45 -> 12 policy with the layout that both Lite3 policies share."""

    path: Path
    default: np.ndarray = dataclasses.field(default_factory=lambda: LITE3.standing_rad)
    joint_vel_scale: float = 0.05

    def __post_init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            str(self.path), options, providers=["CPUExecutionProvider"]
        )
        self.action = np.zeros(12)

    def __call__(self, sensors: Sensors, command: np.ndarray) -> DriveCommand:
        gravity = rotate_inverse(sensors.quat_xyzw, np.array([0.0, 0.0, -1.0]))
        joints = [sensors.joint_pos - self.default, sensors.joint_vel * self.joint_vel_scale]
        terms = [sensors.ang_vel_body * 0.25, gravity, command, *joints, self.action]
        obs = np.concatenate(terms).astype(np.float32)[None]
        self.action = self.session.run(None, {"obs": obs})[0][0].astype(np.float64)
        target = self.default + ACTION_SCALE * self.action
        return position_command(target, stiffness=30.0, damping=1.0)


@pytest.fixture
def our_policy(shared_data: Path) -> Path:
    """The project's own policy."""
    return shared_data.parent / "tools" / "train_lite3" / "policy.onnx"


@pytest.fixture
def vendor_policy(shared_data: Path) -> Path:
    """The robot maker's policy."""
    return shared_data / "legged" / "lite3" / "policy.onnx"


def walk_segment(policy: Policy, command: tuple[float, float, float]) -> tuple[Segment, World]:
    """Walk for 8 s from the stance and return the only segment."""
    world = World(pose="standing")
    metrics = measure(
        walk(world, policy, [(0.0, command)], duration_s=8.0), action_scale=ACTION_SCALE
    )
    assert metrics.falls == 0
    return metrics.segments[0], world


@pytest.mark.real_data
@pytest.mark.parametrize("command", [FORWARD, (0.0, 0.5, 0.0), (0.0, 0.0, 0.8), (0.0, 0.0, 0.0)])
def test_our_policy_follows_every_command(
    our_policy: Path, command: tuple[float, float, float]
) -> None:
    segment, world = walk_segment(OnnxPolicy(our_policy), command)
    assert max(segment.error) <= 0.04
    assert segment.max_tilt_deg <= 9.8
    assert world.saturated_share <= 0.0006
    if not any(command):
        assert segment.mean_action_change <= 0.002


@pytest.mark.real_data
def test_the_vendors_policy_walks_as_it_does_elsewhere(vendor_policy: Path) -> None:
    segment, _ = walk_segment(OnnxPolicy(vendor_policy), FORWARD)
    assert max(segment.error) <= 0.05
    assert segment.max_tilt_deg <= 4.5
