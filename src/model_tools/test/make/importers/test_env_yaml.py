# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from model_tools import cli
from model_tools.errors import ToolError
from model_tools.files.foreign import parse_foreign_yaml
from model_tools.make.importers.import_bundle import make_draft
from testkit.kernel.contracts import quat_xyzw
from testkit.wording import check_wording, refusal

from .conftest import ANSWERS, MakeRequest
from .small_runs import ENV, ENV_WIDTH

JOINTS = "hip,knee"


TARGETS = {"kind": "position", "offset": "default_position"}
LISTED = ENV.replace("joint_names: .*\n", "joint_names: [knee, hip]\n").replace(
    "preserve_order: false", "preserve_order: true"
)


def test_patterns_are_resolved_and_the_action_keeps_its_own_order(request_for: MakeRequest) -> None:
    draft = make_draft(request_for(ENV, ENV_WIDTH, joints=JOINTS))
    assert draft.find("joints.names") == ["hip", "knee"]
    assert draft.find("joints.default_position") == [0.1, -0.8]
    assert draft.find("joints.effort_limit") == [30.0, 40.0]
    assert draft.find("joints.velocity_limit") == [20.0, 20.0]
    assert draft.find("rate_hz") == 50.0
    assert draft.find("observations.obs.terms") == [
        {"term": "base_ang_vel", "scale": 0.25, "clip": [-3.0, 3.0]},
        {"term": "velocity_command"},
        {"term": "joint_pos_rel"},
        {"term": "last_action"},
    ]
    assert draft.find("velocity_command.max") == [1.0, 0.5, 1.5]
    todos = draft.todos()
    assert {"joints.damping", "joints.position_min", "joints.position_max"} <= set(todos)
    assert "joints.stiffness" not in todos


def test_the_order_of_the_joints_is_noted(request_for: MakeRequest) -> None:
    draft = make_draft(request_for(ENV, ENV_WIDTH, joints=JOINTS))
    check_wording(*(remark for remark in draft.remarks if "joints.names is" in remark))


def test_velocity_commands_have_no_default_position_as_offset(request_for: MakeRequest) -> None:
    wheels = ENV.replace("JointPositionAction", "JointVelocityAction")
    (term,) = make_draft(request_for(wheels, ENV_WIDTH, joints=JOINTS)).find("action.terms")
    assert (term["kind"], term.get("offset")) == ("velocity", None)


MOVING = ENV.replace(
    "    command:\n",
    "    base:\n      func: omni.isaac.lab.envs.mdp.observations:base_lin_vel\n      params: {}\n"
    "    command:\n",
)
SOURCE = "observations.obs.terms[1].source"


@pytest.mark.parametrize("robot", [None, Path("go2")])
def test_the_source_of_the_base_velocity_is_asked_for(
    request_for: MakeRequest, robot: Path | None
) -> None:
    renamed = {"joints.robot_names": "{hip: FL_hip_joint, knee: FL_calf_joint}"}
    answers = [f"{key}={value}" for key, value in renamed.items()] if robot else []
    request = request_for(MOVING, ENV_WIDTH + 3, joints=JOINTS, robot=robot, answers=answers)
    check_wording(make_draft(request).todos()[SOURCE])


def test_a_measured_base_velocity_is_stated_and_one_without_source_refused(
    request_for: MakeRequest,
) -> None:
    request = request_for(MOVING, ENV_WIDTH + 3, joints=JOINTS)
    draft = make_draft(replace(request, answers=[f"{SOURCE}=measured"]))
    assert SOURCE not in draft.todos()
    for source in ("none", "estimator"):  # the second without a robot's legs
        with refusal(ToolError):
            make_draft(replace(request, answers=[f"{SOURCE}={source}"]))


@pytest.mark.parametrize(
    ("old", "new", "term"),
    [
        ("order: true", "order: false", {"joints": ["hip", "knee"], "scale": [0.5, 0.25]}),
        (
            ", knee: 0.25",
            ", '^(?!.*hip).*$': 0.25",
            {"joints": ["knee", "hip"], "scale": [0.25, 0.5]},
        ),
    ],
)
def test_the_action_has_its_own_order_or_the_simulator_s(
    request_for: MakeRequest, old: str, new: str, term: dict[str, Any]
) -> None:
    draft = make_draft(request_for(ENV.replace(old, new), ENV_WIDTH, joints=JOINTS))
    assert draft.find("action.terms") == [{**TARGETS, **term}]


@pytest.mark.parametrize(
    ("joints", "old", "new"),
    [
        (JOINTS, ".*hip: 0.1", ".*ankle: 0.1"),
        (JOINTS, "joint_vel: {.*: 0.0}", "joint_vel: {.*: 0.5}"),
        (JOINTS, "decimation: 4", "decimation: 4\nrate: !!python/name:os.system ''"),
        (JOINTS, "sim: {dt: 0.005}", "sim: {}"),
        (JOINTS, "sim: {dt: 0.005}", "sim: {mujoco: {timestep: 0.005}}"),
        (JOINTS, "[knee, hip]\n    scale", "[knee, hip, toe]\n    scale"),
        (JOINTS, ENV[ENV.index("[null, null") + 6 :], ""),
        ("hip_joint,knee_joint", "decimation: 4", "decimation: 4"),
        (None, "decimation: 4", "decimation: 4"),
        ("g1", "decimation: 4", "decimation: 4"),
        (None, ENV, LISTED.replace("order: true\n    use", "order: false\n    use")),
    ],
    ids=range(11),
)
def test_a_wrong_file_or_an_order_that_nothing_says_is_refused(
    request_for: MakeRequest, joints: str | None, old: str, new: str
) -> None:
    assert ENV.count(old) == 1
    with refusal(ToolError):
        make_draft(request_for(ENV.replace(old, new), ENV_WIDTH, joints=joints))


def test_an_action_of_the_training_s_own_code_is_a_question_that_names_it(
    request_for: MakeRequest,
) -> None:
    own = "  joint_pos:\n    class_type: my_lab.mdp:GaitAction\n    gaits: 3\ncommands:"
    source = ENV[: ENV.index("  joint_pos:\n    class_type")] + own + ENV.split("commands:")[1]
    todos = make_draft(request_for(source, ENV_WIDTH, joints=JOINTS)).todos()
    check_wording(todos["action.terms"])
    terms = "action.terms=[{joints: [hip, knee], kind: position, scale: 0.5}]"
    draft = make_draft(request_for(source, ENV_WIDTH, joints=JOINTS, answers=[terms]))
    assert not [key for key in draft.todos() if key.startswith("action")]


def rover() -> str:
    """Return an environment like robot_lab's, whose knee is a wheel."""
    wheel = """
  wheels:
    class_type: isaaclab.envs.mdp.actions.joint_actions:JointVelocityAction
    joint_names: [knee]
    scale: 5.0
    preserve_order: true
commands:"""
    legs = "joint_names: [knee, hip]\n    scale: {.*hip: 0.5, knee: 0.25}"
    return (
        ENV.replace(legs, "joint_names: [hip]")
        .replace("mdp.observations:joint_pos_rel", "mdp:joint_pos_rel_without_wheel")
        .replace("\ncommands:", wheel)
    )


def test_the_positions_of_wheels_are_left_out_as_robot_lab_does(request_for: MakeRequest) -> None:
    draft = make_draft(request_for(rover(), ENV_WIDTH, joints=JOINTS))
    assert [term["kind"] for term in draft.find("action.terms")] == ["position", "velocity"]
    assert draft.find("observations.obs.terms")[2]["scale"] == [1.0, 0.0]


def test_zeros_at_the_places_of_other_joints_are_a_question(request_for: MakeRequest) -> None:
    """robot_lab has them at the wheels' places in the simulator, also in another order."""
    text = rover().replace(
        "joint_names: .*\n          joint_ids: !!python/object/apply:builtins.slice "
        "[null, null, null]\n          preserve_order: false",
        "joint_names: [hip, knee]\n          preserve_order: true",
    )
    in_order = make_draft(request_for(text, ENV_WIDTH, joints="hip,knee"))
    assert in_order.find("observations.obs.terms")[2]["scale"] == [1.0, 0.0]
    swapped = make_draft(request_for(text, ENV_WIDTH, joints="knee,hip"))
    assert "observations.obs.terms[2].scale" in swapped.todos()
    unknown = make_draft(request_for(text, ENV_WIDTH))
    assert "observations.obs.terms[2].scale" in unknown.todos()


def test_a_function_that_may_be_a_phase_is_asked_about(request_for: MakeRequest) -> None:
    clock = 'clock: {func: "my_lab.mdp:phase", params: {cycle_time: 0.8, command_name: velocity}}'
    source, term = ENV.replace("unused: null", clock), "observations.obs.terms[4]"
    draft = make_draft(request_for(source, ENV_WIDTH + 2, joints=JOINTS))
    assert draft.find("observations.obs.terms")[4]["period_s"] == 0.8
    source = source.replace("cycle_time: 0.8, ", "")
    unknown = make_draft(request_for(source, ENV_WIDTH + 2, joints=JOINTS)).todos()
    parts, standing = (draft.todos()[f"{term}.{key}"] for key in ("parts", "standing"))
    check_wording(parts, standing, unknown[f"{term}.term"])


def test_a_command_that_is_no_velocity_comes_from_a_topic_as_wide_as_the_model_says(
    request_for: MakeRequest,
) -> None:
    source = ENV.replace("velocity_command:UniformVelocityCommand", "pose:PoseCommand")
    draft = make_draft(request_for(source, ENV_WIDTH + 4, joints=JOINTS))
    assert draft.find("observations.obs.terms")[1] == {
        "term": "external",
        "topic": "base_velocity_command",
        "size": 7,
    }
    assert any("PoseCommand" in remark for remark in draft.remarks)


def test_joints_that_are_listed_everywhere_need_no_order_from_the_user(
    request_for: MakeRequest,
) -> None:
    draft = make_draft(request_for(LISTED, ENV_WIDTH))
    assert draft.find("joints.names") == ["knee", "hip"]
    assert draft.find("joints.default_position") == [-0.8, 0.1]


def test_a_file_whose_order_is_lost_is_refused(request_for: MakeRequest) -> None:
    source = parse_foreign_yaml(ENV, "a test")
    shuffled = yaml.safe_dump(json.loads(json.dumps(source, default=str)), sort_keys=True)
    with refusal(ToolError):
        make_draft(request_for(shuffled, ENV_WIDTH, joints=JOINTS))


SCANNER = """
  scanner:
    class_type: isaaclab.sensors.ray_caster.ray_caster:RayCaster
    prim_path: "{ENV_REGEX_NS}/Robot/base"
    offset: {pos: !!python/tuple [0.1, 0.0, 20.0], rot: !!python/tuple [1.0, 0.0, 0.0, 0.0]}
    ray_alignment: yaw
    pattern_cfg:
      func: isaaclab.sensors.ray_caster.patterns.patterns:grid_pattern
      resolution: 0.1
      size: [1.6, 1.0]
      ordering: xy
"""
SCAN = """    scan:
      func: isaaclab.envs.mdp.observations:height_scan
      params: {offset: 0.4, sensor_cfg: {name: scanner}}
      clip: !!python/tuple [-1.0, 1.0]
      scale: null
      history_length: 0
"""


def scanned(*edits: tuple[str, str]) -> str:
    """Return an environment whose policy sees a height scan last."""
    text = ENV.replace("scene:\n", f"scene:{SCANNER}", 1).replace(
        "    unused: null\n", f"{SCAN}    unused: null\n", 1
    )
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    return text


def test_a_height_scan_is_what_its_ray_caster_says_and_the_rest_is_asked_for(
    request_for: MakeRequest,
) -> None:
    draft = make_draft(request_for(scanned(), ENV_WIDTH + 187, joints=JOINTS))

    term = draft.find("observations.obs.terms")[-1]
    assert (term["term"], term["topic"], term["clip"]) == (
        "height_scan",
        "perception/scan",
        [-1.0, 1.0],
    )
    stated = {key: value for key, value in term["scan"].items() if not isinstance(value, dict)}
    assert stated == {
        "alignment": "yaw",
        "heading": "rotated_x",
        "value": "frame_minus_ground",
        "offset_m": 0.4,
        "reach_m": None,
        "miss": None,
    }
    assert term["scan"]["grid"] == {
        "size_m": [1.6, 1.0],
        "resolution_m": [0.1, 0.1],
        "centre_m": [0.1, 0.0],
        "order": "x_fastest",
        "x": "ascending",
        "y": "ascending",
    }
    asked = {key.rpartition(".")[2] for key in draft.todos() if ".scan." in key}
    assert asked == {
        "origin_m",
        "invalid",
        "max_invalid_ratio",
        "map_timeout_s",
        "pose_timeout_s",
        "layer",
    }


CAMERA = """
  camera:
    class_type: isaaclab.sensors.camera.tiled_camera:TiledCamera
    update_period: 0.1
    height: 4
    width: 6
"""
IMAGE = """    front:
      func: isaaclab.envs.mdp.observations:image
      params: {sensor_cfg: {name: camera}, data_type: rgb, normalize: true}
      clip: null
      scale: null
      history_length: 0
"""


def test_a_colour_image_is_what_its_camera_says_and_the_rest_is_asked_for(
    request_for: MakeRequest,
) -> None:
    text = scanned((SCANNER, CAMERA), (SCAN, IMAGE))
    draft = make_draft(request_for(text, ENV_WIDTH + 72, joints=JOINTS))
    term = draft.find("observations.obs.terms")[-1]
    assert (term["term"], term["topic"]) == ("image", "perception/front")
    stated = {key: value for key, value in term["image"].items() if not isinstance(value, dict)}
    assert stated == {
        "camera_size": [4, 6],
        "size": [4, 6],
        "steps": [],
        "rate_hz": 10.0,
        "channels": "rgb",
        "layout": "channels_last",
        "scaled_to": [0.0, 1.0],
        "centre": "image",
    }
    asked = {key.rpartition(".")[2] for key in draft.todos() if ".image." in key}
    assert asked == {"latency_s", "max_age_s", "on_stale"}


def test_a_depth_image_is_what_its_camera_says_and_the_rest_is_asked_for(
    request_for: MakeRequest,
) -> None:
    depth = IMAGE.replace("rgb", "distance_to_camera")
    text = scanned((SCANNER, CAMERA), (SCAN, depth))
    draft = make_draft(request_for(text, ENV_WIDTH + 24, joints=JOINTS))
    term = draft.find("observations.obs.terms")[-1]
    depth_m = term["depth"]
    assert (term["term"], depth_m["measure"], depth_m["values"]) == ("depth", "distance", "metres")
    assert (depth_m["invalid_m"], depth_m["too_far_m"]) == (0.0, 0.0)
    asked = {key.rpartition(".")[2] for key in draft.todos() if ".depth." in key}
    assert asked == {"latency_s", "max_age_s", "on_stale", "max_invalid_ratio"}


def test_a_scan_of_the_training_becomes_the_scene_of_the_term(
    request_for: MakeRequest, tmp_path: Path
) -> None:
    file = tmp_path / "beside_a_step.npz"
    file.write_bytes(b"arrays")
    request = replace(request_for(scanned(), ENV_WIDTH + 187, joints=JOINTS), scene=file)
    draft = make_draft(request)
    scene = draft.find("observations.obs.terms")[-1]["scene"]
    assert draft.beside[scene["file"]] == b"arrays"
    blind = replace(request_for(ENV, ENV_WIDTH, joints=JOINTS), scene=file)
    with refusal(ToolError):
        make_draft(blind)


SCAN_ANSWERS = {
    "origin_m": "[0, 0, 0]",
    "invalid": "nearest",
    "max_invalid_ratio": "0.2",
    "map_timeout_s": "0.5",
    "pose_timeout_s": "0.1",
    "layer": "elevation",
}


def scene_of_a_step() -> dict[str, Any]:
    """Return what the training's scan has seen of a step."""
    position, yaw = np.array([1.0, 2.0, 0.35]), 0.6
    along, across = np.meshgrid(np.linspace(-0.7, 0.9, 17), np.linspace(-0.5, 0.5, 11))
    turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
    xy = position[:2] + np.column_stack([along.ravel(), across.ravel()]) @ turn.T
    hits = np.column_stack([xy, np.where(xy[:, 1] > 2.1, 0.2, 0.03 * xy[:, 0])])
    return {
        "hits": hits,
        "position": position,
        "quat_xyzw": np.array(quat_xyzw(0.3, 0.2, yaw)),
        "values": np.clip(position[2] - hits[:, 2] - 0.4, -1.0, 1.0),
    }


@pytest.mark.parametrize(
    ("change", "status", "names_scene"),
    [
        ({}, 0, False),
        ({"values": np.zeros(187)}, 4, False),
        ({"quat_xyzw": np.roll(quat_xyzw(0.3, 0.2, 0.6), 1)}, 4, True),
        (None, 4, True),
        (b"arrays", 4, True),
    ],
    ids=["fits", "other values", "w first", "no file", "no arrays"],
)
def test_a_bad_scene_ends_the_import_as_a_bad_file_and_is_named(
    request_for: MakeRequest,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    change: dict[str, Any] | bytes | None,
    status: int,
    names_scene: bool,
) -> None:
    request = request_for(scanned(), ENV_WIDTH + 187)
    file, output = tmp_path / "beside_a_step.npz", tmp_path / "out"
    if isinstance(change, dict):
        np.savez(file, **{**scene_of_a_step(), **change})
    elif change is not None:
        file.write_bytes(change)
    answers = [
        *ANSWERS,
        *(f"observations.obs.terms[4].scan.{key}={value}" for key, value in SCAN_ANSWERS.items()),
    ]
    given = [word for answer in answers for word in ("--set", answer)]
    words = [str(request.source), "--model", str(request.model), "--joints", JOINTS]
    words += ["--scene", str(file), "--output", str(output), *given]
    assert cli.main(["import", *words]) == status, caplog.messages
    assert output.exists() == (status == 0)
    if status:
        assert (str(file) in caplog.messages[-1]) == names_scene
        assert "scan_scene.npz" not in caplog.messages[-1]
        check_wording(caplog.messages[-1])


@pytest.mark.parametrize(
    ("old", "new", "key", "value"),
    [
        ("ordering: xy", "ordering: yx", "order", "y_fastest"),
        ("ray_alignment: yaw", "ray_alignment: base", "alignment", "base"),
        ("ray_alignment: yaw", "attach_yaw_only: false", "alignment", "base"),
        ("offset: 0.4, ", "", "offset_m", 0.5),
        ("ray_alignment: yaw", "ray_alignment: yaw\n    max_distance: 25.0", "reach_m", 5.0),
        ("ray_alignment: yaw", "ray_alignment: yaw\n    max_distance: 25.0", "miss", -1.0),
    ],
)
def test_another_ray_caster_is_another_scan(
    request_for: MakeRequest, old: str, new: str, key: str, value: object
) -> None:
    draft = make_draft(request_for(scanned((old, new)), ENV_WIDTH + 187, joints=JOINTS))
    scan = draft.find("observations.obs.terms")[-1]["scan"]
    assert {**scan, **scan["grid"]}[key] == value


def test_whole_frames_of_history_are_a_question(request_for: MakeRequest) -> None:
    assert ENV.count("history_length: null\n    gyro") == 1
    whole = "history_length: 3\n    flatten_history_dim: false\n    gyro"
    source = ENV.replace("history_length: null\n    gyro", whole)
    todos = make_draft(request_for(source, 3 * ENV_WIDTH, joints=JOINTS)).todos()
    assert "flatten_history_dim" in todos["observations"]


def test_joints_by_index_alone_are_refused(request_for: MakeRequest) -> None:
    every = (
        "joint_names: .*\n          "
        "joint_ids: !!python/object/apply:builtins.slice [null, null, null]"
    )
    assert ENV.count(every) == 1
    indices = "joint_names: null\n          joint_ids: [1, 0]"
    with refusal(ToolError):
        make_draft(request_for(ENV.replace(every, indices), ENV_WIDTH, joints=JOINTS))
