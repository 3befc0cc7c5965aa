# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from policy_core.guard.bounds import Rule, TargetBounds
from policy_core.interfaces import F64
from policy_core.members.joint import ActionDecoder
from testkit.kernel.contracts import NOMINAL, contract_of

Vector = tuple[float, float, float]
ZERO, NEAR = (0.0, 0.0, 0.0), (0.5, -0.5, 0.0)
STILL = np.zeros(3)
KINDS = [
    {"joints": ["hip"], "kind": "position"},
    {"joints": ["knee"], "kind": "velocity"},
    {"joints": ["ankle"], "kind": "effort"},
]


def vectors(largest: float) -> st.SearchStrategy[F64]:
    return arrays(np.float64, 3, elements=st.floats(-largest, largest))


def bounds_of(changes: Mapping[str, object] | None = None, margin: float = 1.5) -> TargetBounds:
    contract = contract_of({"nominal": NOMINAL, **(changes or {})})
    return TargetBounds(contract, ActionDecoder(contract, np.zeros((1, 3))), margin)


def applied(
    bounds: TargetBounds, command: Sequence[float], pos: F64 = STILL, vel: F64 = STILL
) -> tuple[list[float], tuple[Rule, ...]]:
    values = np.array(command)
    acted = bounds.apply(values, pos, vel)
    return values.round(9).tolist(), acted


def test_steps_count_from_the_clipped_command() -> None:
    bounds, near = bounds_of(), np.full(3, 0.6)
    assert applied(bounds, (1.0, 0.0, 0.0))[0][0] == 0.3
    assert applied(bounds, (1.0, 0.3, 0.3), near)[0][0] == 0.6


# Where steps begin, command, measured; what is left of the command. A step may be 0.2 rad x 1.5,
# and the torque |30 (u - q) - dq| 9 N·m x 1.5.
BOUNDED: Mapping[str, tuple[Vector, Vector, Vector, Vector, tuple[Rule, ...]]] = {
    "healthy": (ZERO, (0.25, -0.25, 0.0), ZERO, (0.25, -0.25, 0.0), ()),
    "step": (ZERO, (0.4, -0.4, 0.1), ZERO, (0.3, -0.3, 0.1), (Rule.TARGET_STEP,)),
    "step from a reset": (NEAR, (0.75, -0.75, 0.4), NEAR, (0.75, -0.75, 0.3), (Rule.TARGET_STEP,)),
    "torque": (ZERO, (0.2, 0.0, 0.0), (-0.3, 0.0, 0.0), (0.15, 0.0, 0.0), (Rule.EFFORT,)),
    # The torque that is healthy at q = -0.6 would need a target of -0.15 at most: a step of 0.35.
    "step after torque": (
        *((0.2, 0.0, 0.0), (0.2, 0.0, 0.0), (-0.6, 0.0, 0.0), (-0.1, 0.0, 0.0)),
        (Rule.EFFORT, Rule.TARGET_STEP),
    ),
    # What is at its bound is left, and named by no rule, also where another one is beyond its own.
    "step, torque at its bound": (
        *(ZERO, (0.4, 0.0, 0.0), (0.4 - 0.45, 0.0, 0.0), (0.3, 0.0, 0.0)),
        (Rule.TARGET_STEP,),
    ),
    # The torque that is healthy at q = 2 would need a target of 1.55 at least.
    "limit after torque": (
        *((1.4, 0.0, 0.0), (1.45, 0.0, 0.0), (2.0, 0.0, 0.0), (1.5, 0.0, 0.0)),
        (Rule.EFFORT, Rule.POSITION_LIMIT),
    ),
}


@pytest.mark.parametrize("case", BOUNDED)
def test_step_torque_and_limit_bound_a_target_in_this_order(case: str) -> None:
    begin, command, measured, left, acted = BOUNDED[case]
    bounds = bounds_of()
    bounds.reset(np.array(begin))
    assert applied(bounds, command, np.array(measured)) == ([*left], acted)


def test_the_torque_demand_includes_the_damping() -> None:
    # 30 u + 9 <= 13.5 with dq = -9, and on the other side 30 u - 9 >= -13.5.
    vel = np.array([-9.0, 9.0, 0.0])
    assert applied(bounds_of(), (0.25, -0.25, 0.0), vel=vel) == ([0.15, -0.15, 0.0], (Rule.EFFORT,))


BOUNDS = bounds_of()


@given(command=vectors(10.0), pos=vectors(1e3), vel=vectors(1e6), last=vectors(1.5))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_no_measurement_moves_a_target_by_more_than_a_step_or_beyond_a_limit(
    command: F64, pos: F64, vel: F64, last: F64
) -> None:
    BOUNDS.reset(last)
    BOUNDS.apply(command, pos, vel)
    assert (np.abs(command - last) <= 0.3 + 1e-9).all()
    assert (np.abs(command) <= 1.5).all()


def test_without_nominal_only_the_limits_of_the_joints_bound() -> None:
    contract = contract_of()
    bounds = TargetBounds(contract, ActionDecoder(contract, np.zeros((1, 3))), 1.5)
    values, acted = applied(bounds, (1.4, -9.0, 9.0), np.full(3, -9.0))
    assert (values, acted) == ([1.4, -1.5, 1.5], (Rule.POSITION_LIMIT,))


def test_velocity_and_effort_targets_have_bounds_in_their_own_units() -> None:
    # damping 1: |u - dq| <= 13.5 rad/s and 10 rad/s at most; effort: 13.5 N·m and a step of 0.3.
    bounds = bounds_of({"action.terms": KINDS, "nominal": {**NOMINAL, "target_step": 1000.0}})
    vel = np.array([0.0, -5.0, 0.0])
    values, acted = applied(bounds, (0.0, 9.5, -18.0), vel=vel)
    assert (values, acted) == ([0.0, 8.5, -13.5], (Rule.EFFORT,))
    values, acted = applied(bounds, (0.0, -12.0, 0.0), vel=vel)
    assert (values, acted) == ([0.0, -10.0, 0.0], (Rule.POSITION_LIMIT,))
    fast = np.array([0.0, 0.0, 20.0])  # no bound of an effort depends on the joint's velocity
    assert applied(bounds, (0.0, 0.0, 13.0), vel=fast) == ([0.0, 0.0, 13.0], ())
    assert applied(bounds, (0.0, 0.0, -13.0), vel=fast) == ([0.0, 0.0, -13.0], ())


def test_effort_targets_are_limited_to_the_joint_s_effort_without_nominal() -> None:
    contract = contract_of({"action.terms": KINDS})
    bounds = TargetBounds(contract, ActionDecoder(contract, np.zeros((1, 3))), 1.5)
    assert applied(bounds, (0.0, 0.0, 25.0)) == ([0.0, 0.0, 20.0], (Rule.POSITION_LIMIT,))


def test_steps_of_velocities_and_efforts_begin_at_zero_whatever_the_pose() -> None:
    bounds = bounds_of({"action.terms": KINDS})
    bounds.reset(np.array([0.5, 0.9, -0.9]))
    values, acted = applied(bounds, (0.5, 0.9, -0.9), np.array([0.5, 0.9, -0.9]))
    assert (values, acted) == ([0.5, 0.3, -0.3], (Rule.TARGET_STEP,))


def test_a_joint_without_stiffness_has_no_torque_bound_and_no_division_by_zero() -> None:
    bounds = bounds_of({"joints.stiffness": [0.0, 30.0, 30.0]})
    pos, vel = np.array([9.0, -0.3, 0.0]), np.array([5.0, 0.0, 0.0])
    values, acted = applied(bounds, (0.25, 0.2, 0.0), pos, vel)
    assert (values, acted) == ([0.25, 0.15, 0.0], (Rule.EFFORT,))


@pytest.mark.parametrize("margin", [1.0, 2.0])
def test_the_margin_widens_both_bounds(margin: float) -> None:
    assert applied(bounds_of(margin=margin), (0.9, 0.0, 0.0))[0][0] == pytest.approx(0.2 * margin)
    pos = np.array([-0.3, 0.0, 0.0])
    demand = 30.0 * (applied(bounds_of(margin=margin), (0.9, 0.0, 0.0), pos)[0][0] + 0.3)
    assert demand == pytest.approx(min(9.0 * margin, 30.0 * (0.3 + 0.2 * margin)))
