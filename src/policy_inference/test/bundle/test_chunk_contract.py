# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One wrong value each in a chunk policy's contract: keys, types, bounds, lengths, words."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from .editing import MISSING, Rejection, any_contract, case_id, place, problems_of

Edit = Callable[[Mapping[str, object]], Path]

PHONE, POLICY = "cameras.phone", "graphs.BPU_ACTPolicy_TransformerLayers"
ENCODER = "graphs.BPU_ACTPolicy_VisionEncoder_12x16"

# A word each, read along the line; one on each would hide the tests behind 100 lines.
# fmt: off
REQUIRED_KEYS = [
    "schema_version", "name", "version", "rate_hz", "joints", "joints.names",
    "joints.default_position", "joints.position_min", "joints.position_max",
    "joints.velocity_limit", "joints.effort_limit", "joints.stiffness", "joints.damping",
    "units", "units.gripper.unit", "stand", "stand.position", "stand.stiffness", "stand.damping",
    "stand.duration_s", "damp", "damp.damping", f"{PHONE}.feature", f"{PHONE}.height",
    f"{PHONE}.width", f"{PHONE}.normalisation", f"{PHONE}.normalisation.mode", f"{PHONE}.tensor",
    "state.feature", "state.tensor", "state.joints", "state.normalisation",
    "environment_state.tensor", "environment_state.topic", "environment_state.size",
    "environment_state.normalisation", "action", "action.feature", "action.tensor",
    "action.joints", "action.normalisation", "action.normalisation.mode", "chunk", "chunk.size",
    "chunk.steps", "graphs", f"{POLICY}.inputs", f"{POLICY}.inputs.states.shape",
    f"{POLICY}.outputs", f"{POLICY}.artifacts", f"{ENCODER}.artifacts.onnx.file",
    f"{ENCODER}.artifacts.onnx.sha256", f"{ENCODER}.artifacts.onnx.precision", "golden.file",
    "golden.sha256", "nominal.source", "nominal.ticks", "nominal.target_step",
    "nominal.effort_demand", "safety", "safety.on_fault", "provenance", "provenance.source",
    "provenance.licence",
]

SECTIONS = [
    "joints", "units.gripper", "stand", "damp", PHONE, f"{PHONE}.normalisation", "state",
    "environment_state", "pairing", "action", "action.normalisation", "chunk", POLICY,
    f"{POLICY}.inputs.states", f"{ENCODER}.artifacts.onnx", "golden", "nominal", "limits.onnx",
    "safety", "provenance",
]
# fmt: on

WRONG_TYPES: list[Rejection] = [
    ("rate_hz", "30", "expected a number, found '30'"),
    ("units", ["degrees"], "expected a mapping with names as keys, found ['degrees']"),
    ("units.gripper", "degrees", "expected a mapping with the keys of JointUnit, found 'degrees'"),
    ("units.gripper.low_rad", "closed", "expected a number, found 'closed'"),
    ("cameras", ["laptop"], "expected a mapping with names as keys, found ['laptop']"),
    (PHONE, 1, "expected a mapping with the keys of Camera, found 1"),
    (f"{PHONE}.feature", 1, "expected text, found 1; put it in quotes"),
    (f"{PHONE}.height", 12.5, "expected a whole number, found 12.5"),
    (f"{PHONE}.resize", "yes", "expected true or false, found 'yes'"),
    (f"{PHONE}.normalisation", "imagenet", "expected a mapping with the keys of Scaling, found "),
    (f"{PHONE}.normalisation.mean", 0.5, "expected a list, found 0.5"),
    (f"{PHONE}.normalisation.std.1", "x", "expected a number, found 'x'"),
    ("state", [], "expected a mapping with the keys of JointVector, found []"),
    ("state.joints", "gripper", "expected a list, found 'gripper'"),
    ("environment_state.size", "four", "expected a whole number, found 'four'"),
    ("action", None, "expected a mapping with the keys of ChunkAction, found nothing"),
    ("action.grippers", "gripper", "expected a list, found 'gripper'"),
    ("action.max_relative_target", "5 deg", "expected a number, found '5 deg'"),
    ("chunk", 8, "expected a mapping with the keys of Chunk, found 8"),
    ("chunk.size", 8.0, "expected a whole number, found 8.0"),
    ("chunk.ensemble_coeff", "0.01", "expected a number, found '0.01'"),
    ("graphs", ["encoder"], "expected a mapping with names as keys, found ['encoder']"),
    (POLICY, "policy.onnx", "expected a mapping with the keys of Graph, found 'policy.onnx'"),
    ("golden", "golden.npz", "expected a mapping with the keys of File, found 'golden.npz'"),
    ("pairing", "newest", "expected a mapping with the keys of Pairing, found 'newest'"),
]

OUT_OF_BOUNDS: list[Rejection] = [
    ("rate_hz", 0, "expected a number >= 0.1, found 0.0"),
    ("joints.effort_limit", 0, "expected a number > 0, found 0.0"),
    ("units.elbow_flex.zero_rad", float("nan"), "expected a finite number, found nan"),
    ("units.gripper.high_rad", float("inf"), "expected a finite number, found inf"),
    (f"{PHONE}.height", 0, "expected a whole number >= 1, found 0"),
    (f"{PHONE}.width", 8193, "expected a whole number <= 8192, found 8193"),
    (f"{PHONE}.timeout_s", 0, "expected a number > 0, found 0.0"),
    (f"{PHONE}.camera_frozen_s", 0, "expected a number > 0, found 0.0"),
    (f"{PHONE}.normalisation.std", [0.2, -0.2, 0.2], "[1]: expected a number >= 0, found -0.2"),
    (f"{PHONE}.normalisation.mean", [0.2, float("inf"), 0.2], "[1]: expected a finite number"),
    (f"{PHONE}.normalisation.eps", -1, "expected a number >= 0, found -1.0"),
    ("action.normalisation.std", [1, 1, float("nan")], "[2]: expected a finite number, found nan"),
    ("action.max_relative_target", 0, "expected a number > 0, found 0.0"),
    ("action.max_relative_target", {"gripper": -1}, ".gripper: expected a number > 0, found -1.0"),
    ("environment_state.size", 0, "expected a whole number >= 1, found 0"),
    ("environment_state.timeout_s", 0, "expected a number > 0, found 0.0"),
    ("pairing.tolerance_s", -0.1, "expected a number >= 0, found -0.1"),
    ("pairing.tolerance_s", 61, "expected a number <= 60, found 61.0"),
    ("chunk.size", 0, "expected a whole number >= 1, found 0"),
    ("chunk.size", 10_001, "expected a whole number <= 10000, found 10001"),
    ("chunk.steps", 0, "expected a whole number >= 1, found 0"),
    ("chunk.ensemble_coeff", float("inf"), "expected a finite number, found inf"),
    ("chunk.ensemble_coeff", -1e9, "expected a number >= -100, found -1000000000.0"),
    ("chunk.ensemble_coeff", 101, "expected a number <= 100, found 101.0"),
    (f"{POLICY}.inputs.states.shape.0", 0, "expected a whole number >= 1, found 0"),
    ("safety.damp_after_s", -1, "expected a number >= 0, found -1.0"),
]

WRONG_LENGTHS: list[Rejection] = [
    ("units", {}, "expected at least one entry, found an empty mapping"),
    ("state.joints", [], "expected at least one value, found an empty list"),
    ("action.joints", [], "expected at least one value, found an empty list"),
    ("graphs", {}, "expected at least one entry, found an empty mapping"),
    (f"{POLICY}.inputs", {}, "expected at least one entry, found an empty mapping"),
    (f"{ENCODER}.artifacts", {}, "expected at least one entry, found an empty mapping"),
]

WRONG_WORDS: list[Rejection] = [
    ("schema_version", 2, "expected one of 1, found 2"),
    ("name", "Small Arm", "expected text like ^[a-z][a-z0-9_]*$, found 'Small Arm'"),
    (
        "units.gripper.unit",
        "percent",
        "expected one of radians, degrees, range_m100_100, range_0_100, found 'percent'",
    ),
    ("units.elbow_flex.sign", 2, "expected one of 1, -1, found 2"),
    (
        f"{PHONE}.normalisation.mode",
        "MEAN_STD",
        "expected one of mean_std, min_max, identity, found 'MEAN_STD'",
    ),
    ("environment_state.topic", "/goal", "expected text like "),
    ("pairing.rule", "oldest", "expected one of frame_time, newest, found 'oldest'"),
    (f"{POLICY}.inputs.states.dtype", "float64", "expected one of float32, float16, int64, int32"),
    (f"{ENCODER}.artifacts.onnx.sha256", "cafe", "expected text like ^[0-9a-f]{64}$, found "),
    ("safety.on_fault", "stop", "expected one of damp, hold_measured, torque_off, found 'stop'"),
]


@pytest.mark.parametrize("key", REQUIRED_KEYS)
def test_missing_key_rejected(edit_chunk: Edit, key: str) -> None:
    assert [
        p
        for p in problems_of(edit_chunk({key: MISSING}))
        if p.startswith(f"{place(key)}: expected ") and p.endswith("found nothing")
    ]


@pytest.mark.parametrize("section", SECTIONS)
def test_unknown_key_rejected(edit_chunk: Edit, section: str) -> None:
    (problem,) = problems_of(edit_chunk({f"{section}.surprise": 1}))

    assert problem.startswith(f"{place(section)}.surprise: expected one of the keys ")
    assert problem.endswith(", found an unknown key")


@pytest.mark.parametrize("key", ["model", "observations", "velocity_command"])
def test_key_of_a_joint_policy_is_unknown_to_a_chunk_policy(edit_chunk: Edit, key: str) -> None:
    (problem,) = problems_of(edit_chunk({key: {}}))

    assert problem.startswith(f"{key}: expected one of the keys schema_version, kind, name, ")


@pytest.mark.parametrize(
    "case", [*WRONG_TYPES, *OUT_OF_BOUNDS, *WRONG_LENGTHS, *WRONG_WORDS], ids=case_id
)
def test_wrong_value_rejected(edit_chunk: Edit, case: Rejection) -> None:
    key, value, message = case
    (problem,) = problems_of(edit_chunk({key: value}))

    inner = message.startswith(("[", "."))
    assert problem.startswith(place(key) + ("" if inner else ": ") + message)


def test_all_wrong_values_are_reported_at_once_in_file_order(edit_chunk: Edit) -> None:
    file = edit_chunk(
        {
            "rate_hz": 0,
            "units.gripper.unit": "mm",
            f"{PHONE}.height": 0,
            "chunk.steps": 0,
            "golden.sha256": "0",
        }
    )

    assert [problem.partition(":")[0] for problem in problems_of(file)] == [
        "rate_hz",
        "units.gripper.unit",
        f"{PHONE}.height",
        "chunk.steps",
        "golden.sha256",
    ]


@pytest.mark.parametrize("kind", ["act", "Chunk", 2, True, ["chunk"], {"chunk": 1}])
def test_kind_that_there_is_not_rejected(edit_chunk: Edit, kind: object) -> None:
    (problem,) = problems_of(edit_chunk({"kind": kind}))

    assert problem.startswith("kind: expected one of joint, chunk, found ")


def test_chunk_policy_that_says_it_is_a_joint_policy_rejected(edit_chunk: Edit) -> None:
    problems = problems_of(edit_chunk({"kind": "joint"}))

    assert any(p.startswith("chunk: expected one of the keys ") for p in problems)
    assert any(p.startswith("model: expected ") for p in problems)


def test_contract_without_fault_is_accepted(edit_chunk: Edit) -> None:
    contract = any_contract(edit_chunk({}))

    assert (contract.kind, contract.period_ns) == ("chunk", 33_333_333)


def test_contract_with_every_optional_key_left_out_is_accepted(edit_chunk: Edit) -> None:
    optional = [
        "golden",
        "nominal",
        "chunk.ensemble_coeff",
        "action.grippers",
        "units.elbow_flex.sign",
        "units.elbow_flex.zero_rad",
    ]

    any_contract(edit_chunk(dict.fromkeys(optional, MISSING)))
