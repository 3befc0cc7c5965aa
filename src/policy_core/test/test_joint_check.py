# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Samples of the joints that cannot be true move nothing, and the truth is believed again."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.errors import RefusedError
from policy_core.guard.bounds import Rule
from policy_core.guard.joint_check import JointCheck, joint_turns
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import Mode, OnFault
from testkit.kernel.contracts import NOMINAL, contract_of
from testkit.kernel.robots import BOTH, MS, PERIOD_NS, assert_latched, assert_safe
from testkit.kernel.seen import ARM, FOREVER, MADE_UP, NEEDED, OTHER, TRUE, Seen
from testkit.wording import check_wording, refusal

LEGS: Mapping[str, object] = {"nominal": NOMINAL}
THERE: Mapping[str, object] = {"stand.position": list(TRUE), "joints.default_position": list(TRUE)}
BUNDLES = Path(__file__).parents[3] / "config" / "bundles"


def test_nothing_can_be_asked_for_before_samples_have_agreed_for_half_a_second() -> None:
    arm = Seen(ARM)
    assert [arm.tick() for _ in range(NEEDED - 1)] == [None] * (NEEDED - 1)
    check_wording(arm.refusal())
    with refusal(RefusedError):
        arm.controller.damp()
    assert arm.tick() is None
    arm.controller.damp()
    np.testing.assert_array_equal(arm.commanded().position, TRUE)


@pytest.mark.parametrize("found", [TRUE, (0.2, 0.1, -0.1)])
def test_a_pose_that_a_driver_makes_up_before_its_first_read_is_never_commanded(
    found: Sequence[float],
) -> None:
    arm = Seen(ARM)
    made_up = [arm.tick(joint_pos=MADE_UP) for _ in range(4 * NEEDED)]
    true = [arm.tick(joint_pos=found) for _ in range(4 * NEEDED)]
    assert made_up + true == [None] * (8 * NEEDED)
    check_wording(arm.reason)
    arm.controller.stand()
    arm.sense()
    np.testing.assert_array_equal(arm.tick_again().position, found)
    assert arm.reason == "standing up"


@pytest.mark.parametrize("pressed", [False, True])
def test_a_fault_before_any_request_commands_nothing_and_damp_then_holds(pressed: bool) -> None:
    arm = Seen(ARM).known()
    if pressed:
        assert arm.controller.estop("red button") is None
    else:
        arm.controller.fault(Rule.INTERNAL, "a defect")
    check_wording(arm.controller.snapshot().reason)
    assert [arm.tick() for _ in range(FOREVER)] == [None] * FOREVER
    arm.controller.damp()
    np.testing.assert_array_equal(arm.commanded().position, TRUE)
    assert arm.controller.snapshot().latched
    check_wording(arm.reason)


POSES = {"true": TRUE, "other": OTHER, "made up": MADE_UP}


@given(
    acts=st.lists(
        st.tuples(
            st.sampled_from(
                [*POSES, "silent", "damp", "stand", "reset", "estop", "fault", "restart"]
            ),
            st.sampled_from([1, NEEDED]),
        ),
        max_size=12,
    )
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_no_samples_and_no_fault_command_an_arm_before_a_request(
    acts: Sequence[tuple[str, int]],
) -> None:
    arm = Seen(ARM)
    controller, waits = arm.controller, True
    requests: Mapping[str, Callable[[], object]] = {
        "damp": controller.damp,
        "stand": controller.stand,
        "reset": controller.reset,
        "estop": lambda: controller.estop("pressed"),
        "fault": lambda: controller.fault(Rule.INTERNAL, "a defect"),
    }
    for act, ticks in acts:
        if act == "restart":
            controller.stop("the node stops")
            controller.start()
            waits = True
        elif act in requests:
            try:
                requests[act]()
            except RefusedError:
                continue
            if waits and act in ("damp", "stand"):
                waits, held = False, controller.safe_targets()
                assert held is not None
                np.testing.assert_array_equal(held.position, controller.state["joint_pos"])
        else:
            arm.sensed["joint_pos"] = POSES.get(act, arm.sensed["joint_pos"])
            for _ in range(ticks):
                targets = arm.tick(silent=BOTH if act == "silent" else ())
                assert targets is None or not waits
        assert controller.safe_targets() is None or not waits


def test_samples_that_jump_to_and_fro_are_never_believed() -> None:
    arm = Seen(ARM)
    for _ in range(FOREVER):
        assert arm.tick(joint_pos=TRUE) is None
        assert arm.tick(joint_pos=MADE_UP) is None


@pytest.mark.parametrize(
    "wrong", [MADE_UP, (0.9, 10.0, -0.5), (1e300, 0.5, -0.5), (-0.9, 1e9, 9.0)]
)
@pytest.mark.parametrize("ticks", [1, FOREVER])
def test_an_arm_that_is_held_stays_where_it_is_whatever_is_measured(
    wrong: Sequence[float], ticks: int
) -> None:
    arm = Seen(ARM).held()
    for _ in range(ticks):
        np.testing.assert_array_equal(arm.commanded(joint_pos=wrong).position, TRUE)
    for _ in range(10):
        np.testing.assert_array_equal(arm.commanded(silent=BOTH).position, TRUE)
    for _ in range(FOREVER):
        np.testing.assert_array_equal(arm.commanded(joint_pos=TRUE).position, TRUE)


@pytest.mark.parametrize("wrong", [MADE_UP, (0.0, 10.0, -0.5), (1e300, 0.5, -0.5)])
def test_a_driver_that_dies_with_a_wrong_sample_leaves_the_arm_where_it_was(
    wrong: Sequence[float],
) -> None:
    arm = Seen({**THERE, **ARM}).running()
    last = arm.commanded().position
    arm.tick(joint_pos=wrong)
    for _ in range(20):
        held = arm.commanded(silent=BOTH)
        assert (np.abs(held.position - last) <= 0.05).all()
    assert arm.is_in(Mode.DAMP)
    assert_safe(held, OnFault.HOLD_MEASURED)


def test_an_e_stop_on_a_wrong_sample_of_one_joint_holds_what_was_believed() -> None:
    arm = Seen({**THERE, **ARM}).running()
    arm.sense(joint_pos=(0.9, 10.0, -0.5))
    arm.controller.estop("red button")
    targets = arm.tick_again()
    np.testing.assert_allclose(targets.position, TRUE, atol=0.05)


def test_a_fault_on_a_joint_beyond_its_limit_holds_the_limit() -> None:
    arm = Seen(
        {**ARM, "stand.position": [1.4, 0.5, -0.5], "joints.default_position": [1.4, 0.5, -0.5]}
    ).running()
    for _ in range(2):
        arm.tick(joint_pos=(1.6, 0.5, -0.5))
    arm.controller.estop("red button")
    assert arm.tick_again().position[0] == 1.5


def test_standing_up_is_refused_on_a_wrong_sample_and_begins_at_what_is_believed() -> None:
    arm = Seen({**THERE, **ARM}).known()
    arm.tick(joint_pos=MADE_UP)
    check_wording(arm.refusal())
    arm.tick(joint_pos=TRUE)
    arm.controller.stand()
    np.testing.assert_allclose(arm.commanded(joint_pos=TRUE).position, TRUE)


def test_a_pose_that_jumped_in_full_view_is_not_stood_up_from_unless_damp_was_asked_for() -> None:
    arm = Seen(ARM).held()
    for _ in range(NEEDED):
        arm.tick(joint_pos=MADE_UP)
    check_wording(arm.refusal())
    arm.controller.damp()
    positions = np.stack([arm.commanded().position for _ in range(10)])
    steps = np.abs(np.diff([TRUE, *positions], axis=0))
    assert steps.max() == pytest.approx(10.0 / 50)
    np.testing.assert_allclose(positions[-1], MADE_UP, atol=1e-12)
    arm.controller.stand()


def test_an_arm_that_is_moved_by_hand_after_a_fault_is_held_there_once_damp_is_asked_for() -> None:
    arm = Seen(ARM).held()
    arm.controller.fault(Rule.INTERNAL, "a defect")
    moved = (0.8, 0.6, -0.6)
    for _ in range(2):
        np.testing.assert_array_equal(arm.commanded(joint_pos=moved).position, TRUE)
    arm.controller.damp()
    np.testing.assert_allclose(arm.commanded().position, moved)
    assert arm.controller.snapshot().latched
    check_wording(arm.reason)


def test_an_arm_that_was_moved_while_its_driver_was_off_is_held_where_it_is_then() -> None:
    arm = Seen(ARM).held()
    for _ in range(20):
        np.testing.assert_array_equal(arm.commanded(silent=BOTH).position, TRUE)
    for _ in range(NEEDED - 1):
        assert arm.tick(joint_pos=OTHER) is None
    np.testing.assert_array_equal(arm.commanded().position, OTHER)


@pytest.mark.parametrize(
    ("first", "then"),
    [((0.6, 0.5, -0.5), TRUE), ((0.86, 0.5, -0.5), (0.86, 0.5, -0.5))],
    ids=["made-up samples first", "sagged"],
)
def test_an_arm_that_has_not_moved_in_an_outage_is_held_without_a_break(
    first: Sequence[float], then: Sequence[float]
) -> None:
    arm = Seen(ARM).held()
    for _ in range(20):
        arm.tick(silent=BOTH)
    for seen in [first] * (NEEDED - 1) + [then] * FOREVER:
        np.testing.assert_array_equal(arm.commanded(joint_pos=seen).position, TRUE)


def test_legs_that_are_moved_while_they_are_limp_are_believed_in_the_end() -> None:
    robot = Seen().known()
    for _ in range(NEEDED):
        robot.tick(joint_pos=OTHER)
    robot.controller.stand()
    np.testing.assert_allclose(robot.commanded().position, OTHER, atol=0.05)


@pytest.mark.parametrize(
    "wrong",
    [
        {"joint_pos": (0.9, 10.0, -0.5)},
        {"joint_pos": (1e300, 0.5, -0.5)},
        {"joint_pos": MADE_UP},
        {"joint_vel": (0.0, 1e6, 0.0)},
    ],
    ids=str,
)
def test_one_wrong_sample_changes_nothing_of_a_running_policy(
    wrong: Mapping[str, Sequence[float]],
) -> None:
    robot = Seen({**THERE, **LEGS}).running()
    kept = {name: robot.sensed[name] for name in wrong}
    observed = robot.observed()[9:15]
    before = robot.commanded().position
    after = robot.tick(wrong)
    assert after is not None
    np.testing.assert_allclose(after.position, before)
    np.testing.assert_allclose(robot.observed()[9:15], observed, atol=0.05)
    robot.tick(kept)
    assert robot.is_in(Mode.RUN)


def test_a_stream_that_goes_wrong_while_the_policy_runs_holds_and_then_damps() -> None:
    robot = Seen().running()
    modes = []
    for _ in range(FOREVER):
        robot.tick(joint_pos=(-1.4, 0.5, -0.5))
        modes.append(robot.controller.mode)
    assert modes[:2] == [Mode.RUN] * 2
    assert modes[2] is Mode.HOLD
    assert modes[-1] is Mode.DAMP
    check_wording(robot.reason)
    assert_latched(robot, Rule.HELD_TOO_LONG)


def test_a_pose_that_jumped_is_never_believed_while_the_robot_is_commanded_to_move() -> None:
    check = JointCheck(contract_of(), 2 * PERIOD_NS)
    times_ns = itertools.count(step=PERIOD_NS)
    still = np.zeros(3)
    for _ in range(NEEDED):
        check.problem(np.array(TRUE), still, next(times_ns))
    check.in_motion = True
    assert all(check.problem(np.array(OTHER), still, next(times_ns)) for _ in range(FOREVER))
    check.in_motion = False
    assert check.problem(np.array(OTHER), still, next(times_ns)) == ""
    assert check.replaced == 1


@pytest.mark.parametrize("field", ["joint_pos", "joint_vel"])
def test_values_beside_one_that_is_no_number_are_no_pose(field: str) -> None:
    made_up: dict[str, Sequence[float]] = {"joint_pos": MADE_UP, "joint_vel": (0.0, 0.0, 0.0)}
    made_up[field] = (0.0, math.nan, 0.0)
    fresh = Seen(ARM)
    assert fresh.tick(made_up) is None
    arm = Seen({**THERE, **ARM}).running()
    last = arm.commanded().position
    targets = arm.tick(made_up)
    assert targets is not None
    np.testing.assert_allclose(targets.position, last, atol=0.05)
    assert arm.count(Rule.NOT_FINITE) == 1
    arm.controller.reset()
    arm.controller.damp()
    for _ in range(10):
        np.testing.assert_allclose(arm.commanded().position, last, atol=0.05)


def test_a_node_that_is_activated_again_holds_nothing_of_before() -> None:
    arm = Seen({**ARM, "safety.state_timeout_s": 5.0}).held()
    arm.controller.stop("the node stops")
    arm.controller.start()
    for _ in range(NEEDED - 1):
        assert arm.tick() is None
        assert arm.refusal()
    assert [arm.tick() for _ in range(FOREVER)] == [None] * FOREVER
    check_wording(arm.reason)
    arm.controller.damp()
    np.testing.assert_array_equal(arm.commanded().position, TRUE)


def test_a_motion_begins_at_what_is_held_though_the_arm_sags_below() -> None:
    arm = Seen(ARM).held()
    arm.tick(joint_pos=tuple(np.subtract(TRUE, 0.09)))
    arm.controller.stand()
    arm.sense()
    np.testing.assert_array_equal(arm.tick_again().position, TRUE)


@pytest.mark.parametrize(
    ("policy_hz", "source_hz", "needed"), [(50, 20, NEEDED), (50, 100, NEEDED), (1, 1, 5)]
)
def test_a_source_slower_or_faster_than_the_policy_is_believed(
    policy_hz: int, source_hz: int, needed: int
) -> None:
    period_ns = 1_000 * MS // policy_hz
    contract = contract_of({"rate_hz": policy_hz})
    check = JointCheck(contract, 2 * period_ns)
    samples = 0
    for tick in range(4 * NEEDED):
        if tick * source_hz // policy_hz > (tick - 1) * source_hz // policy_hz:
            samples += 1
            problem = check.problem(np.array(TRUE), np.zeros(3), tick * period_ns + tick % 3)
            assert (problem == "") == (samples >= needed)
    assert samples > needed


def test_a_wheel_whose_encoder_begins_again_after_each_turn_is_believed() -> None:
    limits = {"joints.position_min": [-1e4, -1.5, -1.5], "joints.position_max": [1e4, 1.5, 1.5]}
    robot = Seen(limits).known()
    robot.controller.joint_check.in_motion = True
    for tick in range(100):
        angle = (0.9 + 0.15 * tick + math.pi) % math.tau - math.pi
        robot.sense(joint_pos=(angle, 0.5, -0.5))
        robot.now_ns += PERIOD_NS
        assert robot.controller.inputs["joint_states"].problem == ""
    robot.sense(joint_pos=(angle + math.pi, 0.5, -0.5))
    assert "hip" in robot.controller.inputs["joint_states"].problem


@pytest.mark.parametrize(
    ("beyond_two_turns_rad", "turns"), [(-0.1, False), (0.009, False), (0.2, True), (6.0, True)]
)
def test_a_joint_turns_on_and_on_where_its_limits_span_more_than_two_turns(
    beyond_two_turns_rad: float, turns: bool
) -> None:
    half = math.tau + beyond_two_turns_rad / 2.0
    limits = {"joints.position_min": [-half, -1.5, -1.5], "joints.position_max": [half, 1.5, 1.5]}
    assert joint_turns(contract_of(limits).joints).tolist() == [
        math.tau if turns else 0.0,
        0.0,
        0.0,
    ]


WHEEL: Mapping[str, object] = {
    "joints.position_min": [-1e4, -1.5, -1.5],
    "joints.position_max": [1e4, 1.5, 1.5],
    "joints.stiffness": [0.0, 30.0, 30.0],
    "stand.stiffness": [0.0, 100.0, 100.0],
    "action.terms": [
        {"joints": ["hip"], "kind": "velocity", "scale": 10.0},
        {
            "joints": ["knee", "ankle"],
            "kind": "position",
            "scale": 0.5,
            "offset": "default_position",
        },
    ],
}


@pytest.mark.parametrize(
    ("turned", "moved", "mode"),
    [(9.0, 0.0, Mode.RUN), (9.0, 1.2, Mode.HOLD), (25.0, 0.0, Mode.HOLD)],
)
def test_a_fast_wheel_turns_on_in_a_hold_and_the_policy_goes_on(
    turned: float, moved: float, mode: Mode
) -> None:
    robot = Seen(WHEEL)
    robot.answer(0.9, 0.0, 0.0)
    robot.standing().controller.run()
    hip, knee, ankle = robot.sensed["joint_pos"]

    def turn(rad_per_s: float) -> Sequence[float]:
        nonlocal hip
        hip += rad_per_s * PERIOD_NS * 1e-9
        return hip, knee, ankle

    for _ in range(10):
        robot.tick(joint_pos=turn(9.0))
    assert robot.is_in(Mode.RUN)
    for _ in range(6):
        robot.tick(joint_pos=turn(turned), silent=["joint_states"])
    assert robot.is_in(Mode.HOLD)
    knee += moved
    robot.tick(joint_pos=turn(9.0))
    assert robot.is_in(mode)


def test_what_drifts_slowly_or_repeats_is_believed() -> None:
    robot = Seen().known()
    for i in range(100):
        robot.tick(joint_pos=(0.9 - 0.02 * i, 0.5, -0.5))
        assert robot.controller.inputs["joint_states"].problem == ""
    for _ in range(100):
        robot.tick()
        assert robot.controller.inputs["joint_states"].problem == ""


@pytest.mark.real_data
def test_no_sample_of_a_healthy_walk_is_refused(shared_data: Path) -> None:
    rollout = np.load(shared_data / "legged" / "lite3" / "rollout_50hz.npz")
    contract = load_bundle(BUNDLES / "lite3_walk", kind=JointBundle).contract
    limits = limits_in_force(contract, StricterLimits())
    check = JointCheck(contract, limits.state_timeout_ns)
    for _ in range(NEEDED):
        check.problem(rollout["joint_pos"][0], rollout["joint_vel"][0], 0)
    check.in_motion = True
    for time_s, pose, speed in zip(
        rollout["time"], rollout["joint_pos"], rollout["joint_vel"], strict=True
    ):
        assert check.problem(pose, speed, int(time_s * 1e9)) == ""
