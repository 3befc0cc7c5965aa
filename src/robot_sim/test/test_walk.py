# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The closed loop of policy and world, and the measured quality of a walk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from robot_sim.errors import SimError
from robot_sim.faults import FaultPlan
from robot_sim.figures import LITE3
from robot_sim.metrics import fallen, measure, velocity_yaw_aligned
from robot_sim.trace import Trace, TraceRecorder
from robot_sim.walk import walk
from robot_sim.world import DriveCommand, Sensors, World, position_command
from testkit.wording import refusal

FORWARD = (0.8, 0.0, 0.0)


def stance(sensors: Sensors, command: np.ndarray) -> DriveCommand:
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


RATE_HZ = 50.0


def rotations_about(axis: tuple[float, float, float], angle_rad: np.ndarray) -> np.ndarray:
    half = np.asarray(angle_rad)[:, None] / 2.0
    return np.concatenate([np.array(axis) * np.sin(half), np.cos(half)], axis=1)


def made_trace(seconds: float = 10.0, **columns: np.ndarray) -> Trace:
    """Return the trace of a robot that stands still, with some columns replaced."""
    rows = round(seconds * RATE_HZ)
    zeros = {"lin_vel_body": 3, "ang_vel_body": 3, "lin_acc_body": 3, "command": 3}
    zeros |= {"joint_pos": 12, "joint_vel": 12, "joint_effort": 12, "target": 12}
    still: dict[str, np.ndarray] = {name: np.zeros((rows, width)) for name, width in zeros.items()}
    still |= {
        "time_s": 3.0 + np.arange(rows) / RATE_HZ,
        "pos_world": np.tile([0.0, 0.0, 0.33], (rows, 1)),
        "quat_xyzw": np.tile([0.0, 0.0, 0.0, 1.0], (rows, 1)),
        "foot_force_world": np.zeros((rows, 4, 3)),
        "mode": np.full(rows, np.nan),
    }
    return Trace(**(still | columns))


def repeat_row(rows: int, *values: float) -> np.ndarray:
    return np.tile(np.array(values), (rows, 1))


def test_error_is_mean_velocity_less_command_after_two_seconds() -> None:
    time_s = np.arange(500) / RATE_HZ
    ramp = np.minimum(time_s / 2.0, 1.0) * 0.75
    trace = made_trace(
        command=repeat_row(500, 0.8, 0.0, -0.2),
        lin_vel_body=np.stack([ramp, 0.1 + 0.3 * np.sin(2 * np.pi * time_s), 0 * ramp], axis=1),
        ang_vel_body=repeat_row(500, 0.0, 0.0, -0.25),
    )
    (segment,) = measure(trace).segments
    assert segment.mean_velocity == pytest.approx((0.75, 0.1, -0.25))
    assert segment.error == pytest.approx((0.05, 0.1, 0.05))
    assert segment.planar_error_mps == pytest.approx(np.hypot(0.05, 0.1))


def test_velocity_is_that_along_the_heading_whatever_yaw_and_tilt() -> None:
    yaw = np.linspace(-3.0, 3.0, 500)
    turned = made_trace(
        quat_xyzw=rotations_about((0.0, 0.0, 1.0), yaw), lin_vel_body=repeat_row(500, 0.5, 0.1, 0.0)
    )
    np.testing.assert_allclose(velocity_yaw_aligned(turned)[:, :2], repeat_row(500, 0.5, 0.1))
    nose_down = rotations_about((0.0, 1.0, 0.0), np.full(500, np.radians(30.0)))
    falling = made_trace(quat_xyzw=nose_down, lin_vel_body=repeat_row(500, 1.0, 0.0, 0.0))
    assert velocity_yaw_aligned(falling)[0, 0] == pytest.approx(np.cos(np.radians(30.0)))
    spinning = made_trace(quat_xyzw=nose_down, ang_vel_body=repeat_row(500, 0.0, 0.0, 1.0))
    assert velocity_yaw_aligned(spinning)[0, 2] == pytest.approx(np.cos(np.radians(30.0)))


def test_each_command_is_a_segment_and_short_ones_are_left_out() -> None:
    command = np.concatenate(
        [repeat_row(200, 0, 0, 0), repeat_row(50, 0.3, 0, 0), repeat_row(250, 0.8, 0, 0.0)]
    )
    metrics = measure(made_trace(command=command, lin_vel_body=0.5 * command))
    assert [segment.command for segment in metrics.segments] == [(0, 0, 0), (0.8, 0, 0)]
    assert [segment.start_s for segment in metrics.segments] == [3.0, 8.0]
    assert metrics.mean_velocity_error_mps == pytest.approx(0.2)
    assert metrics.mean_turn_error_radps == 0.0


def test_a_walk_without_settled_commands_has_no_mean_error() -> None:
    metrics = measure(made_trace(seconds=1.0))
    assert metrics.segments == ()
    assert np.isnan(metrics.mean_velocity_error_mps)


def test_tilt_is_the_largest_angle_to_the_vertical_and_yaw_is_none() -> None:
    lean = np.radians(12.0) * np.sin(np.linspace(0.0, np.pi, 501)[:500])
    assert measure(made_trace(quat_xyzw=rotations_about((0.6, 0.8, 0.0), lean))).max_tilt_deg == (
        pytest.approx(12.0, abs=1e-3)
    )
    yaw = rotations_about((0.0, 0.0, 1.0), np.linspace(0.0, 6.0, 500))
    assert measure(made_trace(quat_xyzw=yaw)).max_tilt_deg == pytest.approx(0.0, abs=1e-4)


def test_falls_are_counted_on_the_way_down_only() -> None:
    height = np.full(500, 0.33)
    height[:50] = 0.05  # starts on its belly
    height[200:300] = 0.08
    lean = np.zeros(500)
    lean[400:] = np.radians(80.0)
    pos_world = np.stack([0 * height, 0 * height, height], axis=1)
    trace = made_trace(pos_world=pos_world, quat_xyzw=rotations_about((1.0, 0.0, 0.0), lean))
    assert measure(trace).falls == 2
    assert fallen(trace.quat_xyzw, trace.pos_world).sum() == 250


def test_distance_is_the_path_and_not_the_sway() -> None:
    along = np.linspace(0.0, 4.0, 500)
    sway = 0.01 * np.sin(2 * np.pi * 2.0 * np.arange(500) / RATE_HZ)
    there = np.stack([along, sway, 0 * along + 0.33], axis=1)
    assert measure(made_trace(pos_world=there)).distance_m == pytest.approx(4.0, abs=0.02)
    back = np.stack([np.minimum(along, 4.0 - along), 0 * along, 0 * along + 0.33], axis=1)
    assert measure(made_trace(pos_world=back)).distance_m == pytest.approx(4.0, abs=0.1)


def test_action_change_is_in_units_of_the_action() -> None:
    target = np.zeros((500, 12))
    target[1::2] = 0.05
    assert measure(made_trace(target=target)).segments[0].mean_action_change == pytest.approx(0.05)
    scaled = measure(made_trace(target=target), action_scale=0.25)
    assert scaled.segments[0].mean_action_change == pytest.approx(0.2)


def test_torque_limit_share_counts_joints_at_their_own_limit() -> None:
    effort = np.zeros((500, 12))
    effort[:250, 0] = -24.0
    effort[:, 2] = 24.0  # the rated torque of a knee is 36
    assert measure(made_trace(joint_effort=effort)).torque_limit_share == pytest.approx(0.5 / 12)


def test_a_trace_survives_its_file(tmp_path: Path) -> None:
    recorder, world = TraceRecorder(), World()
    for command in ([0.1, 0.2, 0.3], [0.0, 0.0, 0.0]):
        recorder.append(world.sense(), command=np.array(command), target=np.arange(12.0))
        world.step(20_000_000)
    trace = recorder.trace()
    trace.save(tmp_path / "trace.npz")
    loaded = Trace.load(tmp_path / "trace.npz")
    np.testing.assert_array_equal(loaded.time_s, [0.0, 0.02])
    np.testing.assert_array_equal(loaded.command, trace.command)
    np.testing.assert_array_equal(loaded.qpos, trace.qpos)
    np.testing.assert_array_equal(loaded.qpos[0, 3:7], [1.0, 0.0, 0.0, 0.0])


def test_a_file_that_is_no_trace_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", time_s=np.zeros(3))
    with refusal(SimError):
        Trace.load(tmp_path / "other.npz")


def test_an_empty_recording_is_refused() -> None:
    with refusal(SimError):
        TraceRecorder().trace()
