# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A followed shadow of the same model asks for the same targets, whatever it misses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .shadowed import HISTORY, PHASE, Shadowed, outcome_names
from .shadowed_arm import SETTINGS, ShadowedArm

JOINT: Mapping[str, Mapping[str, object]] = {
    "history": HISTORY,
    "phase": PHASE,
}
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
@settings(max_examples=15, deadline=None, derandomize=True)
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
