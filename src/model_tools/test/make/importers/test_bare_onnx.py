# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

from model_tools import cli
from model_tools.errors import ToolError
from model_tools.make.importers.import_bundle import ImportRequest, import_bundle, make_draft
from model_tools.prove.inspect.registry import inspect_path
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from testkit.wording import refusal

from .conftest import ANSWERS, WriteRobot
from .small_models import save_policy
from .small_runs import urdf

LEGS = ("hip", "knee")
WIDTH = 9 + 3 * len(LEGS)
OWN = (
    "rate_hz=50",
    "joints.names=[hip, knee]",
    "joints.default_position=[0.1, -0.8]",
    "action.terms[0].kind=position",
    "action.terms[0].scale=0.25",
    "action.terms[0].offset=default_position",
    "observations.obs.terms=[{term: base_ang_vel}, {term: projected_gravity}, "
    "{term: velocity_command}, {term: joint_pos_rel}, {term: joint_vel}, {term: last_action}]",
    "velocity_command.min=[-1, -1, -1]",
    "velocity_command.max=[1, 1, 1]",
)
"""What every other format states."""


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


def test_wheels_by_answers(tmp_path: Path) -> None:
    """The action has two terms, the observation no positions of wheels, and they have no limits."""
    model = save_policy(tmp_path / "policy.onnx", 9 + 3 * 2 - 1, 2)
    robot = tmp_path / "robot.urdf"
    ends = "lower='-3.0' upper='3.0' "
    wheel = urdf(["wheel"]).replace(ends, "").partition("\n")[2]
    robot.write_text(urdf(["hip"]).removesuffix("</robot>") + wheel, encoding="utf-8")
    answers = [
        *(each for each in ANSWERS if not each.startswith(("joints.", "stand.stiffness"))),
        *(each for each in OWN if not each.startswith(("joints.", "observations.", "action."))),
        "joints.names=[hip, wheel]",
        "joints.default_position=0",
        "joints.stiffness={hip: 25, wheel: 0}",
        "joints.damping=0.5",
        "stand.stiffness={hip: 25, wheel: 0}",
        "action.terms=[{joints: [hip], kind: position, scale: 0.25, offset: default_position}, "
        "{joints: ['whe.*'], kind: velocity, scale: 5}]",
        "observations.obs.terms=[{term: base_ang_vel}, {term: projected_gravity}, "
        "{term: velocity_command}, {term: joint_pos_rel, joints: [hip]}, {term: joint_vel}, "
        "{term: last_action}]",
    ]
    request = ImportRequest(source=model, robot=robot, answers=answers)
    import_bundle(request, tmp_path / "bundle")
    joints = load_bundle(tmp_path / "bundle", kind=JointBundle).contract.joints
    assert joints.position_max.tolist() == [3.0, 1e6]
