# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Patterns mean what regular expressions mean, and take no time of their own choice."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from policy_inference.bundle.contract import LONGEST_NAME, MOST_JOINTS
from policy_inference.bundle.name_pattern import DEEPEST, LONGEST, NamePattern, PatternError
from policy_inference.errors import BundleError

from .editing import joint_contract

Edit = Callable[[Mapping[str, object]], Path]

ATOMS = (
    "a",
    "b",
    "_",
    ".",
    "[ab]",
    "[^a]",
    "[a-b_]",
    r"\.",
    r"\d",
    r"\w",
    "(a|b)",
    "(?:ab|_|)",
    "(b(a|_)*)",
    "[]",
    "]",
    "(",
    "1",
)
SIGNS = st.sampled_from(("", "", "*", "+", "?", "|"))
PATTERNS = st.lists(st.tuples(st.sampled_from(ATOMS), SIGNS), max_size=6).map(
    lambda parts: "".join(map("".join, parts))
)
NAMES = st.text("ab_.1]\n", max_size=8)


@given(PATTERNS, NAMES)
@example("^a|b$", "b")
@example("(a|)*", "aa")
@settings(max_examples=2000, deadline=None, derandomize=True)
def test_a_pattern_is_the_same_regular_expression(text: str, name: str) -> None:
    try:
        expected = bool(re.fullmatch(text, name, re.ASCII))
        found = NamePattern(text).matches(name)
    except (re.error, PatternError):
        return
    assert found == expected


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (".*_HipX_joint", "FL_HipX_joint", "FL_HipX_joint2"),
        ("F[L,R]_thigh.*", "FR_thigh_joint", "RR_thigh_joint"),
        ("(left|right)_(hip_(yaw|roll)|knee)_joint", "left_hip_roll_joint", "left_hip_joint"),
        (".+", "a", ""),
        ("^.*knee$", "left_knee", "left_knee_"),
        (r"joint\.\d+", "joint.12", "joint_12"),
        ("[^F].*", "RR_hip", "FR_hip"),
        (r"[\d\-]+", "1-2", "1_2"),
        ("[a-]", "-", "b"),
    ],
)
def test_patterns_of_robots(pattern: str, yes: str, no: str) -> None:
    assert NamePattern(pattern).matches(yes)
    assert not NamePattern(pattern).matches(no)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("(?!.*knee).*", "the group '(?!'"),
        ("a{2}", "'{' where it means nothing"),
        ("(a", "a group that does not end"),
        ("a)", "without one before"),
        ("[ab", "does not end"),
        ("[]", "a class without characters"),
        ("[b-a]", "the range b-a"),
        ("a**", "'*' where it"),
        (r"\b", r"'\\b'"),
        ("a\\", "an escape that does not end"),
        ("a$b", "'$' where it"),
        ("a" * (LONGEST + 1), "more than 128 characters"),
        ("(" * (DEEPEST + 1) + "a" + ")" * (DEEPEST + 1), "groups in each other"),
    ],
)
def test_what_is_no_pattern_says_so(pattern: str, found: str) -> None:
    with pytest.raises(PatternError, match=re.escape(found.replace("\\\\", "\\"))):
        NamePattern(pattern)


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


def test_a_hostile_pattern_in_a_contract_is_answered(edit: Edit) -> None:
    long_name = "a" * LONGEST_NAME
    file = edit({"joints.names": [long_name, "right_knee"], "joints.damping": {"(a+)+$": 1.0}})

    with pytest.raises(
        BundleError,
        match=r"joints.damping: expected exactly one key for "
        r"'right_knee', found none",
    ):
        joint_contract(file)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (
            {"joints.names": ["a" * (LONGEST_NAME + 1), "right_knee"]},
            "joints.names.0.: expected text",
        ),
        (
            {"joints.names": [f"joint_{i}" for i in range(MOST_JOINTS + 1)]},
            "joints.names: expected at most 128 values, found 129",
        ),
        (
            {"joints.damping": {f".*{i:0100d}": 1.0 for i in range(50)}},
            "expected at most 4096 characters of patterns, found 51",
        ),
    ],
)
def test_names_and_patterns_have_bounds(
    edit: Edit, changes: Mapping[str, object], found: str
) -> None:
    with pytest.raises(BundleError, match=found):
        joint_contract(edit(changes))
