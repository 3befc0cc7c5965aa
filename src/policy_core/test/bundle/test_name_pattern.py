# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Patterns mean what regular expressions mean, and take no time of their own choice."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from policy_core.bundle.contract import LONGEST_NAME, MOST_JOINTS
from policy_core.bundle.name_pattern import DEEPEST, LONGEST, NamePattern, PatternError
from testkit.edits import Edits
from testkit.wording import check_wording, refusal

from .editing import joint_contract, refused_problems

EditJoint = Callable[[Edits], Path]

ATOMS = (
    *(
        "a",
        "b",
        "_",
        ".",
        "[ab]",
        "[^a]",
        "[a-b_]",
        "[a-]",
        r"[\d\-]",
        r"\.",
        r"\d",
        r"\w",
        "(a|b)",
        "(?:ab|_|)",
    ),
    *("(b(a|_)*)", "[]", "]", "(", "1"),
)
SIGNS = st.sampled_from(("", "", "*", "+", "?", "|"))
PATTERNS = st.lists(st.tuples(st.sampled_from(ATOMS), SIGNS), max_size=6).map(
    lambda parts: "".join(map("".join, parts))
)
NAMES = st.text("ab_.1]-\n", max_size=8)


@given(PATTERNS, NAMES)
@example("^a|b$", "b")
@example("(a|)*", "aa")
@settings(max_examples=1000, deadline=None, derandomize=True)
def test_a_pattern_is_the_same_regular_expression(text: str, name: str) -> None:
    try:
        expected = bool(re.fullmatch(text, name, re.ASCII))
        found = NamePattern(text).matches(name)
    except (re.error, PatternError):
        return
    assert found == expected


NO_PATTERNS = {
    **{each: each for each in ("(?!.*knee).*", "a{2}", "(a", "a)", "[ab", "[]", "[b-a]", "a**")},
    **{each: each for each in (r"\b", "a\\", "a$b")},
    "too long": "a" * (LONGEST + 1),
    "too deep": "(" * (DEEPEST + 1) + "a" + ")" * (DEEPEST + 1),
}


@pytest.mark.parametrize("case", NO_PATTERNS)
def test_what_is_no_pattern_says_so(case: str) -> None:
    with refusal(PatternError):
        NamePattern(NO_PATTERNS[case])


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$",
        "(a|a)*$",
        "(.*)*b",
        ".*.*.*.*.*.*.*.*.*.*b",
        "(a?)*" * 20 + "b",
        "(" + "a|" * 60 + "a)*b",
        "(((((a*)*)*)*)*)*b",
        ".*a" + "." * 120,
    ],
)
def test_the_work_of_a_match_is_bounded(pattern: str) -> None:
    """Counted in lines of Python, since a regular expression took minutes for the first one."""
    lines = 0

    def count(*_: object) -> object:
        nonlocal lines
        lines += 1
        return count

    matching, before = NamePattern(pattern), sys.gettrace()
    sys.settrace(count)  # type: ignore[arg-type]  # of a frame, which is not looked at
    try:
        assert not matching.matches("a" * (LONGEST_NAME - 1) + "-")
    finally:
        sys.settrace(before)

    assert lines < 10 * LONGEST_NAME * LONGEST


@pytest.mark.parametrize(
    ("key", "edits"),
    [
        (
            "joints.damping",
            {"joints.names": ["a" * LONGEST_NAME, "right_knee"], "joints.damping": {"(a+)+$": 1.0}},
        ),
        ("joints.names[0]", {"joints.names": ["a" * (LONGEST_NAME + 1), "right_knee"]}),
        ("joints.names", {"joints.names": [f"joint_{i}" for i in range(MOST_JOINTS + 1)]}),
        ("", {"joints.damping": {f".*{i:0100d}": 1.0 for i in range(50)}}),
    ],
    ids=["a hostile pattern", "a long name", "many names", "many patterns"],
)
def test_names_and_patterns_in_a_contract_have_bounds(
    edit_joint: EditJoint, key: str, edits: Edits
) -> None:
    file = edit_joint(edits)
    problems = refused_problems(lambda: joint_contract(file))
    there = [problem for problem in problems if problem.key == key]
    assert there, [problem.key for problem in problems]
    check_wording(*there)
