# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Contradictions between values that are right by themselves: joints, action, figures, files."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from .editing import MISSING, Contradiction, contradiction_id, joint_contract, problems_of

Edit = Callable[[Mapping[str, object]], Path]

NAMES = "left_knee, right_knee"
HASH = "0" * 64

JOINTS: list[Contradiction] = [
    (
        {"joints.default_position": [0.5]},
        f"joints.default_position: expected 2 values ({NAMES}), found 1",
    ),
    (
        {"joints.position_min": [-1.0, -1.0, -1.0]},
        f"joints.position_min: expected 2 values ({NAMES}), found 3",
    ),
    ({"joints.position_max": []}, f"joints.position_max: expected 2 values ({NAMES}), found 0"),
    (
        {"joints.velocity_limit": {"left_knee": 1.0}},
        "joints.velocity_limit: expected exactly one key for 'right_knee', found none",
    ),
    (
        {"joints.effort_limit": {}},
        "joints.effort_limit: expected exactly one key for 'left_knee', found none",
    ),
    (
        {"joints.stiffness": {".*_knee": 1.0, ".*_hip": 2.0}},
        f"joints.stiffness: expected keys that match one of {NAMES}, found '.*_hip'",
    ),
    (
        {"joints.stiffness": {"knee": 1.0}},
        f"joints.stiffness: expected keys that match one of {NAMES}, found 'knee'",
    ),
    (
        {"joints.damping": {".*": 1.0, ".*_knee": 2.0}},
        "joints.damping: expected exactly one key for 'left_knee', found the keys '.*', '.*_knee'",
    ),
    (
        {"joints.damping": {"left_(": 1.0}},
        "joints.damping: expected names or patterns of names (docs/bundle.md), found 'left_('",
    ),
    (
        {"joints.damping": {".*": 3.0, "left_knee": 1.0, "right_knee": 2.0}},
        "joints.damping: expected keys that are needed, found '.*', whose names have keys",
    ),
    (
        {"joints.position_min": [1.5, -1.0]},
        "joints.position_min of left_knee: expected less than the maximum 1 rad, found 1.5",
    ),
    (
        {"joints.position_min": [-1.0, 1.0]},
        "joints.position_min of right_knee: expected less than the maximum 1 rad, found 1.0",
    ),
    (
        {"joints.default_position": [0.5, 1.1]},
        "joints.default_position of right_knee: expected a value in [-1, 1] rad, found 1.1",
    ),
    (
        {"stand.position": {"left_knee": -1.5, "right_knee": 0.0}},
        "stand.position of left_knee: expected a value in [-1, 1] rad, found -1.5",
    ),
    ({"stand.position": [0.5]}, f"stand.position: expected 2 values ({NAMES}), found 1"),
    ({"stand.stiffness": [1.0]}, f"stand.stiffness: expected 2 values ({NAMES}), found 1"),
    ({"stand.damping": [1.0]}, f"stand.damping: expected 2 values ({NAMES}), found 1"),
    ({"stand.tolerance": [0.1]}, f"stand.tolerance: expected 2 values ({NAMES}), found 1"),
    (
        {"stand.via": [{"position": [0.5], "duration_s": 1.0}]},
        f"stand.via[0].position: expected 2 values ({NAMES}), found 1",
    ),
    (
        {
            "stand.via": [
                {"position": 0.0, "duration_s": 1.0},
                {"position": {".*_hip": 0.0}, "duration_s": 1.0},
            ]
        },
        f"stand.via[1].position: expected keys that match one of {NAMES}, found '.*_hip'",
    ),
    (
        {"stand.via": [{"position": [0.0, 1.2], "duration_s": 1.0}]},
        "stand.via[0].position of right_knee: expected a value in [-1, 1] rad, found 1.2",
    ),
    (
        {"stand.stiffness": 0.0},
        "stand.stiffness of left_knee: expected a number > 0, found 0.0; "
        "only joints that the action",
    ),
    (
        {"stand.stiffness": [60.0, 0.0], "stand.damping": [2.0, 0.0]},
        "stand.damping of right_knee: expected a number > 0, found 0.0; "
        "with a stand.stiffness of 0",
    ),
    (
        {"stand.stiffness": [60.0, 0.0], "safety.on_fault": "hold_measured"},
        "stand.stiffness of right_knee: expected a number > 0, found 0.0; on_fault: hold_measured",
    ),
    (
        {"damp.damping": {"hip": 1.0}},
        f"damp.damping: expected keys that match one of {NAMES}, found 'hip'",
    ),
    (
        {"joints.robot_names": {"hip": "hip_joint"}},
        f"joints.robot_names: expected keys that match one of {NAMES}, found 'hip'",
    ),
    (
        {"joints.robot_names": {".*": "joint"}},
        "joints.robot_names: expected each name once, found 'joint' 2 times",
    ),
    (
        {"joints.robot_names": {"left.*": "a", ".*_knee": "{name}_joint"}},
        "joints.robot_names: expected exactly one key for 'left_knee', found the keys 'left.*', ",
    ),
    (
        {"joints.robot_names": {"left_knee": "right_knee", "right_knee": "knee"}},
        "joints.robot_names of left_knee: expected a name that is no other joint's here, since",
    ),
    (
        {"joints.robot_names": {"left_knee": ""}},
        "joints.robot_names of left_knee: expected a name, found ''",
    ),
]

ACTIONS: list[Contradiction] = [
    (
        {"action.terms.1.joints": ["hip"]},
        "action.terms[1].joints: expected names of joints.names, found 'hip'",
    ),
    (
        {"action.terms.1.joints": ["left_knee"]},
        "action.terms: expected each name once, found 'left_knee' 2 times",
    ),
    (
        {"action.terms.1.joints": [".*_knee"]},
        "action.terms: expected each name once, found 'left_knee' 2 times",
    ),
    (
        {"action.terms.1.joints": ["right_.*", "right_knee"]},
        "action.terms[1].joints: expected each name once, found 'right_knee' 2 times",
    ),
    (
        {"action.terms.1.joints": [".*_hip"]},
        "action.terms[1].joints: expected names of joints.names, found '.*_hip'",
    ),
    (
        {"action.terms.1.joints": ["*_knee"]},
        "action.terms[1].joints: expected names or patterns of names (docs/bundle.md), found "
        "'*_knee': '*' where it means nothing",
    ),
    (
        {"observations.obs.terms.2.joints": ["(right"]},
        "observations.obs.terms[2].joints: expected names or patterns of names (docs/bundle.md), "
        "found '(right': a group that does not end",
    ),
    (
        {"action.terms.0.scale": [0.1, 0.2]},
        "action.terms[0].scale: expected 1 values (left_knee), found 2",
    ),
    (
        {"action.terms.0.offset": {"right_knee": 0.1}},
        "action.terms[0].offset: expected keys that match one of left_knee, found 'right_knee'",
    ),
    (
        {"action.terms.0.clip": [4.0, -4.0]},
        "action.terms[0].clip: expected lowest < highest, found [4.0, -4.0]",
    ),
    (
        {"action.terms.1.offset": "default_position"},
        "action.terms[1].offset: expected numbers for the kind velocity, "
        "found 'default_position'; ",
    ),
    (
        {"velocity_command.min": [-1.0, 0.1, -0.5]},
        "velocity_command: expected min <= 0 <= max for vy, "
        "since zero commands a stop, found [0.1, ",
    ),
    (
        {"velocity_command": MISSING, "observations.obs.terms": [{"term": "velocity_command"}] * 4},
        "velocity_command: expected the range of commands in training, since a term reads them, "
        "found nothing",
    ),
    (
        {"velocity_command.max": [-0.5, 0.0, 0.5]},
        "velocity_command: expected min <= 0 <= max for vx, since zero commands a stop, found [-1",
    ),
]

STATISTICS = {"mean": [0.0] * 12, "std": [1.0] * 12, "min": [-1.0] * 12, "max": [1.0] * 12}
NOMINAL: list[Contradiction] = [
    ({"nominal.target_step": [0.1]}, f"nominal.target_step: expected 2 values ({NAMES}), found 1"),
    (
        {"nominal.effort_demand": {"hip": 1.0}},
        f"nominal.effort_demand: expected keys that match one of {NAMES}, found 'hip'",
    ),
    (
        {"nominal.observation": {"scan": STATISTICS}},
        "nominal.observation.scan: expected one of the model's inputs (obs), found 'scan'",
    ),
    (
        {"nominal.observation": {"obs": STATISTICS | {"mean": [0.0] * 11}}},
        "nominal.observation.obs.mean: expected 12 values, as the model's input, found 11",
    ),
    (
        {"nominal.observation": {"obs": STATISTICS | {"std": [1.0] * 13}}},
        "nominal.observation.obs.std: expected 12 values, as the model's input, found 13",
    ),
    (
        {"nominal.observation": {"obs": STATISTICS | {"std": [1.0] * 11 + [-1.0]}}},
        "nominal.observation.obs.std[11]: expected a number >= 0, found -1.0",
    ),
    (
        {"nominal.observation": {"obs": STATISTICS | {"max": [1.0] * 11 + [-2.0]}}},
        "nominal.observation.obs.min[11]: expected at most the max -2, found -1.0",
    ),
]

PATHS = [
    "/policy.onnx",
    "../policy.onnx",
    "models/../../policy.onnx",
    "//server/policy.onnx",
    "C:/policy.onnx",
    "C:policy.onnx",
    "models\\policy.onnx",
    ".",
    "",
]
FILES = ["model.artifacts.onnx", "model.golden", "observations.obs.normalisation", "reports.onnx"]


@pytest.mark.parametrize("case", JOINTS, ids=contradiction_id)
def test_joint_values_that_do_not_fit_rejected(edit: Edit, case: Contradiction) -> None:
    _assert_rejected(edit, *case)


def test_doubled_joint_rejected(edit: Edit) -> None:
    problems = problems_of(edit({"joints.names": ["left_knee", "right_knee", "right_knee"]}))

    assert "joints.names: expected each name once, found 'right_knee' 2 times" in problems


@pytest.mark.parametrize("case", ACTIONS, ids=contradiction_id)
def test_action_that_does_not_fit_rejected(edit: Edit, case: Contradiction) -> None:
    edits, message = case

    assert [p for p in problems_of(edit(edits)) if p.startswith(message)]


@pytest.mark.parametrize("case", NOMINAL, ids=contradiction_id)
def test_nominal_values_that_do_not_fit_rejected(edit: Edit, case: Contradiction) -> None:
    _assert_rejected(edit, *case)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("key", FILES)
def test_path_that_leaves_the_bundle_rejected(edit: Edit, key: str, path: str) -> None:
    edits = {f"{key}.sha256": HASH, f"{key}.file": path}

    assert problems_of(edit(edits)) == [
        f"{key}.file: expected a path inside the bundle folder, with / between its parts, "
        f"found {path!r}"
    ]


def test_report_without_artifact_rejected(edit: Edit) -> None:
    assert problems_of(edit({"reports.rknn": {"file": "report.json", "sha256": HASH}})) == [
        "reports.rknn: expected one of the artifacts (onnx), found 'rknn'"
    ]


def test_several_contradictions_are_reported_at_once(edit: Edit) -> None:
    file = edit(
        {
            "joints.stiffness": [1.0],
            "observations.obs.terms.3.term": "lastaction",
            "action.output": "act",
            "model.golden.file": "/golden.npz",
        }
    )

    keys = [problem.partition(": ")[0] for problem in problems_of(file)]

    assert keys == [
        "joints.stiffness",
        "model.outputs",
        "observations.obs.terms[3].term",
        "model.golden.file",
    ]


def test_policy_without_optional_sections_is_accepted(edit: Edit) -> None:
    contract = joint_contract(
        edit(
            {
                "velocity_command": MISSING,
                "nominal": MISSING,
                "model.golden": MISSING,
                "safety.max_tilt_rad": MISSING,
            }
        )
    )

    optional = [contract.nominal, contract.velocity_command, contract.model.golden]
    assert optional == [None, None, None]


def _assert_rejected(edit: Edit, edits: Mapping[str, object], message: str) -> None:
    problems = problems_of(edit(edits))

    assert len(problems) == 1
    assert problems[0].startswith(message)
