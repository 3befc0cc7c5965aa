# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One contradiction each between values that are right by themselves."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from policy_inference.bundle.load import read_contract

from .editing import MISSING, problems_of

Edit = Callable[[Mapping[str, object]], Path]
Case = tuple[Mapping[str, object], str]

NAMES = "left_knee, right_knee"
HASH = "0" * 64

JOINTS: list[Case] = [
    ({"joints.default_position": [0.5]},
     f"joints.default_position: expected 2 values ({NAMES}), found 1"),
    ({"joints.position_min": [-1.0, -1.0, -1.0]},
     f"joints.position_min: expected 2 values ({NAMES}), found 3"),
    ({"joints.position_max": []}, f"joints.position_max: expected 2 values ({NAMES}), found 0"),
    ({"joints.velocity_limit": {"left_knee": 1.0}},
     "joints.velocity_limit: expected exactly one key for 'right_knee', found none"),
    ({"joints.effort_limit": {}},
     "joints.effort_limit: expected exactly one key for 'left_knee', found none"),
    ({"joints.stiffness": {".*_knee": 1.0, ".*_hip": 2.0}},
     f"joints.stiffness: expected keys that match one of {NAMES}, found '.*_hip'"),
    ({"joints.stiffness": {"knee": 1.0}},
     f"joints.stiffness: expected keys that match one of {NAMES}, found 'knee'"),
    ({"joints.damping": {".*": 1.0, ".*_knee": 2.0}},
     "joints.damping: expected exactly one key for 'left_knee', found the keys '.*', '.*_knee'"),
    ({"joints.damping": {"left_(": 1.0}},
     "joints.damping: expected names or regular expressions, found 'left_('"),
    ({"joints.damping": {".*": 3.0, "left_knee": 1.0, "right_knee": 2.0}},
     "joints.damping: expected keys that are needed, found '.*', whose names have keys"),
    ({"joints.position_min": [1.5, -1.0]},
     "joints.position_min of left_knee: expected less than the maximum 1 rad, found 1.5"),
    ({"joints.position_min": [-1.0, 1.0]},
     "joints.position_min of right_knee: expected less than the maximum 1 rad, found 1.0"),
    ({"joints.default_position": [0.5, 1.1]},
     "joints.default_position of right_knee: expected a value in [-1, 1] rad, found 1.1"),
    ({"stand.position": {"left_knee": -1.5, "right_knee": 0.0}},
     "stand.position of left_knee: expected a value in [-1, 1] rad, found -1.5"),
    ({"stand.position": [0.5]}, f"stand.position: expected 2 values ({NAMES}), found 1"),
    ({"stand.stiffness": [1.0]}, f"stand.stiffness: expected 2 values ({NAMES}), found 1"),
    ({"stand.damping": [1.0]}, f"stand.damping: expected 2 values ({NAMES}), found 1"),
    ({"stand.tolerance": [0.1]}, f"stand.tolerance: expected 2 values ({NAMES}), found 1"),
    ({"damp.damping": {"hip": 1.0}},
     f"damp.damping: expected keys that match one of {NAMES}, found 'hip'"),
]  # fmt: skip

TERMS: list[Case] = [
    ({"observations.obs.terms.3.term": "lastaction"},
     "observations.obs.terms[3].term: expected one of base_ang_vel, base_lin_vel, "),
    ({"observations.obs.terms.2.joints": ["hip"]},
     "observations.obs.terms[2].joints: expected names of joints.names, found 'hip'"),
    ({"observations.obs.terms.1.joints": ["left_knee", "left_knee"]},
     "observations.obs.terms[1].joints: expected each name once, found 'left_knee' 2 times"),
    ({"observations.obs.terms.3.joints": ["left_knee"]},
     "observations.obs.terms[3].joints: expected nothing, found joints; the term last_action has"),
    ({"observations.obs.terms.0.topic": "imu_2"},
     "observations.obs.terms[0].topic: expected nothing, found topic; the term base_ang_vel has"),
    ({"observations.obs.terms.0.size": 3},
     "observations.obs.terms[0].size: expected nothing, found size; the term base_ang_vel has"),
    ({"observations.obs.terms.3.period_s": 1.0},
     "observations.obs.terms[3].period_s: expected nothing, found period_s; the term last_action"),
    ({"observations.obs.terms.4.period_s": MISSING},
     "observations.obs.terms[4].period_s: expected a value for phase, found nothing"),
    ({"observations.obs.terms.5.topic": MISSING},
     "observations.obs.terms[5].topic: expected a value for external, found nothing"),
    ({"observations.obs.terms.5.topic": "joint_states"},
     "observations.obs.terms[5].topic: expected a topic of its own, since this one carries the "),
    ({"observations.obs.terms.4": {"term": "external", "topic": "scan/near", "size": 2},
      "observations.obs.terms.5.size": 3, "model.inputs.obs.shape": [1, 13],
      "observations.obs.normalisation": None},
     "observations.obs.terms[5].size: expected 2, as where the topic scan/near is named first, "),
    ({"observations.obs.terms.1.scale": [1.0, 2.0, 3.0]},
     f"observations.obs.terms[1].scale: expected 2 values ({NAMES}), found 3"),
    ({"observations.obs.terms.2.scale": {"left_knee": 1.0}},
     "observations.obs.terms[2].scale: expected keys that match one of right_knee, found 'left_"),
    ({"observations.obs.terms.0.scale": [1.0]},
     "observations.obs.terms[0].scale: expected 3 values (base_ang_vel[0], base_ang_vel[1], base_"),
    ({"observations.obs.terms.0.clip": [1.0, -1.0]},
     "observations.obs.terms[0].clip: expected lowest < highest, found [1.0, -1.0]"),
    ({"observations.obs.terms.0.clip": [1.0, 1.0]},
     "observations.obs.terms[0].clip: expected lowest < highest, found [1.0, 1.0]"),
    ({"observations.obs.terms.0.history_length": 1},
     "observations.obs.terms[0].history_length: expected nothing, found 1; only the layout per_"),
    ({"observations.obs.terms.5.size": 3},
     "observations.obs.terms: expected 12 values for the input [1, 12], found 13"),
    ({"observations.obs.history.length": 2},
     "observations.obs.terms: expected 12 values for the input [1, 12], found 24"),
    ({"observations.obs.history": {"length": 2, "layout": "per_term"},
      "observations.obs.terms.3.history_length": 1},
     "observations.obs.terms: expected 12 values for the input [1, 12], found 22"),
]  # fmt: skip

TENSORS: list[Case] = [
    ({"model.inputs.extra": {"shape": [1, 2]}},
     "model.inputs.extra: expected an observation or a state that fills it, found nothing"),
    ({"observations.camera": {"terms": [{"term": "tick"}]}},
     "model.inputs: expected the input camera, found obs"),
    ({"state": [{"input": "h_in", "output": "actions"}]},
     "model.inputs: expected the input h_in, found obs"),
    ({"action.output": "act"}, "model.outputs: expected the output act, found actions"),
    ({"model.inputs.obs.dtype": "int64"},
     "observations.obs.terms[0]: expected the term tick, since the input is int64, found 'base_"),
    ({"model.outputs.actions.dtype": "int32"},
     "model.outputs.actions.dtype: expected float32 or float16 for the output that commands "),
    ({"model.outputs.actions.shape": [1, 3]},
     "action.terms: expected 3 joints for the output actions [1, 3], found 2"),
    ({"action.terms.1": MISSING, "observations.obs.terms.5.size": 3},
     "action.terms: expected 2 joints for the output actions [1, 2], found 1"),
]  # fmt: skip

RECURRENT = {
    "state": [{"input": "h_in", "output": "h_out"}],
    "model.inputs.h_in": {"shape": [1, 4]},
    "model.outputs.h_out": {"shape": [1, 4]},
}
STATES: list[Case] = [
    ({"model.outputs.h_out": {"shape": [1, 5]}},
     "state[0]: expected an input and an output of equal shape and type, found h_in float32[1, 4] "
     "and h_out float32[1, 5]"),
    ({"model.outputs.h_out": {"shape": [1, 4], "dtype": "float16"}},
     "state[0]: expected an input and an output of equal shape and type, found h_in float32[1, 4] "
     "and h_out float16[1, 4]"),
    ({"model.outputs.h_out": MISSING}, "model.outputs: expected the output h_out, found actions"),
    ({"model.inputs.h_in": MISSING}, "model.inputs: expected the input h_in, found obs"),
    ({"state": [{"input": "h_in", "output": "h_out"}] * 2},
     "state: expected each name once, found 'h_in' 2 times"),
    ({"state": [{"input": "h_in", "output": "h_out"}, {"input": "obs", "output": "obs_out"}],
      "model.outputs.obs_out": {"shape": [1, 12]}},
     "state: expected each name once, found 'obs' 2 times"),
    ({"state": [{"input": "h_in", "output": "h_out"}, {"input": "g_in", "output": "h_out"}],
      "model.inputs.g_in": {"shape": [1, 4]}},
     "state: expected each name once, found 'h_out' 2 times"),
]  # fmt: skip

ACTIONS: list[Case] = [
    ({"action.terms.1.joints": ["hip"]},
     "action.terms[1].joints: expected names of joints.names, found 'hip'"),
    ({"action.terms.1.joints": ["left_knee"]},
     "action.terms: expected each name once, found 'left_knee' 2 times"),
    ({"action.terms.0.scale": [0.1, 0.2]},
     "action.terms[0].scale: expected 1 values (left_knee), found 2"),
    ({"action.terms.0.offset": {"right_knee": 0.1}},
     "action.terms[0].offset: expected keys that match one of left_knee, found 'right_knee'"),
    ({"action.terms.0.clip": [4.0, -4.0]},
     "action.terms[0].clip: expected lowest < highest, found [4.0, -4.0]"),
    ({"action.terms.1.offset": "default_position"},
     "action.terms[1].offset: expected numbers for the kind velocity, found 'default_position'; "),
    ({"velocity_command.min": [-1.0, 0.1, -0.5]},
     "velocity_command: expected min <= 0 <= max for vy, since zero commands a stop, found [0.1, "),
    ({"velocity_command.max": [-0.5, 0.0, 0.5]},
     "velocity_command: expected min <= 0 <= max for vx, since zero commands a stop, found [-1"),
]  # fmt: skip

STATISTICS = {"mean": [0.0] * 12, "std": [1.0] * 12, "min": [-1.0] * 12, "max": [1.0] * 12}
NOMINAL: list[Case] = [
    ({"nominal.target_step": [0.1]}, f"nominal.target_step: expected 2 values ({NAMES}), found 1"),
    ({"nominal.effort_demand": {"hip": 1.0}},
     f"nominal.effort_demand: expected keys that match one of {NAMES}, found 'hip'"),
    ({"nominal.observation": {"scan": STATISTICS}},
     "nominal.observation.scan: expected one of the model's inputs (obs), found 'scan'"),
    ({"nominal.observation": {"obs": STATISTICS | {"mean": [0.0] * 11}}},
     "nominal.observation.obs.mean: expected 12 values, as the model's input, found 11"),
    ({"nominal.observation": {"obs": STATISTICS | {"std": [1.0] * 13}}},
     "nominal.observation.obs.std: expected 12 values, as the model's input, found 13"),
    ({"nominal.observation": {"obs": STATISTICS | {"std": [1.0] * 11 + [-1.0]}}},
     "nominal.observation.obs.std[11]: expected a number >= 0, found -1.0"),
    ({"nominal.observation": {"obs": STATISTICS | {"max": [1.0] * 11 + [-2.0]}}},
     "nominal.observation.obs.min[11]: expected at most the max -2, found -1.0"),
]  # fmt: skip

PATHS = ["/policy.onnx", "../policy.onnx", "models/../../policy.onnx", "//server/policy.onnx",
         "C:/policy.onnx", "C:policy.onnx", "models\\policy.onnx", ".", ""]  # fmt: skip
FILES = ["model.artifacts.onnx", "model.golden", "observations.obs.normalisation", "reports.onnx"]


def _name(case: Case) -> str:
    return case[1].partition(", found")[0][:70]


@pytest.mark.parametrize("case", JOINTS, ids=_name)
def test_joint_values_that_do_not_fit_rejected(edit: Edit, case: Case) -> None:
    _assert_rejected(edit, *case)


def test_doubled_joint_rejected(edit: Edit) -> None:
    problems = problems_of(edit({"joints.names": ["left_knee", "right_knee", "right_knee"]}))

    assert "joints.names: expected each name once, found 'right_knee' 2 times" in problems


@pytest.mark.parametrize("case", TERMS, ids=_name)
def test_term_that_does_not_fit_rejected(edit: Edit, case: Case) -> None:
    edits, message = case

    assert [p for p in problems_of(edit(edits)) if p.startswith(message)]


def test_external_vector_without_size_rejected(edit: Edit) -> None:
    assert problems_of(edit({"observations.obs.terms.5.size": MISSING})) == [
        "observations.obs.terms[5].size: expected a value for external, found nothing",
        "observations.obs.terms: expected 12 values for the input [1, 12], found 10",
    ]


@pytest.mark.parametrize("case", TENSORS, ids=_name)
def test_tensor_without_counterpart_rejected(edit: Edit, case: Case) -> None:
    edits, message = case

    assert [p for p in problems_of(edit(edits)) if p.startswith(message)]


@pytest.mark.parametrize("case", STATES, ids=_name)
def test_recurrent_state_that_does_not_close_rejected(edit: Edit, case: Case) -> None:
    edit(RECURRENT)

    edits, message = case

    assert [p for p in problems_of(edit(edits)) if p.startswith(message)]


@pytest.mark.parametrize("case", ACTIONS, ids=_name)
def test_action_that_does_not_fit_rejected(edit: Edit, case: Case) -> None:
    edits, message = case

    assert [p for p in problems_of(edit(edits)) if p.startswith(message)]


@pytest.mark.parametrize("case", NOMINAL, ids=_name)
def test_nominal_values_that_do_not_fit_rejected(edit: Edit, case: Case) -> None:
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
    file = edit({"joints.stiffness": [1.0], "observations.obs.terms.3.term": "lastaction",
                 "action.output": "act", "model.golden.file": "/golden.npz"})

    keys = [problem.partition(": ")[0] for problem in problems_of(file)]

    assert keys == ["joints.stiffness", "model.outputs", "observations.obs.terms[3].term",
                    "model.golden.file"]


def test_recurrent_policy_is_accepted(edit: Edit) -> None:
    contract = read_contract(edit(RECURRENT))

    assert [(pair.input, pair.output) for pair in contract.state] == [("h_in", "h_out")]


@pytest.mark.parametrize(
    ("history", "values"),
    [({"length": 3}, 36), ({"length": 3, "layout": "per_term"}, 36),
     ({"length": 3, "layout": "per_frame", "order": "newest_first"}, 36)],
)  # fmt: skip
def test_history_multiplies_the_size_of_the_input(
    edit: Edit, history: Mapping[str, object], values: int
) -> None:
    edits = {"observations.obs.history": history, "model.inputs.obs.shape": [1, values]}

    assert read_contract(edit(edits)).observations["obs"].history.length == 3


def test_term_of_its_own_history_counts_with_its_own_length(edit: Edit) -> None:
    read_contract(edit({
        "observations.obs.history": {"length": 3, "layout": "per_term"},
        "observations.obs.terms.3.history_length": 1,
        "observations.obs.terms.5.history_length": 5,
        "model.inputs.obs.shape": [1, 8 * 3 + 2 * 1 + 2 * 5],
    }))  # fmt: skip


def test_whole_number_input_takes_the_tick(edit: Edit) -> None:
    read_contract(edit({"observations.step": {"terms": [{"term": "tick"}]},
                        "model.inputs.step": {"shape": [1, 1], "dtype": "int64"}}))  # fmt: skip


def test_policy_without_optional_sections_is_accepted(edit: Edit) -> None:
    contract = read_contract(edit({
        "velocity_command": MISSING, "nominal": MISSING, "model.golden": MISSING,
        "safety.max_tilt_rad": MISSING,
    }))  # fmt: skip

    optional = [contract.nominal, contract.velocity_command, contract.model.golden]
    assert optional == [None, None, None]


def _assert_rejected(edit: Edit, edits: Mapping[str, object], message: str) -> None:
    problems = problems_of(edit(edits))

    assert len(problems) == 1
    assert problems[0].startswith(message)
