# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A shadow policy is asked what the active one was asked."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from policy_core.errors import BundleError
from policy_core.guard.bounds import CLIPPED_TICKS_LIMIT
from policy_core.interfaces import ShadowMode
from policy_inference.flight.ring import ShadowAnswer, ShadowOutcome
from policy_inference.shadow.comparable import require_comparable
from testkit.kernel.contracts import DEFAULT, bundle_of, contract_of
from testkit.kernel.robots import fail
from testkit.wire_messages import SCAN
from testkit.wording import check_wording, refusal

from .shadowed import HISTORY, PHASE, STEPS, Shadowed, outcome_names
from .shadowed_arm import SETTINGS, ShadowedArm

PERMUTED = {
    "joints.names": ["b", "c", "a"],
    "joints.robot_names": {"a": "hip", "b": "knee", "c": "ankle"},
    "joints.default_position": [DEFAULT[1], DEFAULT[2], DEFAULT[0]],
    "stand.position": [DEFAULT[1], DEFAULT[2], DEFAULT[0]],
    "action.terms": [
        {
            "joints": ["c", "a", "b"],
            "kind": "position",
            "scale": [0.25, 2.0, 0.5],
            "offset": [0.1, 0.0, -0.2],
        }
    ],
}


def assert_equal_targets(answers: list[ShadowAnswer]) -> None:
    for answer in answers:
        assert answer.target is not None
        assert answer.active_target is not None
        np.testing.assert_array_equal(answer.target, answer.active_target)


def test_followed_shadow_of_another_model_is_asked_the_same_and_a_free_one_is_not() -> None:
    followed, free = (Shadowed(HISTORY, mode, rounds=0.25).runs() for mode in ShadowMode)
    followed.tick(20)
    free.tick(20)
    np.testing.assert_array_equal(followed.backend.seen, followed.active.seen)
    assert not np.array_equal(free.backend.seen, free.active.seen)
    assert free.answers[-1].target is not None


def test_joints_in_another_order_with_other_names_and_scales_are_the_same_robot() -> None:
    # Scales and offsets are such that no target can be equal by chance.
    shadowed = Shadowed(shadow=PERMUTED).runs()
    shadowed.tick(2)
    first, second = shadowed.backend.seen
    names = {"hip": 0, "knee": 1, "ankle": 2}
    order = [names[joint] for joint in ("knee", "ankle", "hip")]
    active = shadowed.active.seen[1]
    joint_pos, last_action = active[9:12], active[15:18]
    np.testing.assert_allclose(second[9:12], joint_pos[order], rtol=1e-6)
    # What the active policy asked for, in the order and scale of the shadow's own action.
    asked = np.array(DEFAULT) + 0.5 * last_action
    by_shadow = [(asked[2] - 0.1) / 0.25, asked[0] / 2.0, (asked[1] + 0.2) / 0.5]
    np.testing.assert_allclose(second[15:18], by_shadow, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(first[15:18], 0.0)
    answer, output = shadowed.answers[-1], shadowed.backend.outputs["actions"][0]
    wanted = [2.0 * output[1], 0.5 * output[2] - 0.2, 0.25 * output[0] + 0.1]
    assert answer.target is not None
    np.testing.assert_allclose(answer.target, wanted, rtol=1e-6)


def test_wrong_scale_is_seen_before_the_guard_bounds_it() -> None:
    terms = [
        {"joints": ["hip", "knee", "ankle"], "kind": "position", "scale": 50.0, "clip": [-1, 1]}
    ]
    shadow = {"action.terms": terms, "nominal": {**STEPS["nominal"], "target_step": 0.2}}
    shadowed = Shadowed(shadow=shadow, gain=1.0).runs()
    shadowed.tick(CLIPPED_TICKS_LIMIT)
    answers = shadowed.answers
    assert all(answer.beyond_limits for answer in answers)
    assert all("target_step" in answer.rules for answer in answers)
    assert [("clipped_too_long" in answer.rules) for answer in answers] == [False] * 9 + [True]
    assert (
        max(float(np.abs(answer.target).max()) for answer in answers if answer.target is not None)
        > 10
    )


def test_target_beyond_a_limit_counts_only_if_the_active_one_is_within() -> None:
    """An identical bundle repeats the active policy's own violations."""
    terms = [{"joints": ["hip", "knee", "ankle"], "kind": "position", "scale": 50.0}]
    same = Shadowed({"action.terms": terms}).runs()
    same.tick(5)
    targets = [answer.target for answer in same.answers if answer.target is not None]
    high = same.robot.contract.joints.position_max
    assert all((np.abs(target) > high).any() for target in targets)
    assert [answer.beyond_limits for answer in same.answers] == [False] * 5

    within = Shadowed(shadow={"action.terms": terms}).runs()
    within.tick(5)
    assert [answer.beyond_limits for answer in within.answers] == [True] * 5


def test_torques_of_other_gains_differ_for_equal_targets_in_any_order_of_joints() -> None:
    shadowed = Shadowed(
        shadow={**PERMUTED, "joints.stiffness": 15.0, "joints.damping": 0.25}
    ).runs()
    shadowed.tick(3)
    answer, state = shadowed.answers[-1], shadowed.robot.controller.state
    joints = shadowed.robot.contract.joints
    assert answer.active_target is not None
    assert answer.torque is not None
    assert answer.active_torque is not None
    error, velocity = answer.active_target - state["joint_pos"], state["joint_vel"]
    np.testing.assert_allclose(answer.torque, 15.0 * error - 0.25 * velocity)
    np.testing.assert_allclose(
        answer.active_torque, joints.stiffness * error - joints.damping * velocity
    )


def test_failed_and_not_finite_runs_are_answers_without_a_target() -> None:
    shadowed = Shadowed(HISTORY).runs()
    shadowed.tick(3)
    think, shadowed.backend.during_run = shadowed.backend.during_run, fail
    shadowed.tick()
    shadowed.backend.during_run = lambda: None
    shadowed.backend.answers = {"actions": np.nan}
    shadowed.tick()
    shadowed.backend.during_run, shadowed.backend.answers = think, {}
    shadowed.tick(5)
    failed, not_finite = shadowed.answers[3:5]
    assert (failed.outcome, failed.rules) == (ShadowOutcome.FAILED, ("inference_error",))
    assert (not_finite.outcome, not_finite.rules) == (ShadowOutcome.NOT_FINITE, ("not_finite",))
    assert failed.target is None
    check_wording(shadowed.shadow.problem)
    assert_equal_targets(shadowed.answers[5:])


EFFORTS = [{"joints": ["hip", "knee", "ankle"], "kind": "effort"}]
OTHER_TOPIC = {"terms": [{"term": "external", "topic": "a", "size": 2}]}
CHANGES: Mapping[str, Mapping[str, object]] = {
    "joints": {"joints.robot_names": {"hip": "neck"}},
    "rate": {"rate_hz": 100},
    "kind": {"action.terms": EFFORTS},
    "field": {"observations": {"obs": {"terms": [{"term": "base_lin_vel"}]}}},
    "topic": {"observations": {"obs": OTHER_TOPIC}},
}


@pytest.mark.parametrize("change", CHANGES)
def test_bundle_that_cannot_be_compared_is_refused_with_the_reason(change: str) -> None:
    shadowed = Shadowed()
    state = shadowed.robot.controller.state
    sizes = {name: state[name].size for name in state.slices}
    with refusal(BundleError):
        require_comparable(shadowed.robot.contract, sizes, bundle_of(contract_of(CHANGES[change])))
    require_comparable(shadowed.robot.contract, sizes, bundle_of(contract_of(PERMUTED)))


def test_bundle_that_perceives_by_another_contract_is_refused() -> None:
    def seeing(**changes: object) -> Mapping[str, object]:
        scan = {"term": "height_scan", "topic": "perception/ground", "scan": {**SCAN, **changes}}
        return {"observations": {"obs": {"terms": [scan]}}}

    shadowed = Shadowed(seeing())
    state = shadowed.robot.controller.state
    sizes = {name: state[name].size for name in state.slices}
    contract = shadowed.robot.contract
    with refusal(BundleError):
        require_comparable(contract, sizes, bundle_of(contract_of(seeing(offset_m=0.4))))
    require_comparable(contract, sizes, bundle_of(contract_of(seeing())))


JOINT: Mapping[str, Mapping[str, object]] = {"history": HISTORY, "phase": PHASE}
ACTS = st.lists(
    st.tuples(
        st.sampled_from(["tick", "tick", "lost", "late", "silent", "again"]), st.integers(1, 5)
    ),
    max_size=10,
)
CASES: Mapping[str, Callable[[], Shadowed | ShadowedArm]] = {
    **{name: lambda of=of: Shadowed(of).runs() for name, of in JOINT.items()},  # type: ignore[misc]
    **{name: lambda of=of: ShadowedArm(of) for name, of in SETTINGS.items()},  # type: ignore[misc]
}


@pytest.mark.parametrize("case", CASES)
@given(acts=ACTS)
@example(acts=[("tick", 5), ("lost", 1)])  # right before a chunk
@settings(max_examples=8, deadline=None, derandomize=True)
def test_all_that_is_compared_is_equal_and_in_the_end_all_is_compared(
    case: str, acts: Sequence[tuple[str, int]]
) -> None:
    shadowed = CASES[case]()
    for act, ticks in acts:
        if act == "again":
            shadowed.runs_again()
        shadowed.late = act == "late"
        shadowed.tick(
            ticks, lost=act == "lost", silent=("joint_states",) if act == "silent" else ()
        )
    shadowed.late = False
    before = len(shadowed.answers)
    shadowed.tick(60)
    if len(shadowed.answers) < before + 60:  # it was held for too long
        shadowed.runs_again()
        shadowed.tick(60)
    assert {*outcome_names(shadowed.answers)} <= {"COMPARED", "SKIPPED"}
    assert {*outcome_names(shadowed.answers[-20:])} == {"COMPARED"}
    for answer in shadowed.answers:
        if answer.outcome.name == "COMPARED":
            np.testing.assert_array_equal(answer.target, answer.active_target)
