# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One number, a list and a map of patterns say the same."""

from collections.abc import Callable
from pathlib import Path

import pytest

from policy_core.bundle.contract import LONGEST_NAME, MOST_JOINTS
from policy_core.bundle.resolve import (
    LONGEST_PATTERN,
    name_pattern,
    per_joint,
    robot_names,
)
from policy_core.bundle.schema import PerJointYaml
from testkit.edits import Edits
from testkit.wording import refusal

from .editing import check_refused, joint_contract

EditJoint = Callable[[Edits], Path]
NAMES = ("FL_hip", "FL_knee", "FR_hip", "FR_knee")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1.0, 2.0, 1.0, 2.0), [1, 2, 1, 2]),
        ({".*_knee": 2.0, ".*_hip": 1.0}, [1, 2, 1, 2]),
        ({"F[LR]_hip": 1.0, "F._knee": 2.0}, [1, 2, 1, 2]),
        ({"FR_knee": 2.0, "FL_hip": 1.0, "FR_hip": 1.0, "FL_knee": 2.0}, [1, 2, 1, 2]),
        ({"FL_(hip)": 1.0, "FR_hip": 1.0, ".*knee": 2.0}, [1, 2, 1, 2]),
        ({".*": 1.0, "FR_hip": 5.0}, [1, 1, 5, 1]),
        (3, [3, 3, 3, 3]),
        ({".*": 3.0}, [3, 3, 3, 3]),
    ],
)
def test_number_list_and_maps_give_each_joint_its_value(
    value: PerJointYaml, expected: list[int]
) -> None:
    assert per_joint(value, NAMES).tolist() == expected


def test_pattern_must_match_the_whole_name() -> None:
    with refusal(ValueError):
        per_joint({"hip": 1.0, ".*_knee": 2.0}, NAMES)


@pytest.mark.parametrize("name", ["joint[1]", "joint(1", "joint.1+", "a|b", "knee*", "\\\\d"])
def test_name_with_special_characters_is_itself(name: str) -> None:
    assert per_joint({name: 2.0, "other": 1.0}, ("other", name)).tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("renamed", "expected"),
    [
        ({}, NAMES),
        ({".*": "{name}_joint"}, tuple(f"{name}_joint" for name in NAMES)),
        ({"FR_hip": "front_right"}, ("FL_hip", "FL_knee", "front_right", "FR_knee")),
        (
            {"FR_hip": "first", "F._hip": "leg/{name}"},
            ("leg/FL_hip", "FL_knee", "first", "FR_knee"),
        ),
    ],
)
def test_a_joint_of_the_robot_has_the_name_that_is_stated_or_the_contract_s(
    renamed: dict[str, str], expected: tuple[str, ...]
) -> None:
    assert robot_names(NAMES, renamed) == expected


@pytest.mark.parametrize("text", ["(a", "a)", "[ab", "a**", "a{99999999999}", "a" * 129])
def test_what_is_no_pattern_says_so(text: str) -> None:
    with refusal(ValueError):
        name_pattern(text)


@pytest.mark.parametrize(
    ("key", "edits"),
    [
        ("joints.damping", {"joints.damping": {"a" * (LONGEST_PATTERN + 1): 1.0}}),
        ("joints.names[0]", {"joints.names": ["a" * (LONGEST_NAME + 1), "right_knee"]}),
        ("joints.names", {"joints.names": [f"joint_{i}" for i in range(MOST_JOINTS + 1)]}),
    ],
    ids=["a long pattern", "a long name", "many names"],
)
def test_names_and_patterns_in_a_contract_have_bounds(
    edit_joint: EditJoint, key: str, edits: Edits
) -> None:
    file = edit_joint(edits)
    check_refused(lambda: joint_contract(file), key)
