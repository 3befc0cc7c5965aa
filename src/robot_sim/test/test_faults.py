# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Faults begin and end on the simulated clock, and change only what they name."""

import dataclasses
import math

import numpy as np
import pytest

from robot_sim.errors import SimError
from robot_sim.faults import STREAM_FIELDS, Fault, FaultPlan
from robot_sim.figures import LITE3
from robot_sim.world import Sensors, World, position_command
from testkit.wording import refusal

MS = 1_000_000
BIASED, SWAPPED = "bias:imu.angular_velocity=0.5", "swapped:FL_HipY_joint.FR_HipY_joint"


@pytest.fixture(scope="module")
def knocked_sensors() -> Sensors:
    """Return the sensors of a robot that has just been pushed: all joints differ."""
    world = World(pose="standing")
    world.push([30.0, 20.0, 0.0], 0.1)
    world.step(50 * MS)
    return world.sense()


def sensed_at(sensors: Sensors, time_s: float) -> Sensors:
    """Return the same readings with a different time."""
    return dataclasses.replace(sensors, time_ns=round(time_s * 1e9))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("nan:joint_states.velocity@3.0+0.02", ("nan", "joint_states.velocity", 3.0, 0.02, 0.0)),
        ("push:left@5.0+0.1=100", ("push", "left", 5.0, 0.1, 100.0)),
        ("drop:imu@4", ("drop", "imu", 4.0, math.inf, 0.0)),
        ("latency:command=2e-2", ("latency", "command", 0.0, math.inf, 0.02)),
        (" order:joint_states ", ("order", "joint_states", 0.0, math.inf, 0.0)),
        (BIASED, ("bias", "imu.angular_velocity", 0.0, math.inf, 0.5)),
        (SWAPPED, ("swapped", "FL_HipY_joint.FR_HipY_joint", 0.0, math.inf, 0.0)),
    ],
)
def test_texts_mean_what_they_say(text: str, meant: tuple[str, str, float, float, float]) -> None:
    assert dataclasses.astuple(Fault.parse(text)) == meant


BAD = (
    "explode:imu drop:sonar nan:imu.smell motor_off:tail stuck:tail swapped:FL_HipX_joint imu "
    "swapped:FL_HipX_joint.tail drop:imu@soon push:left@5+0.1 drop:imu=3 latency:command=0.05"
)


@pytest.mark.parametrize("text", BAD.split())
def test_bad_texts_are_refused_with_what_is_known(text: str) -> None:
    with refusal(SimError):
        FaultPlan.parse([text])


def test_without_faults_everything_passes_unchanged(knocked_sensors: Sensors) -> None:
    streams = FaultPlan().apply(knocked_sensors)
    assert all(getattr(streams, name) is knocked_sensors for name in STREAM_FIELDS)


@pytest.mark.parametrize("stream", STREAM_FIELDS)
def test_a_dropped_stream_is_silent_and_returns(knocked_sensors: Sensors, stream: str) -> None:
    plan = FaultPlan.parse([f"drop:{stream}@1+0.5"])
    shown = [plan.apply(sensed_at(knocked_sensors, time_s)) for time_s in (0.99, 1.0, 1.49, 1.5)]
    assert [getattr(streams, stream) is None for streams in shown] == [False, True, True, False]
    assert [streams.merged() is None for streams in shown] == [False, True, True, False]
    others = set(STREAM_FIELDS) - {stream}
    assert all(getattr(streams, name) is not None for streams in shown for name in others)


def test_a_frozen_stream_repeats_its_last_message_with_its_stamp(knocked_sensors: Sensors) -> None:
    plan = FaultPlan.parse(["freeze:joint_states@1+0.5"])
    last = sensed_at(knocked_sensors, 0.98)
    plan.apply(last)
    moved = dataclasses.replace(
        sensed_at(knocked_sensors, 1.1), joint_pos=knocked_sensors.joint_pos + 1.0
    )
    streams = plan.apply(moved)
    assert streams.joint_states is last
    assert streams.imu is moved
    merged = streams.merged()
    assert merged is not None
    assert merged.time_ns == last.time_ns
    np.testing.assert_array_equal(merged.joint_pos, last.joint_pos)
    thawed = dataclasses.replace(moved, time_ns=1_500_000_000)
    assert plan.apply(thawed).joint_states is thawed


@pytest.mark.parametrize(
    ("stream", "field", "name"),
    [(stream, field, name) for stream, x in STREAM_FIELDS.items() for field, name in x.items()],
)
def test_nan_spoils_one_element_of_its_field_only(
    knocked_sensors: Sensors, stream: str, field: str, name: str
) -> None:
    shown = getattr(FaultPlan.parse([f"nan:{stream}.{field}"]).apply(knocked_sensors), stream)
    assert np.isnan(getattr(shown, name)).sum() == 1
    for other in dataclasses.fields(Sensors):
        if other.name not in (name, "joint_names"):
            assert np.isfinite(getattr(shown, other.name)).all()
    assert np.isfinite(getattr(knocked_sensors, name)).all()


def test_noise_has_the_spread_asked_for_and_the_seed_repeats_it(knocked_sensors: Sensors) -> None:
    def noise(seed: int) -> np.ndarray:
        plan = FaultPlan.parse(["noise:imu.angular_velocity=0.2"], seed=seed)
        rows = [plan.apply(knocked_sensors).imu for _ in range(2000)]
        return np.array([row.ang_vel_body - knocked_sensors.ang_vel_body for row in rows if row])

    assert noise(1).std() == pytest.approx(0.2, rel=0.05)
    np.testing.assert_array_equal(noise(1), noise(1))
    assert not np.array_equal(noise(1), noise(2))


def test_wrong_order_permutes_values_under_unchanged_names(knocked_sensors: Sensors) -> None:
    shown = FaultPlan.parse(["order:joint_states"]).apply(knocked_sensors).joint_states
    assert shown is not None
    assert shown.joint_names == knocked_sensors.joint_names
    np.testing.assert_array_equal(shown.joint_pos[:4], knocked_sensors.joint_pos[0::3])
    np.testing.assert_array_equal(shown.joint_vel[4:8], knocked_sensors.joint_vel[1::3])
    assert not np.array_equal(shown.joint_effort, knocked_sensors.joint_effort)


def run_plan(plan: FaultPlan, seconds: float) -> World:
    world = World(pose="standing")
    for _ in range(round(seconds / 0.01)):
        plan.act(world)
        world.apply(position_command(LITE3.standing_rad, stiffness=100.0, damping=2.5))
        world.step(10 * MS)
    return world


def test_a_motor_goes_off_and_comes_back() -> None:
    joint = LITE3.joint_names.index("FL_Knee_joint")
    plan = FaultPlan.parse(["motor_off:FL_Knee_joint@0.1+0.1"])
    assert run_plan(plan, 0.15).sense().joint_effort[joint] == 0.0
    plan = FaultPlan.parse(["motor_off:FL_Knee_joint@0.1+0.1"])
    assert abs(run_plan(plan, 0.25).sense().joint_effort[joint]) > 1.0


def test_latency_begins_and_ends() -> None:
    plan = FaultPlan.parse(["latency:command@0.1+0.1=0.02"])
    assert run_plan(plan, 0.15).latency_ns == 20 * MS
    plan = FaultPlan.parse(["latency:command@0.1+0.1=0.02"])
    assert run_plan(plan, 0.25).latency_ns == 0


@pytest.mark.parametrize(
    ("push", "axis", "sign"),
    [
        ("push:front@0.5+0.1=100", 0, -1),
        ("push:rear@0.5=100", 0, 1),
        ("push:left@0.5+0.1=100", 1, -1),
        ("push:right@0.5+0.1=100", 1, 1),
    ],
)
def test_a_push_comes_from_its_side(push: str, axis: int, sign: int) -> None:
    world = run_plan(FaultPlan.parse([push]), 0.6)
    velocity = world.sense().lin_vel_body
    assert sign * velocity[axis] > 0.1
    assert abs(velocity[1 - axis]) < 0.5 * abs(velocity[axis])


@pytest.mark.parametrize("text", ["push:left@8+0.1=100", "drop:imu+8.1"])
def test_a_fault_that_is_over_is_refused_with_the_time(text: str) -> None:
    with refusal(SimError):
        FaultPlan.parse([text], now_ns=20_300 * MS)


@pytest.mark.parametrize("text", ["push:left@8+20=100", "drop:imu@8", "drop:imu@21+0.1"])
def test_a_fault_that_lasts_or_is_to_come_is_planned(text: str) -> None:
    assert len(FaultPlan.parse([text], now_ns=20_300 * MS).faults) == 1


def test_empty_texts_plan_nothing() -> None:
    assert FaultPlan.parse(["", "  "]).faults == ()


def test_wrong_senses_change_what_they_name(knocked_sensors: Sensors) -> None:
    texts = [
        "zero:joint_states.velocity",
        "reverse:imu.linear_acceleration",
        "bias:imu.angular_velocity=0.5",
    ]
    streams = FaultPlan.parse(texts).apply(knocked_sensors)
    assert streams.joint_states is not None
    assert streams.imu is not None
    assert not streams.joint_states.joint_vel.any()
    np.testing.assert_array_equal(streams.joint_states.joint_pos, knocked_sensors.joint_pos)
    np.testing.assert_array_equal(streams.imu.lin_acc_body, -knocked_sensors.lin_acc_body)
    np.testing.assert_allclose(
        streams.imu.ang_vel_body - knocked_sensors.ang_vel_body, [0.0, 0.0, 0.5]
    )


def test_a_stuck_joint_and_swapped_ones(knocked_sensors: Sensors) -> None:
    names = list(knocked_sensors.joint_names)
    knee, one, other = map(names.index, ("FL_Knee_joint", "FL_HipY_joint", "FR_HipY_joint"))
    plan = FaultPlan.parse(["stuck:FL_Knee_joint", "swapped:FL_HipY_joint.FR_HipY_joint"])
    plan.apply(knocked_sensors)
    later = dataclasses.replace(
        sensed_at(knocked_sensors, 1.0), joint_pos=knocked_sensors.joint_pos + 0.1
    )
    shown = plan.apply(later).joint_states
    assert shown is not None
    assert shown.joint_pos[knee] == knocked_sensors.joint_pos[knee]
    assert shown.joint_pos[one] == later.joint_pos[other]
    assert shown.joint_pos[other] == later.joint_pos[one]
    assert shown.joint_vel[one] == knocked_sensors.joint_vel[other]
