# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One wrong value each: missing and unknown keys, types, bounds, lengths, words."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from .editing import MISSING, Rejection, case_id, place, problems_of

Edit = Callable[[Mapping[str, object]], Path]

# A word each, read along the line; one on each would hide the tests behind 100 lines.
# fmt: off
REQUIRED_KEYS = [
    "schema_version", "kind", "name", "version", "rate_hz", "joints", "joints.names",
    "joints.default_position", "joints.position_min", "joints.position_max",
    "joints.velocity_limit", "joints.effort_limit", "joints.stiffness", "joints.damping",
    "stand", "stand.position", "stand.stiffness", "stand.damping", "stand.duration_s",
    "stand.via.0.position", "stand.via.0.duration_s", "damp",
    "damp.damping", "observations", "observations.obs.terms", "observations.obs.terms.0.term",
    "observations.obs.normalisation.file", "observations.obs.normalisation.sha256", "action",
    "action.output", "action.terms", "action.terms.0.joints", "action.terms.0.kind",
    "velocity_command.min", "velocity_command.max", "model", "model.inputs",
    "model.inputs.obs.shape", "model.outputs", "model.outputs.actions.shape", "model.artifacts",
    "model.artifacts.onnx.file", "model.artifacts.onnx.sha256",
    "model.artifacts.onnx.precision", "model.golden.file", "model.golden.sha256",
    "nominal.source", "nominal.ticks", "nominal.target_step", "nominal.effort_demand", "safety",
    "safety.on_fault", "provenance", "provenance.source", "provenance.licence",
]

SECTIONS = [
    "joints", "stand", "stand.via.0", "damp", "observations.obs", "observations.obs.terms.0",
    "observations.obs.history", "observations.obs.normalisation", "action", "action.terms.0",
    "velocity_command", "model", "model.inputs.obs", "model.outputs.actions",
    "model.artifacts.onnx", "model.golden", "nominal", "limits.onnx", "limits.onnx.closed_loop",
    "safety", "provenance",
]
# fmt: on

WRONG_TYPES: list[Rejection] = [
    ("schema_version", "1", "expected one of 1, found '1'"),
    ("schema_version", 1.0, "expected one of 1, found 1.0"),
    ("schema_version", True, "expected one of 1, found True"),
    ("name", 7, "expected text, found 7; put it in quotes"),
    ("name", None, "expected text, found nothing"),
    ("version", 1.0, "expected text, found 1.0; put it in quotes"),
    ("description", ["walks"], "expected text, found ['walks']"),
    ("rate_hz", "50", "expected a number, found '50'"),
    ("rate_hz", True, "expected a number, found True"),
    ("rate_hz", None, "expected a number, found nothing"),
    ("rate_hz", [50], "expected a number, found [50]"),
    ("joints", ["left_knee"], "expected a mapping with the keys of Joints, found ['left_knee']"),
    ("joints", None, "expected a mapping with the keys of Joints, found nothing"),
    ("joints.names", "left_knee", "expected a list, found 'left_knee'"),
    ("joints.names.0", 3, "expected text, found 3; put it in quotes"),
    ("joints.stiffness", "stiff", "expected a number, found 'stiff'"),
    ("joints.stiffness", None, "expected a number, found nothing"),
    ("joints.stiffness", {1: 30.0}, "expected a mapping with names as keys, found {1: 30.0}"),
    ("joints.position_min.1", "low", "expected a number, found 'low'"),
    ("joints.velocity_limit.left_knee", "10 rad/s", "expected a number, found '10 rad/s'"),
    ("stand.via", {"position": 0.2}, "expected a list, found {'position': 0.2}"),
    ("observations", [], "expected a mapping with names as keys, found []"),
    ("observations.obs", "obs", "expected a mapping with the keys of Observation, found 'obs'"),
    ("observations.obs.terms", {"term": "phase"}, "expected a list, found {'term': 'phase'}"),
    ("observations.obs.terms.0", "tick", "expected a mapping with the keys of Term, found 'tick'"),
    ("observations.obs.terms.0.clip", 5.0, "expected a list, found 5.0"),
    ("observations.obs.terms.5.size", 2.0, "expected a whole number, found 2.0"),
    ("observations.obs.terms.5.size", True, "expected a whole number, found True"),
    ("observations.obs.history", 3, "expected a mapping with the keys of History, found 3"),
    ("observations.obs.clip", [-1.0, 1.0], "expected a number, found [-1.0, 1.0]"),
    ("action.terms.0.joints", "left_knee", "expected a list, found 'left_knee'"),
    ("action.terms.0.offset", "default", "expected one of default_position, found 'default'"),
    ("state", {"input": "h"}, "expected a list, found {'input': 'h'}"),
    ("model.inputs.obs", [1, 12], "expected a mapping with the keys of Tensor, found [1, 12]"),
    ("model.inputs.obs.shape", 12, "expected a list, found 12"),
    ("model.inputs.obs.shape.0", "batch", "expected a whole number, found 'batch'"),
    ("model.artifacts", ["policy.onnx"], "expected a mapping with names as keys, found ['policy"),
    ("model.artifacts.onnx", "policy.onnx", "expected a mapping with the keys of Artifact, found "),
    ("nominal.ticks", 0.5, "expected a whole number, found 0.5"),
]

OUT_OF_BOUNDS: list[Rejection] = [
    ("rate_hz", 0, "expected a number >= 0.1, found 0.0"),
    ("rate_hz", -50, "expected a number >= 0.1, found -50.0"),
    ("rate_hz", 1001, "expected a number <= 1000, found 1001.0"),
    ("rate_hz", float("nan"), "expected a finite number, found nan"),
    ("rate_hz", float("inf"), "expected a finite number, found inf"),
    ("rate_hz", 10**400, "expected a finite number, found 1000000"),
    ("joints.default_position", float("nan"), "expected a finite number, found nan"),
    ("joints.position_min.1", float("-inf"), "expected a finite number, found -inf"),
    ("joints.velocity_limit.left_knee", 0, "expected a number > 0, found 0.0"),
    ("joints.effort_limit", -20, "expected a number > 0, found -20.0"),
    ("joints.stiffness", -1, "expected a number >= 0, found -1.0"),
    ("joints.stiffness", [30, -1], "[1]: expected a number >= 0, found -1.0"),
    ("joints.stiffness", {"left_knee": -1, "right_knee": 1}, ".left_knee: expected a number >= 0"),
    ("joints.damping", -0.1, "expected a number >= 0, found -0.1"),
    ("stand.stiffness", -1, "expected a number >= 0, found -1.0"),
    ("stand.damping", -1, "expected a number >= 0, found -1.0"),
    ("stand.duration_s", 0, "expected a number > 0, found 0.0"),
    ("stand.tolerance", 0, "expected a number > 0, found 0.0"),
    ("stand.via.0.duration_s", 0, "expected a number > 0, found 0.0"),
    ("damp.damping", 0, "expected a number > 0, found 0.0"),
    ("observations.obs.terms.0.scale", float("inf"), "expected a finite number, found inf"),
    ("observations.obs.terms.0.clip", [0.0, float("inf")], "[1]: expected a finite number"),
    ("observations.obs.terms.4.period_s", 0, "expected a number > 0, found 0.0"),
    ("observations.obs.terms.5.size", 0, "expected a whole number >= 1, found 0"),
    ("observations.obs.terms.0.history_length", 0, "expected a whole number >= 1, found 0"),
    ("observations.obs.history.length", 0, "expected a whole number >= 1, found 0"),
    ("observations.obs.clip", 0, "expected a number > 0, found 0.0"),
    ("observations.obs.normalisation.std_floor", 0, "expected a number > 0, found 0.0"),
    ("observations.obs.normalisation.clip", -5, "expected a number > 0, found -5.0"),
    ("model.inputs.obs.shape.0", 0, "expected a whole number >= 1, found 0"),
    ("model.inputs.obs.shape.0", -1, "expected a whole number >= 1, found -1"),
    ("nominal.ticks", 0, "expected a whole number >= 1, found 0"),
    ("nominal.target_step", 0, "expected a number > 0, found 0.0"),
    ("nominal.effort_demand.0", -1, "expected a number > 0, found -1.0"),
    ("limits.onnx.mae", 0, "expected a number > 0, found 0.0"),
    ("limits.onnx.rmse", -1, "expected a number > 0, found -1.0"),
    ("limits.onnx.max_abs", 0, "expected a number > 0, found 0.0"),
    ("limits.onnx.cosine_min", 1.1, "expected a number <= 1, found 1.1"),
    ("limits.onnx.cosine_min", -1.1, "expected a number >= -1, found -1.1"),
    ("limits.onnx.closed_loop.velocity_error", -1, "expected a number >= 0, found -1.0"),
    ("limits.onnx.closed_loop.max_tilt_rad", -1, "expected a number >= 0, found -1.0"),
    ("limits.onnx.closed_loop.torque_limit_share", 2, "expected a number <= 1, found 2.0"),
    ("limits.onnx.closed_loop.standing_action_change", -1, "expected a number >= 0, found -1.0"),
    ("safety.max_tilt_rad", 0, "expected a number > 0, found 0.0"),
    ("safety.max_tilt_rad", 57.3, "expected a number <= 3.15, found 57.3"),
    ("safety.state_timeout_s", 0, "expected a number > 0, found 0.0"),
    ("safety.damp_after_s", -0.1, "expected a number >= 0, found -0.1"),
    ("safety.command_timeout_s", 0, "expected a number > 0, found 0.0"),
    ("safety.command_ramp_s", -1, "expected a number >= 0, found -1.0"),
    ("safety.margin", 0.9, "expected a number >= 1, found 0.9"),
    ("safety.blend_s", -0.1, "expected a number >= 0, found -0.1"),
]

WRONG_LENGTHS: list[Rejection] = [
    ("joints.names", [], "expected at least one value, found an empty list"),
    ("observations", {}, "expected at least one entry, found an empty mapping"),
    ("observations.obs.terms", [], "expected at least one value, found an empty list"),
    ("observations.obs.terms.0.clip", [1.0], "expected 2 values, found 1"),
    ("observations.obs.terms.2.joints", [], "expected at least one value, found an empty list"),
    ("action.terms", [], "expected at least one value, found an empty list"),
    ("action.terms.0.joints", [], "expected at least one value, found an empty list"),
    ("action.terms.0.clip", [-1.0, 0.0, 1.0], "expected 2 values, found 3"),
    ("velocity_command.min", [-1.0, -1.0], "expected 3 values, found 2"),
    ("velocity_command.max", [], "expected 3 values, found 0"),
    ("model.inputs", {}, "expected at least one entry, found an empty mapping"),
    ("model.inputs.obs.shape", [], "expected at least one value, found an empty list"),
    ("model.outputs", {}, "expected at least one entry, found an empty mapping"),
    ("model.artifacts", {}, "expected at least one entry, found an empty mapping"),
]

WRONG_WORDS: list[Rejection] = [
    ("schema_version", 2, "expected one of 1, found 2"),
    ("kind", "chunks", "expected one of joint, chunk, found 'chunks'"),
    ("name", "Two Joints", "expected text like ^[a-z][a-z0-9_]*$, found 'Two Joints'"),
    ("name", "", "expected text like ^[a-z][a-z0-9_]*$, found ''"),
    ("name", "two_joints\n", "expected text like ^[a-z][a-z0-9_]*$, found 'two_joints\\n'"),
    ("version", "1.0", "expected text like "),
    ("version", "v1.0.0", "expected text like "),
    ("joints.names.0", "", "expected text like ^\\S+$, found ''"),
    ("joints.names.0", "left knee", "expected text like ^\\S+$, found 'left knee'"),
    ("observations.obs.order", "scale_first", "expected one of clip_then_scale, scale_then_clip"),
    ("observations.obs.history.layout", "flat", "expected one of per_frame, per_term"),
    ("observations.obs.history.order", "newest", "expected one of oldest_first, newest_first"),
    ("observations.obs.history.init", "nan", "expected one of repeat, zero, found 'nan'"),
    ("observations.obs.terms.5.topic", "/scan", "expected text like "),
    ("observations.obs.terms.5.topic", "near scan", "expected text like "),
    ("observations.obs.terms.5.topic", "", "expected text like "),
    ("action.terms.0.kind", "torque", "expected one of position, velocity, effort, found 'torque'"),
    ("model.inputs.obs.dtype", "float", "expected one of float32, float16, int64, int32"),
    ("model.artifacts.onnx.sha256", "cafe", "expected text like ^[0-9a-f]{64}$, found 'cafe'"),
    ("model.golden.sha256", "A" * 64, "expected text like ^[0-9a-f]{64}$, found 'AAAA"),
    ("safety.on_fault", "stop", "expected one of damp, hold_measured, torque_off, found 'stop'"),
    ("provenance.checkpoint_sha256", "none", "expected text like ^[0-9a-f]{64}$, found 'none'"),
    ("provenance.date", "yesterday", "expected text like "),
]


@pytest.mark.parametrize("key", REQUIRED_KEYS)
def test_missing_key_rejected(edit: Edit, key: str) -> None:
    assert [
        p
        for p in problems_of(edit({key: MISSING}))
        if p.startswith(f"{place(key)}: expected ") and p.endswith("found nothing")
    ]


@pytest.mark.parametrize("section", SECTIONS)
def test_unknown_key_rejected(edit: Edit, section: str) -> None:
    problems = problems_of(edit({f"{section}.surprise": 1}))

    assert len(problems) == 1
    assert problems[0].startswith(f"{place(section)}.surprise: expected one of the keys ")
    assert problems[0].endswith(", found an unknown key")


def test_unknown_key_at_the_top_rejected(edit: Edit) -> None:
    (problem,) = problems_of(edit({"frequency": 50}))

    assert problem.startswith("frequency: expected one of the keys schema_version, kind, name, ")


@pytest.mark.parametrize("case", WRONG_TYPES, ids=case_id)
def test_wrong_type_rejected(edit: Edit, case: Rejection) -> None:
    _assert_rejected(edit, case)


@pytest.mark.parametrize("case", OUT_OF_BOUNDS, ids=case_id)
def test_value_out_of_bounds_rejected(edit: Edit, case: Rejection) -> None:
    _assert_rejected(edit, case)


@pytest.mark.parametrize("case", WRONG_LENGTHS, ids=case_id)
def test_wrong_length_rejected(edit: Edit, case: Rejection) -> None:
    _assert_rejected(edit, case)


@pytest.mark.parametrize("case", WRONG_WORDS, ids=case_id)
def test_wrong_word_rejected(edit: Edit, case: Rejection) -> None:
    _assert_rejected(edit, case)


def test_all_wrong_values_are_reported_at_once_in_file_order(edit: Edit) -> None:
    file = edit({"rate_hz": 0, "joints.stiffness": -1, "stand.pose": 1.0, "safety.margin": 0})

    assert [problem.partition(":")[0] for problem in problems_of(file)] == [
        "rate_hz",
        "joints.stiffness",
        "stand.pose",
        "safety.margin",
    ]


def test_long_value_is_shortened_in_the_message(edit: Edit) -> None:
    (problem,) = problems_of(edit({"rate_hz": "x" * 500}))

    assert problem == f"rate_hz: expected a number, found '{'x' * 56}..."


def test_a_value_that_aliases_make_endless_is_refused(edit: Edit) -> None:
    value: object = ["x"] * 9
    for _ in range(30):
        value = [value] * 9

    (problem,) = problems_of(edit({"rate_hz": value}))

    assert problem.endswith("more than 20000 values, aliases written out")


def _assert_rejected(edit: Edit, case: Rejection) -> None:
    key, value, message = case
    problems = problems_of(edit({key: value}))

    assert len(problems) == 1
    inner = message.startswith(("[", "."))
    assert problems[0].startswith(place(key) + ("" if inner else ": ") + message)
