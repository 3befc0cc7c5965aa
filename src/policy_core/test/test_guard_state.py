# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Rules 2, 3, 4 and 6 of the guard: what comes in."""

import math

import numpy as np
import pytest

from policy_core.guard.bounds import Rule
from policy_core.guard.limits import StricterLimits
from policy_core.interfaces import F64, Mode
from testkit.kernel.contracts import DEFAULT, quat_xyzw
from testkit.kernel.robots import (
    BOTH,
    PERIOD_NS,
    STALE_AFTER,
    TILTED,
    Robot,
    assert_latched,
    assert_safe,
    fail,
    silence_inputs,
)
from testkit.wire_messages import SCAN
from testkit.wording import check_wording

pytestmark = pytest.mark.both_cores


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(
    ("field", "place", "named"),
    [
        ("joint_pos", 0, "joint_pos"),
        ("joint_vel", 2, "joint_vel"),
        ("ang_vel_body", 1, "ang_vel"),
        ("quat_xyzw", 3, "quat_xyzw, gravity_body"),
    ],
)
def test_a_sensor_value_that_is_not_finite_damps_at_once_and_is_named(
    strider: Robot, field: str, place: int, named: str, value: float
) -> None:
    values = list(strider.sensed[field])
    values[place] = value
    runs = strider.backend.runs
    assert_safe(strider.tick({field: values}))
    assert strider.backend.runs == runs
    assert named in strider.reason
    assert_latched(strider, Rule.NOT_FINITE)


def test_an_external_vector_with_nan_damps() -> None:
    external = {"term": "external", "topic": "height_scan", "size": 2}
    robot = Robot({"observations": {"obs": {"terms": [{"term": "joint_pos"}, external]}}})
    robot.sensed["external:height_scan"] = (0.1, 0.2)
    robot.run(3)
    assert_safe(robot.tick({"external:height_scan": (0.1, math.nan)}))
    assert "external:height_scan" in robot.reason
    assert_latched(robot, Rule.NOT_FINITE)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_model_output_that_is_not_finite_damps_at_once(strider: Robot, value: float) -> None:
    strider.answer(0.2, value, 0.2)
    assert_safe(strider.tick())
    assert_latched(strider, Rule.NOT_FINITE)


def test_a_zero_quaternion_is_no_upright_robot(strider: Robot) -> None:
    assert_safe(strider.tick(quat_xyzw=(0.0, 0.0, 0.0, 0.0)))
    assert_latched(strider, Rule.NOT_FINITE)


@pytest.mark.parametrize("silent", [BOTH, BOTH[:1], BOTH[1:]], ids=" and ".join)
def test_stale_robot_state_holds_the_last_target(strider: Robot, silent: tuple[str, ...]) -> None:
    strider.answer(0.4, 0.4, 0.4)
    last = strider.commanded()
    strider.answer(-0.4, -0.4, -0.4)
    silence_inputs(strider, STALE_AFTER, *silent)
    assert strider.is_in(Mode.RUN)
    before = strider.commanded(silent=silent)
    assert strider.is_in(Mode.HOLD)
    assert strider.count(Rule.STALE_STATE) == 1
    assert silent[0] in strider.reason
    check_wording(strider.reason)
    held = strider.commanded(silent=silent)
    np.testing.assert_array_equal(held.position, before.position)
    assert not np.array_equal(held.position, last.position)


def test_hold_recovers_by_itself_when_messages_come_again(strider: Robot) -> None:
    for count in (1, 2, 3):
        silence_inputs(strider, STALE_AFTER + 3)
        assert (strider.controller.mode, strider.count(Rule.STALE_STATE)) == (Mode.HOLD, count)
        strider.answer(-0.2, -0.2, -0.2)
        found = strider.commanded().position
        np.testing.assert_allclose(found, np.subtract(DEFAULT, 0.1), atol=1e-7)
        assert strider.is_in(Mode.RUN)
    assert not strider.controller.snapshot().latched
    check_wording(strider.reason)


def test_hold_longer_than_damp_after_damps_and_latches(strider: Robot) -> None:
    silence_inputs(strider, STALE_AFTER + 1)
    silence_inputs(strider, 5)
    assert strider.is_in(Mode.HOLD)
    assert_safe(strider.tick(silent=BOTH))
    assert_latched(strider, Rule.HELD_TOO_LONG)


@pytest.mark.parametrize("cause", ["stale", "error"])
def test_the_time_of_the_tick_decides_how_long_a_hold_has_lasted(
    strider: Robot, cause: str
) -> None:
    strider.read_after_ns = 5_000  # recordings do not contain this
    silent = BOTH if cause == "stale" else ()
    if cause == "stale":
        silence_inputs(strider, STALE_AFTER)
    else:
        strider.backend.during_run = fail
    for _ in range(6):  # at the sixth tick, HOLD has lasted exactly as long as it may
        strider.tick(silent=silent)
    assert strider.is_in(Mode.HOLD)
    strider.tick(silent=silent)
    assert strider.count(Rule.HELD_TOO_LONG) == 1


GROUND = "perception/ground"
PROBLEM = "elevation map: expected an age of at most 0.5 s, found 0.80 s"
SEES = [{"term": "joint_pos"}, {"term": "height_scan", "topic": GROUND, "scan": SCAN}]
BLIND_AFTER = int(SCAN["pose_timeout_s"] * 1e9) // PERIOD_NS + 1


def seeing() -> Robot:
    """Return a robot that runs and sees the ground."""
    robot = Robot({"observations": {"obs": {"terms": SEES}}})
    robot.sensed[f"external:{GROUND}"] = (0.1, 0.2)
    return robot.run(3)


def say_why(robot: Robot) -> None:
    """Tick with a message that says why there is no scan."""
    robot.controller.inputs[GROUND].reject(PROBLEM)
    robot.tick(silent=[GROUND])


def test_what_is_perceived_and_falls_silent_has_a_rule_of_its_own() -> None:
    robot = seeing()
    last = silence_inputs(robot, BLIND_AFTER - 1, GROUND)
    assert robot.is_in(Mode.RUN)
    robot.answer(-0.4, -0.4, -0.4)
    held = robot.commanded(silent=[GROUND])
    np.testing.assert_array_equal(held.position, last.position)
    assert robot.is_in(Mode.HOLD)
    assert robot.count(Rule.STALE_PERCEPTION) == 1
    assert robot.count(Rule.INVALID_PERCEPTION) == robot.count(Rule.STALE_STATE) == 0
    check_wording(robot.reason)


def test_what_is_perceived_and_not_valid_holds_with_its_reason_until_it_is_valid_again() -> None:
    robot = seeing()
    for _ in range(BLIND_AFTER - 1):
        say_why(robot)
    assert robot.is_in(Mode.RUN)
    say_why(robot)
    assert robot.is_in(Mode.HOLD)
    assert robot.count(Rule.INVALID_PERCEPTION) == 1
    assert robot.count(Rule.STALE_PERCEPTION) == robot.count(Rule.STALE_STATE) == 0
    assert PROBLEM in robot.reason
    robot.tick()
    assert robot.is_in(Mode.RUN)
    check_wording(robot.reason)


def test_what_is_not_valid_for_too_long_damps_with_its_reason() -> None:
    robot = seeing()
    while not robot.is_in(Mode.DAMP):
        say_why(robot)
    assert PROBLEM in robot.reason
    assert robot.count(Rule.INVALID_PERCEPTION) == 1
    assert_latched(robot, Rule.HELD_TOO_LONG)


def test_robot_state_counts_before_what_is_perceived() -> None:
    robot = seeing()
    silence_inputs(robot, BLIND_AFTER + 1, *BOTH, GROUND)
    assert robot.count(Rule.STALE_STATE) == 1
    assert robot.count(Rule.STALE_PERCEPTION) == 0


@pytest.mark.parametrize("failure", ["stale", "inference", "late"])
def test_recovery_keeps_history_and_last_action_as_they_were(failure: str) -> None:
    robot = Robot({"observations.obs.history": {"length": 3}})
    robot.answer(0.1, 0.2, 0.3)
    robot.run(4)
    robot.tick(joint_vel=(1.0, 1.0, 1.0))
    robot.tick(joint_vel=(2.0, 2.0, 2.0))
    robot.answer(9.0, 9.0, 9.0)
    broken = (7.0, 7.0, 7.0)
    if failure == "stale":
        silence_inputs(robot, STALE_AFTER)  # still fresh: these two ticks run
        robot.answer(0.1, 0.2, 0.3)
        expected_velocities = [2.0, 2.0, 3.0]
        silence_inputs(robot, 3)
    else:
        expected_velocities = [1.0, 2.0, 3.0]
        if failure == "inference":
            robot.backend.during_run = fail
        else:
            robot.takes(PERIOD_NS + 1)
        for _ in range(3):
            robot.tick(joint_vel=broken)
            robot.now_ns -= 0 if failure == "inference" else PERIOD_NS + 1
    assert robot.is_in(Mode.HOLD)
    robot.backend.during_run = lambda: None
    robot.tick(joint_vel=(3.0, 3.0, 3.0))
    assert robot.is_in(Mode.RUN)
    frames = robot.observed().reshape(3, -1)
    np.testing.assert_allclose(frames[:, 12] / 0.05, expected_velocities, rtol=1e-6)
    expected_action = 9.0 if failure == "stale" else 0.1
    assert frames[-1, 15] == pytest.approx(expected_action)


def test_a_tighter_time_out_holds_earlier() -> None:
    robot = Robot(stricter_limits=StricterLimits(state_timeout_s=0.03, damp_after_s=0.03)).run(3)
    silence_inputs(robot, 1)
    assert robot.is_in(Mode.RUN)
    silence_inputs(robot, 1)
    assert robot.is_in(Mode.HOLD)
    silence_inputs(robot, 2)
    assert_latched(robot, Rule.HELD_TOO_LONG)


def test_a_held_stand_goes_on_where_it_stopped() -> None:
    robot = Robot()
    crouch = (0.4, 1.2, -1.3)
    robot.tick(joint_pos=crouch)
    robot.controller.stand()
    reference: list[F64] = []
    held: list[F64] = []
    for ticks_silent in (0, 3):
        robot.controller.stand()
        path = reference if ticks_silent == 0 else held
        for number in range(10 + STALE_AFTER * (ticks_silent > 0) + ticks_silent):
            silent = BOTH if 4 <= number < 4 + STALE_AFTER + ticks_silent and ticks_silent else ()
            path.append(robot.commanded(silent=silent).position)
    steps = np.abs(np.diff(held, axis=0)).max()
    assert steps <= np.abs(np.diff(reference, axis=0)).max() + 1e-9
    np.testing.assert_array_equal(held[6], held[8])


def test_hold_right_after_standing_up_began_holds_the_fault_command_not_an_old_target(
    strider: Robot,
) -> None:
    strider.controller.damp()
    strider.tick()
    strider.controller.stand()
    strider.now_ns += 2 * PERIOD_NS
    assert_safe(strider.tick(silent=BOTH))
    assert strider.is_in(Mode.HOLD)


def test_hold_while_blending_in_goes_on_with_the_same_share() -> None:
    robot = Robot({"safety.state_timeout_s": 0.01})
    robot.answer(1.0, 1.0, 1.0)
    robot.stand().controller.run()
    before = [robot.commanded() for _ in range(3)][-1]
    silence_inputs(robot, 4)
    assert robot.is_in(Mode.HOLD)
    after = robot.commanded()
    assert robot.is_in(Mode.RUN)
    assert np.abs(after.position - before.position).max() <= 0.5 / 10 + 1e-9


def test_a_velocity_command_that_stops_fades_without_hold_or_damp(strider: Robot) -> None:
    strider.controller.command.set((0.8, -0.4, 0.6), strider.now_ns)
    seen = []
    for _ in range(60):
        strider.tick()
        seen.append(strider.observed()[6:9])
    assert strider.is_in(Mode.RUN)
    np.testing.assert_allclose(seen[24], (0.8, -0.4, 0.6), rtol=1e-6)
    np.testing.assert_allclose(seen[37], np.multiply((0.8, -0.4, 0.6), 0.48), rtol=1e-6)
    assert not seen[-1].any()
    assert strider.count(Rule.STALE_COMMAND) == 1


def test_a_broken_velocity_command_is_counted_and_not_followed(strider: Robot) -> None:
    strider.controller.command.set((0.8, 0.0, 0.0), strider.now_ns)
    if not strider.controller.command.set((math.nan, 0.0, 0.0), strider.now_ns):
        strider.controller.reject_command()
    strider.tick()
    assert strider.is_in(Mode.RUN)
    assert strider.observed()[6] == pytest.approx(0.8)
    assert strider.count(Rule.BAD_COMMAND) == 1


def test_a_tilt_beyond_the_limit_damps_and_latches(strider: Robot) -> None:
    strider.tick(quat_xyzw=quat_xyzw(0.0, 0.99, 0.0))
    assert strider.is_in(Mode.RUN)
    assert_safe(strider.tick(quat_xyzw=quat_xyzw(0.0, 1.01, 0.0)))
    assert_latched(strider, Rule.ATTITUDE)


def test_without_attitude_limit_the_robot_may_lie() -> None:
    robot = Robot({"safety": {"on_fault": "damp"}}).run()
    robot.tick(quat_xyzw=TILTED)
    assert robot.is_in(Mode.RUN)
