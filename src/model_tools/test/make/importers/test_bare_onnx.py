# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from model_tools import cli
from model_tools.errors import ToolError
from model_tools.make.importers.import_bundle import ImportRequest, make_draft
from model_tools.prove.inspect.registry import inspect_path
from testkit.wording import check_wording, refusal

from .conftest import WriteRobot
from .small_models import save_policy
from .small_runs import urdf

LEGS = ("hip", "knee")
WIDTH = 9 + 3 * len(LEGS)


def test_a_model_alone_becomes_a_draft_with_a_question_for_everything(tmp_path: Path) -> None:
    model = save_policy(tmp_path / "policy.onnx", WIDTH, len(LEGS))
    output = tmp_path / "bundle"
    assert cli.main(["import", "--model", str(model), "--output", str(output)]) == 1
    draft = make_draft(ImportRequest(source=model))
    assert {"rate_hz", "joints.names", "observations.obs.terms", "action.terms[0].kind"} <= {
        *draft.todos()
    }
    assert draft.find("action.output") == "actions"
    assert {f"TODO {key}" for key in draft.todos()} <= {*dict(inspect_path(output).rows)}


@pytest.mark.parametrize(
    ("width", "joints"), [(45, 12), (48, 12), (47, 12), (235, 12), (270, 12), (53, 16), (101, 12)]
)
def test_what_the_sizes_suggest_is_called_a_guess(tmp_path: Path, width: int, joints: int) -> None:
    extra = {"velocity_commands": (1, 3)}
    model = save_policy(tmp_path / "policy.onnx", width, joints, extra_inputs=extra)
    todos = make_draft(ImportRequest(source=model)).todos()
    named = todos["observations.velocity_commands.terms"]
    check_wording(todos["observations.obs.terms"], named)


def test_a_robot_s_file_gives_joints_and_limits(tmp_path: Path, robot_file: WriteRobot) -> None:
    model = save_policy(tmp_path / "policy.onnx", WIDTH, len(LEGS))
    robot = robot_file(urdf(LEGS))
    draft = make_draft(ImportRequest(source=model, joints=robot))
    assert draft.find("joints.names") == ["hip", "knee"]
    assert draft.find("joints.effort_limit") == [30.0, 30.0]
    # Without --joints, the limits follow the answer.
    answer = "joints.names=[knee, hip]"
    draft = make_draft(ImportRequest(source=model, robot=Path(robot), answers=[answer]))
    assert draft.find("joints.position_max") == [3.0, 3.0]


def test_joints_that_are_not_as_many_as_the_actions_are_refused(tmp_path: Path) -> None:
    model = save_policy(tmp_path / "policy.onnx", WIDTH, len(LEGS))
    with refusal(ToolError):
        make_draft(ImportRequest(source=model, joints="hip,knee,toe"))
