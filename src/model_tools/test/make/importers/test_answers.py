# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from model_tools import cli
from model_tools.errors import ToolError
from model_tools.files.onnx_model import read_onnx
from model_tools.make.importers.answers import answer_all, drop
from model_tools.make.importers.draft import Draft, todo
from model_tools.make.importers.import_bundle import (
    ImportRequest,
    choose,
    import_bundle,
    make_draft,
)
from model_tools.make.importers.source import read_source
from model_tools.prove.inspect.registry import inspect_path
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from testkit.wording import refusal

from .conftest import ANSWERS, WriteRobot
from .small_runs import save_policy, urdf


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
        "joints.stiffness=!!python/tuple 3",
        "joints.damping=@joints.stiffness",
        "joints.names[*]=1",
        "..=1",
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


def some_yaml(folder: Path, text: str) -> Path:
    file = folder / "some.yaml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    "text",
    ["[1, 2]", "{joint_ids_map: [], step_dt: 0.02, observations: {}, models: {}, pipeline: {}}"],
)
def test_a_file_of_no_format_or_of_two_is_refused_with_those_known(
    tmp_path: Path, text: str
) -> None:
    source = read_source(some_yaml(tmp_path, text))
    with refusal(ToolError):
        choose(source)
    assert choose(source, "leapp").NAME == "leapp"


@pytest.mark.parametrize(
    ("text", "name"), [("{schema_version: 1, kind: joint}", None), ("{}", "urdf")]
)
def test_a_contract_or_an_unknown_format_is_refused_with_what_to_use(
    tmp_path: Path, text: str, name: str | None
) -> None:
    with refusal(ToolError):
        choose(read_source(some_yaml(tmp_path, text)), name)
