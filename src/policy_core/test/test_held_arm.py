# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""An arm that is held in DAMP stays where it is, and is never moved faster than its joints may."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_core.errors import RefusedError
from policy_core.guard.bounds import Rule
from policy_core.guard.joint_check import JointCheck
from policy_core.interfaces import F64, Mode
from testkit.fuzzing import examples
from testkit.kernel.contracts import contract_of
from testkit.kernel.robots import BOTH, MS, PERIOD_NS
from testkit.kernel.seen import ARM, MADE_UP, NEEDED, OTHER, TRUE, Seen
from testkit.numbers import numbers_in
from testkit.wording import check_wording, refusal

pytestmark = pytest.mark.both_cores

SLOW: Mapping[str, object] = {**ARM, "joints.velocity_limit": 1.0}
STRIDE_RAD = 1.0 * PERIOD_NS * 1e-9
TURNS: Mapping[str, object] = {
    "joints.position_min": [-10.0, -1.5, -1.5],
    "joints.position_max": [10.0, 1.5, 1.5],
}
BEYOND = (1.95, 0.5, -0.5)
TURN = np.array([math.tau, 0.0, 0.0])


def sagged(pose: F64 | Sequence[float], by_rad: float) -> Sequence[float]:
    first, *others = pose
    return float(first) - by_rad, *map(float, others)


def commanded_positions(arm: Seen, ticks: int) -> F64:
    return np.stack([arm.commanded().position for _ in range(ticks)])


@pytest.mark.parametrize("found_first", [None, (math.nan, 0.5, -0.5)])
@pytest.mark.parametrize("loaded", [False, True])
def test_an_arm_that_comes_back_elsewhere_is_followed_also_after_a_sample_that_is_no_number(
    loaded: bool, found_first: Sequence[float] | None
) -> None:
    changes = {**ARM, "joints.velocity_limit": 80.0}
    arm = Seen(changes).held()
    arm.tick()
    for _ in range(4):
        arm.tick(silent=BOTH)
    if loaded:
        before, arm = arm, Seen(changes)
        arm.now_ns, arm.sensed = before.now_ns, before.sensed
        arm.controller.take_over(before.controller)
    moved = sagged(TRUE, 0.6)
    if found_first is not None:
        arm.tick(joint_pos=found_first)
    found = arm.commanded(joint_pos=moved)
    assert arm.controller.inputs["joint_states"].problem == ""
    np.testing.assert_allclose(found.position, moved)


@pytest.mark.parametrize("silent", [[0, 1, 1, 1, 1], [0, 1, 1, 1, 0, 0]])
def test_an_arm_that_sags_far_does_not_sink_with_each_outage(silent: Sequence[int]) -> None:
    arm = Seen(ARM).held()
    held = arm.commanded()
    for i in range(20 * len(silent)):
        arm.sensed["joint_pos"] = sagged(held.position, 0.45)
        held = arm.commanded(silent=BOTH if i and silent[i % len(silent)] else ())
        np.testing.assert_array_equal(held.position, TRUE)


def test_an_arm_beyond_its_limit_is_brought_in_from_where_it_is() -> None:
    arm = Seen(SLOW)
    arm.sensed["joint_pos"] = BEYOND
    arm.held()
    held = arm.controller.safe_targets()
    assert held is not None
    np.testing.assert_array_equal(held.position, BEYOND)
    found = np.vstack([BEYOND, commanded_positions(arm, 30)])
    np.testing.assert_allclose(np.diff(found[:20, 0]), -STRIDE_RAD)
    assert found[-1].tolist() == [1.5, 0.5, -0.5]


def test_an_arm_that_is_found_beyond_its_limit_after_an_outage_is_brought_in_from_there() -> None:
    arm = Seen(SLOW).held()
    for _ in range(20):
        arm.tick(silent=BOTH)
    while (held := arm.tick(joint_pos=BEYOND)) is not None:
        np.testing.assert_array_equal(held.position, TRUE)
    while (held := arm.tick()) is None:
        pass
    np.testing.assert_allclose(held.position, sagged(BEYOND, STRIDE_RAD))


def test_damp_changes_nothing_while_the_clock_stands_still() -> None:
    arm = Seen(ARM).held()
    for hip in (0.8, 0.4, 0.0, -0.4):
        arm.tick(joint_pos=(hip, 0.5, -0.5))
    arm.controller.damp()
    for _ in range(10):
        np.testing.assert_array_equal(arm.tick_again().position, TRUE)
    arm.now_ns += PERIOD_NS // 4
    np.testing.assert_allclose(arm.tick_again().position, sagged(TRUE, 0.05))
    arm.now_ns += 100 * PERIOD_NS
    np.testing.assert_allclose(arm.tick_again().position, sagged(TRUE, 0.25))


def test_an_encoder_that_begins_again_moves_no_joint_that_turns_on_and_on() -> None:
    arm = Seen({**ARM, **TURNS, "stand.duration_s": 2.0}).held()
    arm.tick()
    arm.sensed["joint_pos"] = tuple(np.subtract(TRUE, TURN))
    np.testing.assert_array_equal(arm.commanded().position, TRUE)
    arm.controller.damp()
    np.testing.assert_array_equal(commanded_positions(arm, 3), [TRUE] * 3)
    arm.controller.stand()
    for _ in range(20):
        before = arm.commanded().position
        arm.sensed["joint_pos"] = tuple(before - TURN)
    pushed = before - (0.1, 0.0, 0.0)
    for _ in range(2):
        last = arm.commanded(joint_pos=tuple(pushed - TURN)).position
    arm.controller.estop("red button")
    np.testing.assert_allclose(arm.tick_again().position, [pushed[0], *last[1:]])


@pytest.mark.parametrize("limit", [5.8, math.tau, 6.2832])
def test_a_joint_of_one_turn_to_each_side_is_not_believed_a_turn_off(limit: float) -> None:
    arm = Seen({**ARM, "joints.position_min": -limit, "joints.position_max": limit}).held()
    arm.tick(joint_pos=tuple(np.subtract(TRUE, TURN)))
    check_wording(arm.controller.inputs["joint_states"].problem)


def test_a_policy_whose_limits_exclude_the_held_pose_is_refused() -> None:
    arm = Seen(ARM).held()
    arm.tick()
    narrow = Seen({**ARM, "joints.position_min": -0.6, "joints.position_max": 0.6})
    with refusal(RefusedError):
        narrow.controller.take_over(arm.controller)
    np.testing.assert_array_equal(arm.commanded().position, TRUE)


def test_a_slow_joint_with_a_noisy_velocity_is_believed() -> None:
    check = JointCheck(contract_of({"joints.velocity_limit": 0.05}), 40 * MS)
    now_ns, found = 0, list[str]()
    for now_ns in range(0, 2 * NEEDED * PERIOD_NS, PERIOD_NS):
        found.append(check.problem(np.array(TRUE), np.array([1.54, -1.54, 0.0]), now_ns))
    assert found[-1] == ""
    assert 2.1 in numbers_in(check.problem(np.array(TRUE), np.array([2.1, 0.0, 0.0]), now_ns))


STARTS = st.sampled_from([TRUE, OTHER, (8.0, 1.9, -1.7), (-9.9, 0.0, 1.6)])
SAGS = st.sampled_from([0.0, 0.04, 0.06, 0.14])
HAPPENS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "seen",
                "seen",
                "silent",
                "silent",
                "slips",
                "made up",
                "damp",
                "e-stop",
                "fault",
                "reset",
                "stands still",
            ]
        ),
        SAGS,
        st.sampled_from([1, 3, 30]),
    ),
    max_size=15,
)


@pytest.mark.fuzz
@given(start=STARTS, happens=HAPPENS)
@examples(0.6)
def test_whatever_is_seen_of_a_sagging_arm_its_target_stays_and_never_jumps(
    start: Sequence[float], happens: Sequence[tuple[str, float, int]]
) -> None:
    arm = Seen({**SLOW, **TURNS})
    arm.sensed["joint_pos"] = start
    arm.held()
    low, high = (np.array(TURNS[f"joints.position_{end}"]) for end in ("min", "max"))
    last, turns, wanted = np.array(start), 0, np.clip(start, low, high)
    for what, sag, ticks in happens:
        if ask_or_fault(arm, what) and what == "damp":
            pose = arm.controller.state["joint_pos"]
            pose = pose + TURN * np.rint((last - pose) / math.tau)
            wanted = np.clip(np.where(abs(last - pose) <= 0.05, last, pose), low, high)
        turns += what == "slips"
        for tick in range(ticks):
            arm.now_ns += 0 if what == "stands still" else PERIOD_NS
            seen = tuple(last - TURN * turns - sag)
            if what == "made up" and tick == 0:
                seen = MADE_UP
            arm.sense(joint_pos=seen, silent=BOTH if what == "silent" else ())
            targets = arm.controller.tick(arm.now_ns, arm.now_ns + PERIOD_NS)
            if targets is not None:
                moved = abs(targets.position - last)
                assert (moved <= (what != "stands still") * STRIDE_RAD + 1e-9).all()
                assert (abs(wanted - targets.position) <= abs(wanted - last) + 1e-9).all()
                last = targets.position.copy()
    assert arm.is_in(Mode.DAMP)


def ask_or_fault(arm: Seen, what: str) -> bool:
    """Do this if it is a request or a fault; return whether it was not refused."""
    controller = arm.controller
    if what == "damp":
        try:
            controller.damp()
        except RefusedError:
            return False
    elif what == "e-stop":
        controller.estop("pressed")
    elif what == "fault":
        controller.fault(Rule.INTERNAL, "a defect")
    elif what == "reset":
        controller.reset()
    return True
