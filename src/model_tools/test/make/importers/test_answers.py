# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from model_tools.errors import ToolError
from model_tools.files.onnx_model import read_onnx
from model_tools.make.importers.answers import answer_all, drop
from model_tools.make.importers.draft import Draft, todo
from model_tools.make.importers.import_bundle import make_draft
from policy_core.errors import PolicyError
from testkit.wording import check_wording, lines_with, refusal

from .conftest import MakeRequest
from .small_models import save_policy
from .small_runs import DEPLOY, DEPLOY_WIDTH


@pytest.fixture
def draft(tmp_path: Path) -> Draft:
    made = Draft("a test", read_onnx(save_policy(tmp_path / "policy.onnx", 4, 2)))
    made.put(
        ("observations", "input.1", "terms"),
        [{"term": "joint_pos", "scale": todo("?")}, {"term": "joint_vel", "scale": todo("?")}],
    )
    made.put("joints.default_position", [0.1, 0.2])
    made.put("joints.stiffness", todo("?"))
    return made


@pytest.mark.parametrize(
    ("given", "key", "value"),
    [
        ("joints.stiffness=25", "joints.stiffness", 25),
        ("joints.stiffness={.*: 1e-3}", "joints.stiffness", {".*": 1e-3}),
        ("stand.position=@joints.default_position", "stand.position", [0.1, 0.2]),
        ("safety.max_tilt_rad=null", "safety.max_tilt_rad", None),
        ("provenance.date=2026-11-20", "provenance.date", "2026-11-20"),
        (
            "observations.input.1.terms[1].scale=2.0",
            ("observations", "input.1", "terms", 1, "scale"),
            2.0,
        ),
    ],
)
def test_an_answer_takes_the_place_of_the_question(
    draft: Draft, given: str, key: str | tuple[str | int, ...], value: object
) -> None:
    answer_all(draft, [given])
    assert draft.find(key) == value


def test_a_star_answers_for_every_term(draft: Draft) -> None:
    answer_all(draft, ["observations.input.1.terms[*].scale=1.0"])
    assert draft.todos() == {"joints.stiffness": "?"}


@pytest.mark.parametrize(
    "given",
    [
        "joints.stiffness",
        "joints.stiffness={",
        "joints.stiffness=!!python/tuple 3",
        "joints.damping=@joints.stiffness",
        "observations.input.1.terms[2].scale=1",
        "joints.names[*]=1",
        "..=1",
        "joints.damping=@",
        "joints.damping=@joints.default_position[*]",
        "joints.damping=" + "[" * 5000,
    ],
)
def test_an_answer_that_fits_nowhere_is_refused(draft: Draft, given: str) -> None:
    with refusal(ToolError):
        answer_all(draft, [given])


def test_a_todo_about_what_does_not_matter_can_be_dropped(draft: Draft) -> None:
    draft.block("action", "a second output")
    drop(draft, "action.TODO")
    assert "action" not in draft.todos()
    for gone in ("action.TODO", ""):
        with refusal(ToolError):
            drop(draft, gone)


def test_answers_from_a_file_are_taken_and_given_ones_win(draft: Draft, tmp_path: Path) -> None:
    file = tmp_path / "answers.yaml"
    file.write_text(
        "joints.stiffness: {.*: 20}\njoints.damping: 1\n"
        "stand: {position: 0.5}\nstand.stiffness: '@joints.stiffness'\n"
        "'observations.input.1.terms[*].scale': 2\n",
        "utf-8",
    )
    answer_all(draft, ["joints.stiffness=30", "stand.damping=2"], file)
    assert draft.find("joints") == {"default_position": [0.1, 0.2], "stiffness": 30, "damping": 1}
    assert draft.find("stand") == {"position": 0.5, "stiffness": 30, "damping": 2}
    assert draft.todos() == {}


def test_the_order_of_joints_that_the_source_says_is_not_to_be_answered(draft: Draft) -> None:
    draft.put("joints.names", ["hip", "knee"])
    with refusal(ToolError):
        answer_all(draft, ["joints.names=[knee, hip]"])


def test_an_answer_to_what_the_source_says_is_noted(draft: Draft) -> None:
    draft.put("rate_hz", 50.0)
    answer_all(draft, ["rate_hz=100"])
    check_wording(*draft.remarks)


@pytest.mark.parametrize(
    "key",
    ["observations", "observations.obs", "observations.obs.terms", "safety", "velocity_command"],
)
def test_a_number_in_the_place_of_a_section_is_refused(request_for: MakeRequest, key: str) -> None:
    with refusal(PolicyError):
        make_draft(request_for(DEPLOY, DEPLOY_WIDTH, joints="hip,knee", answers=[f"{key}=3"]))


@pytest.mark.parametrize(
    "answer",
    [
        "velocity_command.max=[2.5, 0.4, 0.8]",
        "velocity_command={min: [-0.5, -0.4, -0.8], max: [1.0, 0.4, 0.8]}",
    ],
)
def test_velocities_that_are_not_those_of_the_training_are_noted(
    request_for: MakeRequest, answer: str
) -> None:
    draft = make_draft(request_for(DEPLOY, DEPLOY_WIDTH, joints="hip,knee", answers=[answer]))

    check_wording(*lines_with(draft.remarks, "velocity_command"))
