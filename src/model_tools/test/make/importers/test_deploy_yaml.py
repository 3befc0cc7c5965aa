# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model_tools.errors import ToolError
from model_tools.make.importers.draft import Draft
from model_tools.make.importers.import_bundle import make_draft
from testkit.edits import MISSING
from testkit.wording import check_wording, refusal

from .conftest import MakeRequest, WriteRobot
from .small_runs import DEPLOY, DEPLOY_WIDTH, save_policy, urdf

GO2_POLICY = [
    f"{leg}_{part}_joint" for part in ("hip", "thigh", "calf") for leg in ("FL", "FR", "RL", "RR")
]
"""Level by level, as Isaac Lab has them; neither the motors' order nor the file's."""
GO2_FILE = [
    [f"{leg}_{part}_joint" for part in ("hip", "thigh", "calf")] for leg in ("FL", "FR", "RL", "RR")
]
GO2: dict[str, Any] = {
    "joint_ids_map": [3, 0, 9, 6, 4, 1, 10, 7, 5, 2, 11, 8],
    "step_dt": 0.02,
    "stiffness": [float(motor) for motor in range(12)],
    "damping": [0.5] * 12,
    "default_joint_pos": [0.1, -0.1, 0.1, -0.1, 0.8, 0.8, 1.0, 1.0, -1.5, -1.5, -1.5, -1.5],
    "actions": {"JointPositionAction": {"scale": [0.25] * 12, "joint_ids": None}},
    "observations": {"joint_pos_rel": {"scale": [1.0] * 12, "history_length": 1}},
}
"""The hip of the front left leg is motor 3, with stiffness 3, and so on."""
ACTION = "actions.JointPositionAction"
TERMS = ("observations", "obs", "terms")
OWN = {"clip": None, "scale": [1.0, 1.0], "history_length": 1}
PHASE = {"params": {"period": 0.8}, **OWN}
HISTORY = {"length": 5, "layout": "per_term", "order": "oldest_first", "init": "repeat"}
TARGETS = {"joints": ["hip", "knee"], "kind": "position", "offset": "default_position"}

MakeDraft = Callable[..., Draft]


@pytest.fixture
def drafted(request_for: MakeRequest) -> MakeDraft:
    def make(
        changes: dict[str, object] | None = None,
        more: int = 0,
        joints: str | None = "hip,knee",
        **options: Any,
    ) -> Draft:
        request = request_for(DEPLOY, DEPLOY_WIDTH + more, changes or {}, joints=joints, **options)
        return make_draft(request)

    return make


@pytest.fixture
def go2_draft(request_for: MakeRequest, tmp_path: Path) -> MakeDraft:
    model = save_policy(tmp_path / "go2.onnx", 12, 12)

    def make(joints: str, changes: dict[str, object] | None = None, **options: Any) -> Draft:
        return make_draft(request_for(GO2, 0, changes or {}, model=model, joints=joints, **options))

    return make


def test_gains_come_from_the_sdk_s_order_and_all_else_from_the_policy_s(drafted: MakeDraft) -> None:
    draft = drafted()
    assert draft.find("joints.names") == ["hip", "knee"]
    assert draft.find("joints.stiffness") == [40.0, 20.0]
    assert draft.find("joints.damping") == [1.5, 0.5]
    assert draft.find("joints.default_position") == [0.1, -0.8]
    assert draft.find("rate_hz") == 50.0
    assert draft.find("action.terms") == [{**TARGETS, "scale": [0.25, 0.5]}]
    assert draft.find("velocity_command") == {"min": [-1.0, -0.5, -1.5], "max": [2.0, 0.5, 1.5]}
    assert draft.find("observations.obs") == {
        "terms": [
            {"term": "base_ang_vel", "scale": 0.2, "clip": [-10.0, 10.0]},
            {"term": "velocity_command"},
            {"term": "joint_pos_rel", "scale": [1.0, 2.0]},
            {"term": "last_action"},
        ],
        "order": "clip_then_scale",
    }


@pytest.mark.parametrize(
    ("changes", "more", "place", "value"),
    [
        ({"observations.*.history_length": 5}, 40, (*TERMS[:2], "history"), HISTORY),
        (
            {"observations.*.history_length": 2, "observations.use_gym_history": True},
            10,
            (*TERMS[:2], "history", "layout"),
            "per_frame",
        ),
        ({"observations.scale_first": True}, 0, (*TERMS[:2], "order"), "scale_then_clip"),
        ({"observations.last_action.history_length": 3}, 4, (*TERMS, 3, "history_length"), 3),
        ({"observations.last_action.history_length": 3}, 4, (*TERMS, 0, "history_length"), 1),
        (
            {f"{ACTION}.clip": [[-0.4, 0.6], [-1.8, 0.2]]},
            0,
            "action.terms",
            [{**TARGETS, "scale": [0.25, 0.5], "clip": [-2.0, 2.0]}],
        ),
        ({"observations.gait_phase": PHASE}, 2, (*TERMS, 4), {"term": "phase", "period_s": 0.8}),
        *(
            ({f"{ACTION}.joint_ids": ids}, 0, "action.terms", [{**TARGETS, "scale": [0.25, 0.5]}])
            for ids in ("slice(None, None, None)", "slice(0,2,1)", slice(None), [0, 1])
        ),
        *(
            (
                {
                    "observations.joint_pos_rel.params.asset_cfg": {"joint_ids": ids},
                    "observations.joint_pos_rel.scale": [1.0],
                },
                -1,
                (*TERMS, 2),
                {"term": "joint_pos_rel", "joints": ["knee"]},
            )
            for ids in ("slice(1, 2, None)", slice(1, 2))
        ),
    ],
)
def test_what_the_file_says_is_in_the_contract(
    drafted: MakeDraft, changes: dict[str, object], more: int, place: Any, value: object
) -> None:
    assert drafted(changes, more).find(place) == value


def test_an_unknown_term_comes_from_a_topic_of_its_width(drafted: MakeDraft) -> None:
    draft = drafted({"observations.goal": {"params": {}, **OWN, "scale": [1.0] * 6}}, 6)
    assert draft.find((*TERMS, 4)) == {"term": "external", "topic": "goal", "size": 6}
    assert any("goal" in remark for remark in draft.remarks)


def test_the_joints_of_the_file_and_those_of_the_user_are_names_of_policy_and_robot(
    drafted: MakeDraft,
) -> None:
    named: dict[str, object] = {"joint_names": ["hip", "knee"]}
    draft = drafted(named, joints="hip,upper_knee")
    assert draft.find("joints.names") == ["hip", "knee"]
    assert draft.find("joints.robot_names") == {"knee": "upper_knee"}
    assert draft.find(("action", "terms", 0, "joints")) == ["hip", "knee"]
    assert drafted(named).find("joints.robot_names") is None
    with refusal(ToolError):
        drafted(named, joints="knee,hip")


@pytest.mark.parametrize(
    ("action", "key"), [("GaitAction", "action.terms"), ("RelativeJointPositionAction", "action")]
)
def test_an_action_that_the_contract_cannot_say_is_a_question_that_names_it(
    drafted: MakeDraft, action: str, key: str
) -> None:
    known = DEPLOY["actions"]["JointPositionAction"]
    keys = {"gaits": 3} if action == "GaitAction" else known
    assert action in drafted({"actions": {action: keys}}).todos()[key]


@pytest.mark.parametrize(
    "changes",
    [
        {"stiffness": MISSING},
        {"stiffness": [1.0]},
        {"joint_ids_map": [0, 0]},
        {"step_dt": 0},
        {f"{ACTION}.scale": [0.0, 1.0], f"{ACTION}.clip": [[0, 1]] * 2},
        {f"{ACTION}.joint_ids": [0], f"{ACTION}.scale": [1], f"{ACTION}.offset": [0]},
        {f"{ACTION}.joint_ids": "slice(0)"},
        {"observations.last_action": MISSING},
    ],
)
def test_a_wrong_file_is_refused_with_its_place(
    drafted: MakeDraft, changes: dict[str, object]
) -> None:
    with refusal(ToolError):
        drafted(changes)


FAR = {"joint_ids_map": [1, 12], "stiffness": [20.0] * 13, "damping": [0.5] * 13}


@pytest.mark.parametrize(
    ("joints", "order", "changes"), [(None, None, {}), ("go2", None, FAR), ("hip,knee", "sdk", FAR)]
)
def test_joints_are_asked_for_by_name_in_an_order_that_the_numbers_of_motors_fit(
    drafted: MakeDraft, joints: str | None, order: str | None, changes: dict[str, object]
) -> None:
    with refusal(ToolError):
        drafted(changes, joints=joints, joint_order=order)


@pytest.mark.parametrize("given", ["go2", "FILE", "FILE breadth_first", ",".join(GO2_POLICY)])
def test_names_of_a_known_robot_come_from_its_motors_and_the_map(
    go2_draft: MakeDraft, robot_file: WriteRobot, given: str
) -> None:
    joints, _, order = given.partition(" ")
    joints = robot_file(urdf(*GO2_FILE)) if joints == "FILE" else joints
    draft = go2_draft(joints, joint_order=order or None)
    assert draft.find("joints.names") == GO2_POLICY
    assert draft.find("joints.stiffness") == [3, 0, 9, 6, 4, 1, 10, 7, 5, 2, 11, 8]
    assert not [remark for remark in draft.remarks if "default_position" in remark]


@pytest.mark.parametrize("order", ["sdk", "listed", None])
def test_an_order_that_contradicts_that_of_a_known_robot_is_refused(
    go2_draft: MakeDraft, robot_file: WriteRobot, order: str | None
) -> None:
    listed = ",".join(name for names in GO2_FILE for name in names)
    with refusal(ToolError):
        go2_draft(listed if order is None else robot_file(urdf(*GO2_FILE)), joint_order=order)


def test_an_unknown_robot_s_file_is_asked_about_with_each_order_that_it_could_be(
    go2_draft: MakeDraft, robot_file: WriteRobot
) -> None:
    chains = [[name.replace("_joint", "") for name in names] for names in GO2_FILE]
    file = robot_file(urdf(*chains))
    with refusal(ToolError):
        go2_draft(file)
    draft = go2_draft(file, joint_order="breadth_first")
    assert draft.find("joints.names") == [name.removesuffix("_joint") for name in GO2_POLICY]


def test_a_file_with_the_joints_of_a_known_robot_and_more_is_no_known_robot(
    drafted: MakeDraft, robot_file: WriteRobot
) -> None:
    # As with wheels at the feet, whose motors the known robot does not have.
    wheels = {"joint_ids_map": [3, 12], "stiffness": [20.0] * 16, "damping": [0.5] * 16}
    legs = [[*leg, leg[0].replace("hip", "foot")] for leg in GO2_FILE]
    with refusal(ToolError):
        drafted(wheels, joints=robot_file(urdf(*legs)))


def test_gains_whose_order_the_file_leaves_open_are_asked_for(drafted: MakeDraft) -> None:
    # As of a G1 with 23 joints: as many gains as joints, and numbers of motors beyond them.
    todos = drafted({"joint_ids_map": [0, 15]}).todos()
    check_wording(todos["joints.stiffness"], todos["joints.damping"])


def test_a_robot_that_lacks_joints_of_its_family_is_known_by_those_that_the_policy_moves(
    drafted: MakeDraft, robot_file: WriteRobot
) -> None:
    waist = {"joint_ids_map": [12, 3], "stiffness": [*map(float, range(29))], "damping": [1.0] * 29}
    file = robot_file(urdf(["left_knee_joint"], ["waist_yaw_joint", "head_joint"]))
    draft = drafted(waist, joints=file)
    assert draft.find("joints.names") == ["waist_yaw_joint", "left_knee_joint"]
    assert draft.find("joints.stiffness") == [12.0, 3.0]
