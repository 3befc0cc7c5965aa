# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_tools.errors import ToolError
from model_tools.make.importers.import_bundle import import_bundle, make_draft
from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.contract import PhaseStand
from policy_inference.bundle.load import load_bundle
from testkit.wording import refusal

from .conftest import ANSWERS, MakeRequest
from .small_models import save_policy
from .small_runs import DEPLOY, DEPLOY_WIDTH, urdf

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


def go2(request_for: MakeRequest, folder: Path, joints: str | None, **options: Any) -> Any:
    model = save_policy(folder / "go2.onnx", 12, 12)
    return make_draft(request_for(GO2, 0, model=model, joints=joints, **options))


def robot_file(folder: Path, text: str) -> str:
    file = folder / "robot.urdf"
    file.write_text(text, "utf-8")
    return str(file)


def test_mjlab_s_motion_command_follows_the_clip(request_for: MakeRequest, tmp_path: Path) -> None:
    one = {"scale": [1.0] * 24, "clip": None, "history_length": 1}
    tracking = {**GO2, "observations": {"motion_command": one, **GO2["observations"]}}
    model = save_policy(tmp_path / "go2.onnx", 36, 12)
    draft = make_draft(request_for(tracking, 0, model=model, joints="go2"))
    assert [term["term"] for _, term in draft.terms()] == [
        "motion_joint_pos",
        "motion_joint_vel",
        "joint_pos_rel",
    ]
    assert "motion.clip" in draft.todos()


def test_gains_come_from_the_sdk_s_order_and_all_else_from_the_policy_s(
    request_for: MakeRequest,
) -> None:
    draft = make_draft(request_for(DEPLOY, DEPLOY_WIDTH, joints="hip,knee"))
    assert draft.find("joints.names") == ["hip", "knee"]
    assert draft.find("joints.stiffness") == [40.0, 20.0]
    assert draft.find("joints.damping") == [1.5, 0.5]
    assert draft.find("joints.default_position") == [0.1, -0.8]
    assert draft.find("rate_hz") == 50.0
    assert draft.find("action.terms") == [
        {
            "joints": ["hip", "knee"],
            "kind": "position",
            "scale": [0.25, 0.5],
            "offset": "default_position",
        }
    ]
    assert draft.find("velocity_command") == {"min": [-1.0, -0.5, -1.5], "max": [2.0, 0.5, 1.5]}


def test_terms_keep_the_order_of_the_keys_with_clip_before_scale(request_for: MakeRequest) -> None:
    draft = make_draft(request_for(DEPLOY, DEPLOY_WIDTH, joints="hip,knee"))
    assert draft.find("observations.obs") == {
        "terms": [
            {"term": "base_ang_vel", "scale": 0.2, "clip": [-10.0, 10.0]},
            {"term": "velocity_command"},
            {"term": "joint_pos_rel", "scale": [1.0, 2.0]},
            {"term": "last_action"},
        ],
        "order": "clip_then_scale",
    }


def test_joint_names_are_asked_for_by_name_and_never_made_up(request_for: MakeRequest) -> None:
    with refusal(ToolError):
        make_draft(request_for(DEPLOY, DEPLOY_WIDTH))


def test_history_is_per_term_oldest_first_and_repeated(request_for: MakeRequest) -> None:
    def five_frames(source: Any) -> None:
        for term in source["observations"].values():
            term["history_length"] = 5

    draft = make_draft(request_for(DEPLOY, 5 * DEPLOY_WIDTH, edit=five_frames, joints="hip,knee"))
    assert draft.find("observations.obs.history") == {
        "length": 5,
        "layout": "per_term",
        "order": "oldest_first",
        "init": "repeat",
    }


def test_gym_history_is_whole_frames_and_scale_first_is_obeyed(request_for: MakeRequest) -> None:
    def switched(source: Any) -> None:
        for term in source["observations"].values():
            term["history_length"] = 2
        source["observations"] |= {"use_gym_history": True, "scale_first": True}

    draft = make_draft(request_for(DEPLOY, 2 * DEPLOY_WIDTH, edit=switched, joints="hip,knee"))
    assert draft.find("observations.obs.history.layout") == "per_frame"
    assert draft.find("observations.obs.order") == "scale_then_clip"


def test_one_term_with_a_history_of_its_own_says_so_itself(request_for: MakeRequest) -> None:
    def remember(source: Any) -> None:
        source["observations"]["last_action"]["history_length"] = 3

    draft = make_draft(request_for(DEPLOY, DEPLOY_WIDTH + 4, edit=remember, joints="hip,knee"))
    lengths = [term["history_length"] for term in draft.find("observations.obs.terms")]
    assert lengths == [1, 1, 1, 3]


def test_a_clip_of_targets_becomes_clips_of_the_raw_output(request_for: MakeRequest) -> None:
    def clip(source: Any) -> None:
        source["actions"]["JointPositionAction"]["clip"] = [[-0.4, 0.6], [-1.8, 0.2]]

    draft = make_draft(request_for(DEPLOY, DEPLOY_WIDTH, edit=clip, joints="hip,knee"))
    terms = draft.find("action.terms")
    assert [term["clip"] for term in terms] == [[-2.0, 2.0]]


def test_a_clip_that_no_joint_reaches_is_left_out_and_noted(request_for: MakeRequest) -> None:
    def clip(source: Any) -> None:
        source["actions"]["JointPositionAction"]["clip"] = [[-100, 100]] * 2

    draft = make_draft(request_for(DEPLOY, DEPLOY_WIDTH, edit=clip, joints="hip,knee"))
    assert all("clip" not in term for term in draft.find("action.terms"))
    assert any("clip of targets" in remark for remark in draft.remarks)


def test_a_phase_takes_its_period_from_the_params(request_for: MakeRequest) -> None:
    def phase(source: Any) -> None:
        source["observations"]["gait_phase"] = {
            "params": {"period": 0.8},
            "scale": [1.0, 1.0],
            "clip": None,
            "history_length": 1,
        }

    draft = make_draft(request_for(DEPLOY, DEPLOY_WIDTH + 2, edit=phase, joints="hip,knee"))
    assert draft.find("observations.obs.terms")[-1] == {"term": "phase", "period_s": 0.8}


def test_what_a_phase_does_while_the_robot_stands_is_asked_for_where_it_may_do_something(
    request_for: MakeRequest, tmp_path: Path
) -> None:
    def phase(source: Any) -> None:
        source["observations"]["gait_phase"] = {
            "params": {"command_name": "base_velocity", "period": 0.6},
            "clip": None,
            "scale": [1.0, 1.0],
            "history_length": 1,
        }

    key = "observations.obs.terms[4].standing"
    request = request_for(DEPLOY, DEPLOY_WIDTH + 2, edit=phase, joints="hip,knee", answers=ANSWERS)
    todos = make_draft(request).todos()
    assert list(todos) == [key]
    assert "the term reads command_name" in todos[key]
    for i, (answer, standing) in enumerate(
        {"null": None, "{below: 0.1, phase: zero}": PhaseStand(below=0.1, phase="zero")}.items()
    ):
        answers = [*ANSWERS, f"{key}={answer}"]
        import_bundle(dataclasses.replace(request, answers=answers), tmp_path / str(i))
        contract = load_bundle(tmp_path / str(i), kind=JointBundle).contract
        assert contract.observations["obs"].terms[4].standing == standing


def test_the_joints_of_the_file_and_those_of_the_user_are_names_of_policy_and_robot(
    request_for: MakeRequest,
) -> None:
    def named(source: Any) -> None:
        source["joint_names"] = ["hip", "knee"]

    draft = make_draft(request_for(DEPLOY, DEPLOY_WIDTH, edit=named, joints="hip,upper_knee"))
    assert draft.find("joints.names") == ["hip", "knee"]
    assert draft.find("joints.robot_names") == {"knee": "upper_knee"}
    assert draft.find(("action", "terms", 0, "joints")) == ["hip", "knee"]
    draft = make_draft(request_for(DEPLOY, DEPLOY_WIDTH, edit=named, joints="hip,knee"))
    assert draft.find("joints.robot_names") is None
    with refusal(ToolError):
        make_draft(request_for(DEPLOY, DEPLOY_WIDTH, edit=named, joints="knee,hip"))


def test_an_action_of_the_training_s_own_code_needs_no_key(request_for: MakeRequest) -> None:
    actions = {"GaitAction": {"gaits": 3}}
    draft = make_draft(request_for({**DEPLOY, "actions": actions}, DEPLOY_WIDTH, joints="hip,knee"))
    assert "GaitAction (keys gaits)" in draft.todos()["action.terms"]


def test_an_action_that_the_contract_cannot_say_is_a_todo_that_names_it(
    request_for: MakeRequest,
) -> None:
    def relative(source: Any) -> None:
        source["actions"] = {
            "RelativeJointPositionAction": source["actions"]["JointPositionAction"]
        }

    draft = make_draft(request_for(DEPLOY, DEPLOY_WIDTH, edit=relative, joints="hip,knee"))
    assert "RelativeJointPositionAction" in draft.todos()["action"]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda s: s.pop("stiffness"), "stiffness: expected a value, found no such key"),
        (
            lambda s: s.update(default_joint_pos=[0.0]),
            "default_joint_pos: expected 2 joints, found 1",
        ),
        (lambda s: s.update(stiffness=[1.0]), "stiffness: expected at least 2 values.*found 1"),
        (lambda s: s.update(joint_ids_map=[0, 0]), "joint_ids_map: expected different indices"),
        (lambda s: s.update(joint_ids_map=[0, 1, 2]), "expected 3 joints, found 2 names: hip"),
        (lambda s: s.update(step_dt="fast"), "step_dt: expected a number, found 'fast'"),
        (lambda s: s.update(step_dt=0), "step_dt: expected a number above 0, found 0"),
        (
            lambda s: s["actions"]["JointPositionAction"].update(
                scale=[0.0, 1.0], clip=[[0, 1]] * 2
            ),
            "expected a scale other than 0 where targets are clipped",
        ),
        (
            lambda s: s["actions"]["JointPositionAction"].update(clip=[[0, 1]]),
            "expected a clip for each of 2 joints, found 1",
        ),
        (
            lambda s: s["actions"]["JointPositionAction"].update(
                joint_ids=[0], scale=[1], offset=[0]
            ),
            "expected 2 joints for the model's output actions",
        ),
        (
            lambda s: s["actions"]["JointPositionAction"].update(joint_ids=[0, 7]),
            r"joint_ids\[1\]: expected an index below 2, found 7",
        ),
        (
            lambda s: s["observations"].pop("last_action"),
            "expected terms of 10 values for the model's input obs, found 8: base_ang_vel 3, ",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(
    request_for: MakeRequest, edit: Callable[[Any], object], message: str
) -> None:
    with pytest.raises(ToolError, match=message):
        make_draft(request_for(DEPLOY, DEPLOY_WIDTH, edit=edit, joints="hip,knee"))


def test_an_unknown_term_comes_from_a_topic_of_its_width(request_for: MakeRequest) -> None:
    def scan(source: Any) -> None:
        source["observations"]["height_scan"] = {
            "params": {},
            "scale": [1.0] * 6,
            "clip": None,
            "history_length": 1,
        }

    draft = make_draft(request_for(DEPLOY, DEPLOY_WIDTH + 6, edit=scan, joints="hip,knee"))
    assert draft.find("observations.obs.terms")[-1] == {
        "term": "external",
        "topic": "height_scan",
        "size": 6,
    }
    assert any("height_scan" in remark for remark in draft.remarks)


@pytest.mark.parametrize(
    "ids", [None, "slice(None, None, None)", "slice(0,2,1)", slice(None), [0, 1]]
)
def test_a_slice_of_joints_is_those_joints(request_for: MakeRequest, ids: object) -> None:
    source: Any = copy.deepcopy(DEPLOY)
    source["actions"]["JointPositionAction"]["joint_ids"] = ids
    text = _with_slices(source)
    draft = make_draft(request_for(text, DEPLOY_WIDTH, joints="hip,knee"))
    assert draft.find("action.terms")[0]["joints"] == ["hip", "knee"]


@pytest.mark.parametrize("ids", ["slice(1, 2, None)", slice(1, 2)])
def test_a_term_that_reads_a_slice_of_the_joints_reads_no_others(
    request_for: MakeRequest, ids: object
) -> None:
    source: Any = copy.deepcopy(DEPLOY)
    term = source["observations"]["joint_pos_rel"]
    term |= {"params": {"asset_cfg": {"joint_ids": ids}}, "scale": [1.0]}
    draft = make_draft(request_for(_with_slices(source), DEPLOY_WIDTH - 1, joints="hip,knee"))
    assert draft.find("observations.obs.terms")[2] == {"term": "joint_pos_rel", "joints": ["knee"]}


@pytest.mark.parametrize("ids", ["slice(0)", "all", "slice(None, None, 0)"])
def test_other_words_for_joints_are_refused(request_for: MakeRequest, ids: str) -> None:
    def choose(source: Any) -> None:
        source["actions"]["JointPositionAction"]["joint_ids"] = ids

    with refusal(ToolError):
        make_draft(request_for(DEPLOY, DEPLOY_WIDTH, edit=choose, joints="hip,knee"))


def _with_slices(source: dict[str, Any]) -> str:
    """Return YAML with slices as the training's own writer leaves them."""

    class Writer(yaml.SafeDumper):
        pass

    def write(dumper: yaml.SafeDumper, value: slice) -> yaml.Node:
        return dumper.represent_sequence(
            "tag:yaml.org,2002:python/object/apply:builtins.slice",
            [value.start, value.stop, value.step],
        )

    Writer.add_representer(slice, write)
    return yaml.dump(source, Dumper=Writer, sort_keys=False)


@pytest.mark.parametrize("joints", ["go2", "FILE"])
def test_names_of_a_known_robot_come_from_its_motors_and_the_map(
    request_for: MakeRequest, tmp_path: Path, joints: str
) -> None:
    given = robot_file(tmp_path, urdf(*GO2_FILE)) if joints == "FILE" else joints
    draft = go2(request_for, tmp_path, given)
    assert draft.find("joints.names") == GO2_POLICY
    assert draft.find("joints.stiffness") == [3, 0, 9, 6, 4, 1, 10, 7, 5, 2, 11, 8]
    assert not [remark for remark in draft.remarks if "default_position" in remark]


def test_names_in_the_sdk_s_order_are_mapped(request_for: MakeRequest) -> None:
    draft = make_draft(request_for(DEPLOY, DEPLOY_WIDTH, joints="knee,hip", joint_order="sdk"))
    assert draft.find("joints.names") == ["hip", "knee"]
    assert draft.find("joints.stiffness") == [40.0, 20.0]


def test_an_unknown_robot_s_file_is_asked_about_with_each_order_that_it_could_be(
    request_for: MakeRequest, tmp_path: Path
) -> None:
    chains = [[name.replace("_joint", "") for name in names] for names in GO2_FILE]
    file = robot_file(tmp_path, urdf(*chains))
    with pytest.raises(ToolError) as caught:
        go2(request_for, tmp_path, file)
    shown = {line.partition(":")[0].strip(): line for line in str(caught.value).splitlines()[1:]}
    assert list(shown) == [f"--joint-order {order}" for order in ("listed", "breadth_first", "sdk")]
    assert "FL_hip, FL_thigh, FL_calf" in shown["--joint-order listed"]
    assert "left and right differ in default_joint_pos" in shown["--joint-order listed"]
    assert "FL_hip, FR_hip, RL_hip, RR_hip, FL_thigh" in shown["--joint-order breadth_first"]
    assert "left and right have like default_joint_pos" in shown["--joint-order breadth_first"]
    draft = go2(request_for, tmp_path, file, joint_order="breadth_first")
    assert draft.find("joints.names") == [name.removesuffix("_joint") for name in GO2_POLICY]


def test_unlike_defaults_of_left_and_right_are_noted(
    request_for: MakeRequest, tmp_path: Path
) -> None:
    listed = [name.removesuffix("_joint") for names in GO2_FILE for name in names]
    draft = go2(request_for, tmp_path, ",".join(listed))
    [noted] = [remark for remark in draft.remarks if "joints.default_position" in remark]
    assert "default_position: FL_thigh -0.1, FR_thigh 0.8; " in noted


@pytest.mark.parametrize("order", ["sdk", "listed", None])
def test_an_order_that_contradicts_that_of_a_known_robot_is_refused(
    request_for: MakeRequest, tmp_path: Path, order: str | None
) -> None:
    listed = ",".join(name for names in GO2_FILE for name in names)
    joints = listed if order is None else robot_file(tmp_path, urdf(*GO2_FILE))
    with refusal(ToolError):
        go2(request_for, tmp_path, joints, joint_order=order)


def test_the_order_of_a_known_robot_may_be_given_in_other_ways(
    request_for: MakeRequest, tmp_path: Path
) -> None:
    file = robot_file(tmp_path, urdf(*GO2_FILE))
    for joints, order in ((file, "breadth_first"), (",".join(GO2_POLICY), None)):
        draft = go2(request_for, tmp_path, joints, joint_order=order)
        assert draft.find("joints.names") == GO2_POLICY


def test_unlike_scales_of_left_and_right_are_noted(
    request_for: MakeRequest, tmp_path: Path
) -> None:
    model = save_policy(tmp_path / "go2.onnx", 12, 12)

    def uneven(source: Any) -> None:
        source["actions"]["JointPositionAction"]["scale"][0] = 0.125

    draft = make_draft(request_for(GO2, 0, edit=uneven, model=model, joints="go2"))
    assert any(
        "the scale of the action: FL_hip_joint 0.125, FR_hip_joint 0.25: see" in remark
        for remark in draft.remarks
    )


def test_a_default_pose_beyond_the_limits_is_noted_and_no_limit_is_called_wrong(
    request_for: MakeRequest, tmp_path: Path
) -> None:
    draft = go2(request_for, tmp_path, robot_file(tmp_path, urdf(*GO2_FILE, limit=1.2)))
    [noted] = [remark for remark in draft.remarks if "outside of the joints' limits" in remark]
    assert "FL_calf_joint -1.5, -1.2 to 1.2" in noted
    assert "limits are the robot's own, and stay" in noted


def test_a_file_with_the_joints_of_a_known_robot_and_more_is_no_known_robot(
    request_for: MakeRequest, tmp_path: Path
) -> None:
    # As with wheels at the feet, whose motors the known robot does not have.
    def wheels(source: Any) -> None:
        source["joint_ids_map"] = [3, 12]
        source |= {"stiffness": [20.0] * 16, "damping": [0.5] * 16}

    legs = [[*leg, leg[0].replace("hip", "foot")] for leg in GO2_FILE]
    with refusal(ToolError):
        make_draft(
            request_for(DEPLOY, DEPLOY_WIDTH, edit=wheels, joints=robot_file(tmp_path, urdf(*legs)))
        )


def test_a_file_with_one_order_alone_needs_no_word(
    request_for: MakeRequest, tmp_path: Path
) -> None:
    def plain(source: Any) -> None:
        source["joint_ids_map"] = [0, 1]

    file = robot_file(tmp_path, urdf(["hip", "knee"]))
    draft = make_draft(request_for(DEPLOY, DEPLOY_WIDTH, edit=plain, joints=file))
    assert draft.find("joints.names") == ["hip", "knee"]


def test_an_order_without_joints_is_refused(request_for: MakeRequest) -> None:
    with refusal(ToolError):
        make_draft(request_for(DEPLOY, DEPLOY_WIDTH, joint_order="sdk"))


@pytest.mark.parametrize(
    ("joints", "order", "message"),
    [
        ("go2", None, r"expected numbers of joints of go2, which has 12, found 12"),
        ("hip,knee", "breadth_first", r"--joint-order breadth_first: expected a URDF or MJCF file"),
        ("hip,knee", "sdk", r"expected numbers of joints of --joints, which has 2, found 12"),
    ],
)
def test_an_order_that_does_not_fit_is_refused(
    request_for: MakeRequest, joints: str, order: str | None, message: str
) -> None:
    def far(source: Any) -> None:
        source["joint_ids_map"] = [1, 12]
        source |= {"stiffness": [20.0] * 13, "damping": [0.5] * 13}

    with pytest.raises(ToolError, match=message):
        make_draft(request_for(DEPLOY, DEPLOY_WIDTH, edit=far, joints=joints, joint_order=order))


def test_gains_whose_order_the_file_leaves_open_are_asked_for(request_for: MakeRequest) -> None:
    # As of a G1 with 23 joints: as many gains as joints, and numbers of motors beyond them.
    def far(source: Any) -> None:
        source["joint_ids_map"] = [0, 15]

    draft = make_draft(request_for(DEPLOY, DEPLOY_WIDTH, edit=far, joints="hip,knee"))
    assert "the file has 2 values" in draft.todos()["joints.stiffness"]
    assert "motors up to 15" in draft.todos()["joints.damping"]


def test_a_robot_that_lacks_joints_of_its_family_is_known_by_those_that_the_policy_moves(
    request_for: MakeRequest, tmp_path: Path
) -> None:
    def waist(source: Any) -> None:
        source["joint_ids_map"] = [12, 3]
        source |= {"stiffness": [float(i) for i in range(29)], "damping": [1.0] * 29}

    file = robot_file(tmp_path, urdf(["left_knee_joint"], ["waist_yaw_joint", "head_joint"]))
    draft = make_draft(request_for(DEPLOY, DEPLOY_WIDTH, edit=waist, joints=file))
    assert draft.find("joints.names") == ["waist_yaw_joint", "left_knee_joint"]
    assert draft.find("joints.stiffness") == [12.0, 3.0]
