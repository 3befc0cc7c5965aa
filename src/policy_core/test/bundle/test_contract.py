# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A wrong contract is refused with every problem, at its key.

`test_schema_agreement.py` tries each key of each section; here are the forms of the messages.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from policy_core.bundle.body import AnyContract
from policy_core.bundle.contract import LONGEST_NAME, MOST_JOINTS
from policy_core.bundle.resolve import LONGEST_PATTERN, name_pattern, per_joint, robot_names
from policy_core.bundle.schema import PerJointYaml
from testkit.edits import MISSING, Edits
from testkit.wording import check_wording, refusal

from .editing import check_refused, edits_name, joint_contract, problem_key, refused_problems

ParseEdited = Callable[[str, Edits], AnyContract]
NAN, INF = float("nan"), float("inf")

FORMS: list[tuple[str, Edits]] = [
    *(("joint", {"rate_hz": value}) for value in ("50", True, None, [50], 0, 1001, NAN, 10**400)),
    *(("joint", {"schema_version": value}) for value in ("1", 1.0, True, 2)),
    *(("joint", {"name": value}) for value in (7, None, "", "Two Joints", "two_joints\n", MISSING)),
    ("joint", {"kind": "chunks"}),
    ("joint", {"frequency": 50}),
    *(("joint", {"joints": value}) for value in (["left_knee"], None, MISSING)),
    ("joint", {"joints.names.0": "left knee"}),
    *(("joint", {"joints.stiffness": value}) for value in ("stiff", {1: 30.0}, [30, -1])),
    ("joint", {"observations": {}}),
    ("joint", {"observations.obs.terms.0.clip": [1.0]}),
    ("joint", {"observations.obs.terms.0.clip": [0.0, INF]}),
    ("chunk", {"kind": ["chunk"]}),
    ("chunk", {"kind": "act"}),
    *(("chunk", {key: {}}) for key in ("model", "observations", "velocity_command")),
    ("chunk", {"cameras.phone.timeout_s": 61}),
]


@pytest.mark.parametrize(("kind", "edits"), FORMS, ids=edits_name)
def test_a_wrong_value_is_one_problem_at_its_key(
    parse_edited: ParseEdited, kind: str, edits: Edits
) -> None:
    (problem,) = refused_problems(lambda: parse_edited(kind, edits))
    assert problem.key.startswith(problem_key(*edits))
    check_wording(problem)


@pytest.mark.parametrize(
    ("kind", "edits"),
    [
        ("joint", {"rate_hz": 0, "joints.stiffness": -1, "stand.pose": 1.0, "safety.margin": 0}),
        (
            "chunk",
            {
                "rate_hz": 0,
                "units.gripper.unit": "mm",
                "cameras.phone.height": 0,
                "chunk.steps": 0,
                "golden.sha256": "0",
            },
        ),
    ],
    ids=["joint", "chunk"],
)
def test_all_wrong_values_are_reported_at_once_in_file_order(
    parse_edited: ParseEdited, kind: str, edits: Edits
) -> None:
    problems = refused_problems(lambda: parse_edited(kind, edits))
    assert [problem.key for problem in problems] == [*edits]


def test_chunk_policy_that_says_it_is_a_joint_policy_is_refused(parse_edited: ParseEdited) -> None:
    problems = refused_problems(lambda: parse_edited("chunk", {"kind": "joint"}))
    assert {"chunk", "model"} <= {problem.key for problem in problems}


def test_long_value_is_shortened_in_the_message(parse_edited: ParseEdited) -> None:
    (problem,) = refused_problems(lambda: parse_edited("joint", {"rate_hz": "x" * 500}))
    assert problem.found == f"'{'x' * 56}..."


def test_a_value_that_aliases_make_endless_is_refused(parse_edited: ParseEdited) -> None:
    value: object = ["x"] * 9
    for _ in range(30):
        value = [value] * 9
    (problem,) = refused_problems(lambda: parse_edited("joint", {"rate_hz": value}))
    assert problem.key == ""
    check_wording(problem)


CHUNK_OPTIONS = (
    *("golden", "nominal", "chunk.ensemble_coeff", "action.grippers"),
    *("units.elbow_flex.sign", "units.elbow_flex.zero_rad"),
)
JOINT_OPTIONS = ("velocity_command", "nominal", "model.golden", "safety.max_tilt_rad")


@pytest.mark.parametrize(("kind", "options"), [("joint", JOINT_OPTIONS), ("chunk", CHUNK_OPTIONS)])
def test_contract_is_accepted_with_and_without_its_options(
    parse_edited: ParseEdited, kind: str, options: tuple[str, ...]
) -> None:
    assert parse_edited(kind, {}).nominal is not None
    contract = parse_edited(kind, dict.fromkeys(options, MISSING))
    assert (contract.kind, contract.nominal) == (kind, None)


EditJoint = Callable[[Edits], Path]
NAMES = ("FL_hip", "FL_knee", "FR_hip", "FR_knee")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1.0, 2.0, 1.0, 2.0), [1, 2, 1, 2]),
        ({".*_knee": 2.0, ".*_hip": 1.0}, [1, 2, 1, 2]),
        ({"FL_(hip)": 1.0, "FR_hip": 1.0, ".*knee": 2.0}, [1, 2, 1, 2]),
        ({".*": 1.0, "FR_hip": 5.0}, [1, 1, 5, 1]),
        (3, [3, 3, 3, 3]),
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


ORDERED = ("observations.obs.terms[1].joints", "action.terms[0].joints")


@pytest.mark.parametrize("key", ORDERED)
@pytest.mark.parametrize(
    "joints",
    [["right.*", "left.*"], ["right_knee", "left.*"], ["right.*", "left_knee"]],
    ids=["patterns", "a name and a pattern", "a pattern and a name"],
)
def test_patterns_that_select_joints_in_another_order_are_refused(
    edit_joint: EditJoint, key: str, joints: list[str]
) -> None:
    edits = {
        "observations.obs.terms.1.scale": 1.0,
        "action.terms": [{"joints": ["left_knee", "right_knee"], "kind": "position"}],
        key.replace("[", ".").replace("]", ""): joints,
    }
    file = edit_joint(edits)
    check_refused(lambda: joint_contract(file), key)


@pytest.mark.parametrize(
    ("joints", "order"),
    [
        ([".*"], ["left_knee", "right_knee"]),
        (["left.*", "right.*"], ["left_knee", "right_knee"]),
        (["right_knee", "left_knee"], ["right_knee", "left_knee"]),
    ],
)
def test_names_state_an_order_and_patterns_that_agree_with_joints_names_are_accepted(
    edit_joint: EditJoint, joints: list[str], order: list[str]
) -> None:
    file = edit_joint({"action.terms": [{"joints": joints, "kind": "position"}]})
    assert [*joint_contract(file).action.terms[0].joints] == order


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
