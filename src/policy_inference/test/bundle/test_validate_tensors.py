# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Contradictions between observations, recurrent state and the tensors of the model."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from .editing import MISSING, Contradiction, contradiction_id, joint_contract, problems_of

Edit = Callable[[Mapping[str, object]], Path]

NAMES = "left_knee, right_knee"

VELOCITY = {"term": "velocity_command", "parts": ["wz", "vw"]}
STANDING = {"term": "phase", "period_s": 0.8, "standing": {"below": 0.1}}
TERMS: list[Contradiction] = [
    (
        {"observations.obs.terms.0": VELOCITY},
        "observations.obs.terms[0].parts: expected some of vx, vy, wz, found 'vw'",
    ),
    (
        {"observations.obs.terms.4.parts": ["sin", "sin"]},
        "observations.obs.terms[4].parts: expected each name once, found 'sin' 2 times",
    ),
    (
        {"observations.obs.terms.2.parts": ["x"]},
        "observations.obs.terms[2].parts: expected nothing, found parts; the term joint_vel has no",
    ),
    (
        {"observations.obs.terms.0.offsets": [0.0]},
        "observations.obs.terms[0].offsets: expected nothing, found offsets; the term base_ang_vel",
    ),
    (
        {"observations.obs.terms.3": {"term": "last_output"}},
        "observations.obs.terms[3].output: expected a value for last_output, found nothing",
    ),
    (
        {"observations.obs.terms.3": {"term": "last_output", "output": "actions"}},
        "observations.obs.terms[3].output: expected an output beside the action, found 'actions'; "
        "the term last_action repeats the action",
    ),
    (
        {"observations.obs.terms.3": {"term": "last_output", "output": "speed"}},
        "observations.obs.terms[3].output: expected one of the model's outputs (actions), "
        "found 'sp",
    ),
    (
        {"observations.obs.terms.4": STANDING, "velocity_command": MISSING},
        "velocity_command: expected the range of commands in training, since a term reads them",
    ),
    (
        {"observations.obs.terms.3.term": "lastaction"},
        "observations.obs.terms[3].term: expected one of joint_pos, joint_vel, ",
    ),
    (
        {"observations.obs.terms.2.joints": ["hip"]},
        "observations.obs.terms[2].joints: expected names of joints.names, found 'hip'",
    ),
    (
        {"observations.obs.terms.1.joints": ["left_knee", "left_knee"]},
        "observations.obs.terms[1].joints: expected each name once, found 'left_knee' 2 times",
    ),
    (
        {"observations.obs.terms.3.joints": ["left_knee"]},
        "observations.obs.terms[3].joints: expected nothing, found joints; "
        "the term last_action has",
    ),
    (
        {"observations.obs.terms.0.topic": "imu_2"},
        "observations.obs.terms[0].topic: expected nothing, found topic; the term base_ang_vel has",
    ),
    (
        {"observations.obs.terms.0.size": 3},
        "observations.obs.terms[0].size: expected nothing, found size; the term base_ang_vel has",
    ),
    (
        {"observations.obs.terms.3.period_s": 1.0},
        "observations.obs.terms[3].period_s: expected nothing, found period_s; "
        "the term last_action",
    ),
    (
        {"observations.obs.terms.4.period_s": MISSING},
        "observations.obs.terms[4].period_s: expected a value for phase, found nothing",
    ),
    (
        {"observations.obs.terms.5.topic": MISSING},
        "observations.obs.terms[5].topic: expected a value for external, found nothing",
    ),
    (
        {"observations.obs.terms.5.topic": "joint_states"},
        "observations.obs.terms[5].topic: expected a topic of its own, since this one carries the ",
    ),
    (
        {
            "observations.obs.terms.4": {"term": "external", "topic": "scan/near", "size": 2},
            "observations.obs.terms.5.size": 3,
            "model.inputs.obs.shape": [1, 13],
            "observations.obs.normalisation": None,
        },
        "observations.obs.terms[5].size: expected 2, as where the topic scan/near is named first, ",
    ),
    (
        {"observations.obs.terms.1.scale": [1.0, 2.0, 3.0]},
        f"observations.obs.terms[1].scale: expected 2 values ({NAMES}), found 3",
    ),
    (
        {"observations.obs.terms.2.scale": {"left_knee": 1.0}},
        "observations.obs.terms[2].scale: expected keys that match one of right_knee, found 'left_",
    ),
    (
        {"observations.obs.terms.0.scale": [1.0]},
        "observations.obs.terms[0].scale: expected 3 values (base_ang_vel[0], "
        "base_ang_vel[1], base_",
    ),
    (
        {"observations.obs.terms.0.clip": [1.0, -1.0]},
        "observations.obs.terms[0].clip: expected lowest < highest, found [1.0, -1.0]",
    ),
    (
        {"observations.obs.terms.0.clip": [1.0, 1.0]},
        "observations.obs.terms[0].clip: expected lowest < highest, found [1.0, 1.0]",
    ),
    (
        {"observations.obs.terms.0.history_length": 1},
        "observations.obs.terms[0].history_length: expected nothing, found 1; only the layout per_",
    ),
    (
        {"observations.obs.terms.5.size": 3},
        "observations.obs.terms: expected 12 values for the input [1, 12], found 13",
    ),
    (
        {"observations.obs.history.length": 2},
        "observations.obs.terms: expected 12 values for the input [1, 12], found 24",
    ),
    (
        {"observations.obs.history.length": 10_000},
        "observations.obs.terms: expected at most 100000 values, those of the past included, "
        "found 120000",
    ),
    (
        {
            "observations.obs.history": {"length": 2, "layout": "per_term"},
            "observations.obs.terms.3.history_length": 1,
        },
        "observations.obs.terms: expected 12 values for the input [1, 12], found 22",
    ),
]

TENSORS: list[Contradiction] = [
    (
        {"model.inputs.extra": {"shape": [1, 2]}},
        "model.inputs.extra: expected an observation or a state that fills it, found nothing",
    ),
    (
        {"observations.camera": {"terms": [{"term": "tick"}]}},
        "model.inputs: expected the input camera, found obs",
    ),
    (
        {"state": [{"input": "h_in", "output": "actions"}]},
        "model.inputs: expected the input h_in, found obs",
    ),
    ({"action.output": "act"}, "model.outputs: expected the output act, found actions"),
    (
        {"model.inputs.obs.dtype": "int64"},
        "observations.obs.terms[0]: expected the term tick, since the input is int64, found 'base_",
    ),
    (
        {"model.outputs.actions.dtype": "int32"},
        "model.outputs.actions.dtype: expected float32 or float16 for the output that commands ",
    ),
    (
        {"model.outputs.actions.shape": [1, 3]},
        "action.terms: expected 3 joints for the output actions [1, 3], found 2",
    ),
    (
        {"action.terms.1": MISSING, "observations.obs.terms.5.size": 3},
        "action.terms: expected 2 joints for the output actions [1, 2], found 1",
    ),
]

RECURRENT = {
    "state": [{"input": "h_in", "output": "h_out"}],
    "model.inputs.h_in": {"shape": [1, 4]},
    "model.outputs.h_out": {"shape": [1, 4]},
}
STATES: list[Contradiction] = [
    (
        {"model.outputs.h_out": {"shape": [1, 5]}},
        "state[0]: expected an input and an output of equal shape and type, "
        "found h_in float32[1, 4] and h_out float32[1, 5]",
    ),
    (
        {"model.outputs.h_out": {"shape": [1, 4], "dtype": "float16"}},
        "state[0]: expected an input and an output of equal shape and type, "
        "found h_in float32[1, 4] and h_out float16[1, 4]",
    ),
    ({"model.outputs.h_out": MISSING}, "model.outputs: expected the output h_out, found actions"),
    ({"model.inputs.h_in": MISSING}, "model.inputs: expected the input h_in, found obs"),
    (
        {"state": [{"input": "h_in", "output": "h_out"}] * 2},
        "state: expected each name once, found 'h_in' 2 times",
    ),
    (
        {
            "state": [{"input": "h_in", "output": "h_out"}, {"input": "obs", "output": "obs_out"}],
            "model.outputs.obs_out": {"shape": [1, 12]},
        },
        "state: expected each name once, found 'obs' 2 times",
    ),
    (
        {
            "state": [{"input": "h_in", "output": "h_out"}, {"input": "g_in", "output": "h_out"}],
            "model.inputs.g_in": {"shape": [1, 4]},
        },
        "state: expected each name once, found 'h_out' 2 times",
    ),
]


@pytest.mark.parametrize("case", TERMS, ids=contradiction_id)
def test_term_that_does_not_fit_rejected(edit: Edit, case: Contradiction) -> None:
    edits, message = case

    assert [p for p in problems_of(edit(edits)) if p.startswith(message)]


def test_external_vector_without_size_rejected(edit: Edit) -> None:
    assert problems_of(edit({"observations.obs.terms.5.size": MISSING})) == [
        "observations.obs.terms[5].size: expected a value for external, found nothing",
        "observations.obs.terms: expected 12 values for the input [1, 12], found 10",
    ]


@pytest.mark.parametrize("case", TENSORS, ids=contradiction_id)
def test_tensor_without_counterpart_rejected(edit: Edit, case: Contradiction) -> None:
    edits, message = case

    assert [p for p in problems_of(edit(edits)) if p.startswith(message)]


@pytest.mark.parametrize("case", STATES, ids=contradiction_id)
def test_recurrent_state_that_does_not_close_rejected(edit: Edit, case: Contradiction) -> None:
    edit(RECURRENT)

    edits, message = case

    assert [p for p in problems_of(edit(edits)) if p.startswith(message)]


def test_recurrent_policy_is_accepted(edit: Edit) -> None:
    contract = joint_contract(edit(RECURRENT))

    assert [(pair.input, pair.output) for pair in contract.state] == [("h_in", "h_out")]


@pytest.mark.parametrize(
    ("history", "values"),
    [
        ({"length": 3}, 36),
        ({"length": 3, "layout": "per_term"}, 36),
        ({"length": 3, "layout": "per_frame", "order": "newest_first"}, 36),
    ],
)
def test_history_multiplies_the_size_of_the_input(
    edit: Edit, history: Mapping[str, object], values: int
) -> None:
    edits = {"observations.obs.history": history, "model.inputs.obs.shape": [1, values]}

    assert joint_contract(edit(edits)).observations["obs"].history.length == 3


def test_term_of_its_own_history_counts_with_its_own_length(edit: Edit) -> None:
    joint_contract(
        edit(
            {
                "observations.obs.history": {"length": 3, "layout": "per_term"},
                "observations.obs.terms.3.history_length": 1,
                "observations.obs.terms.5.history_length": 5,
                "model.inputs.obs.shape": [1, 8 * 3 + 2 * 1 + 2 * 5],
            }
        )
    )


def test_whole_number_input_takes_the_tick(edit: Edit) -> None:
    joint_contract(
        edit(
            {
                "observations.step": {"terms": [{"term": "tick"}]},
                "model.inputs.step": {"shape": [1, 1], "dtype": "int64"},
            }
        )
    )
