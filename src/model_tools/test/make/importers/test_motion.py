# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Policies that track a motion: what exporters leave behind becomes a bundle with a clip."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from model_tools.errors import ToolError
from model_tools.files.arrays import write_arrays
from model_tools.make.importers.anchor import anchor_chain
from model_tools.make.importers.import_bundle import ImportRequest, import_bundle, make_draft
from model_tools.prove.inspect.registry import inspect_path
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.clip import MotionClip
from policy_core.bundle.contract import Anchor, ChainLink, ReferenceMotion
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import F64
from policy_core.observation.clip_player import ClipPlayer
from testkit.wording import check_wording, refusal

from .conftest import ANSWERS, WriteRobot
from .small_runs import save, save_policy

FRAMES, JOINTS, BODIES = 7, ("hip", "knee"), ("trunk", "foot")
METADATA = {
    "joint_names": "hip,knee",
    "joint_stiffness": "20.000,40.000",
    "joint_damping": "0.500,1.500",
    "default_joint_pos": "0.100,-0.800",
    "action_scale": "0.250,0.500",
    "command_names": "motion",
    "observation_names": "command,motion_anchor_ori_b,base_ang_vel,joint_pos,joint_vel,actions",
    "anchor_body_name": "trunk",
    "body_names": "trunk,foot",
}
WIDTH = 4 + 6 + 3 + 2 + 2 + 2
OWN = [
    "rate_hz=50",
    "motion.at_end=hold",
    "motion.anchor.chain=[]",
    "observations.obs.terms[*].scale=1",
    "observations.obs.terms[4].term=joint_pos_rel",
    "action.terms[0].kind=position",
    "action.terms[0].offset=default_position",
]
ROBOT = """
<mujoco>
  <worldbody>
    <body name="base">
      <freejoint/>
      <geom type="mesh" mesh="absent"/>
      <body name="waist" pos="0.1 0 0.2" euler="10 20 30">
        <joint name="yaw" axis="0 0 1" pos="0.02 0.03 0"/>
        <body name="plate" pos="0 0.1 0">
          <body name="torso" pos="0.05 0 0.3" quat="0.8 0 0.6 0">
            <joint name="pitch" axis="0.6 0 0.8"/>
            <body name="head" pos="0 0 0.4"/>
          </body>
        </body>
        <body name="rail"><joint name="lift" type="slide"/><body name="hook"/></body>
      </body>
    </body>
  </worldbody>
  <asset><mesh name="absent" file="absent.stl"/></asset>
</mujoco>
"""


def tables() -> dict[str, F64]:
    random = np.random.default_rng(3)
    quat = random.normal(size=(FRAMES, 2, 4))
    joint_pos = np.array([0.1, -0.8]) + 0.01 * np.arange(FRAMES)[:, None] * [1.0, 2.0]
    return {
        "joint_pos": joint_pos,
        "joint_vel": random.normal(size=(FRAMES, 2)),
        "body_pos_w": random.normal(size=(FRAMES, 2, 3)),
        "body_quat_w": quat / np.linalg.norm(quat, axis=2, keepdims=True),
    }


def save_tracker(file: Path, **metadata: str) -> Path:
    """Save a model as BeyondMimic's exporter does: the frame at `time_step`, at most the last."""
    motion = tables()
    constants: dict[str, Any] = {
        "w": np.full((WIDTH, 2), 0.1, np.float32),
        "one": np.array([1], np.int64),
        "first": np.array(0, np.int64),
        "last": np.array(FRAMES - 1, np.int64),
        **{f"{name}_table": values.astype(np.float32) for name, values in motion.items()},
    }
    nodes = [
        helper.make_node("MatMul", ["obs", "w"], ["actions"]),
        helper.make_node("Cast", ["time_step"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Clip", ["whole", "first", "last"], ["known"]),
        helper.make_node("Reshape", ["known", "one"], ["frame"]),
    ]
    nodes += [
        helper.make_node("Gather", [f"{name}_table", "frame"], [name], axis=0) for name in motion
    ]
    outputs = {name: (1, *values.shape[1:]) for name, values in motion.items()}
    return save(
        file,
        nodes,
        {"obs": (1, WIDTH), "time_step": (1, 1)},
        {"actions": (1, 2), **outputs},
        constants,
        {**METADATA, **metadata},
    )


def tracker_answers(*but: str) -> list[str]:
    left_out = ("joints.stiffness", "joints.damping", "stand.position", *but)
    return [given for given in ANSWERS if given.partition("=")[0] not in left_out]


def check_clip(bundle: JointBundle) -> None:
    motion, clip = tables(), bundle.clip
    assert clip is not None
    quat_xyzw = np.roll(motion["body_quat_w"][:, 0], -1, axis=1)
    np.testing.assert_allclose(clip.joint_pos, motion["joint_pos"], atol=1e-6)
    np.testing.assert_allclose(clip.joint_vel, motion["joint_vel"], atol=1e-6)
    np.testing.assert_allclose(clip.anchor_pos, motion["body_pos_w"][:, 0], atol=1e-6)
    np.testing.assert_allclose(clip.anchor_quat_xyzw, quat_xyzw, atol=1e-6)


def test_the_motion_inside_a_model_becomes_the_bundle_s_clip(tmp_path: Path) -> None:
    model = save_tracker(tmp_path / "policy.onnx")
    request = ImportRequest(source=model, answers=[*tracker_answers(), *OWN])
    assert import_bundle(request, tmp_path / "bundle").todos() == {}
    bundle = load_bundle(tmp_path / "bundle", kind=JointBundle)
    check_clip(bundle)
    assert bundle.contract.stand.position.tolist() == [0.1, -0.8]
    terms = [term.term for term in bundle.contract.observations["obs"].terms]
    assert terms[:3] == ["motion_joint_pos", "motion_joint_vel", "motion_anchor_ori_b"]


def save_tracker_of_holosoma(file: Path) -> Path:
    """Save a model as holosoma's exporter does: the pose of the anchor, and no names of bodies."""
    model = onnx.load(save_tracker(file))
    names = {"body_pos_w": "ref_pos_xyz", "body_quat_w": "ref_quat_xyzw"}
    for table in model.graph.initializer:
        base = table.name.removesuffix("_table")
        if base in names:
            values = numpy_helper.to_array(table)[:, 0]
            if base == "body_quat_w":
                values = np.roll(values, -1, axis=1)
            table.CopyFrom(numpy_helper.from_array(values.copy(), table.name))
    for node in model.graph.node:
        node.output[:] = [names.get(name, name) for name in node.output]
    for output in model.graph.output:
        if output.name in names:
            output.name = names[output.name]
            del output.type.tensor_type.shape.dim[1]
    for entry in list(model.metadata_props):
        if entry.key in ("body_names", "anchor_body_name"):
            model.metadata_props.remove(entry)
    onnx.save(model, str(file))
    return file


def test_the_pose_of_the_anchor_alone_inside_a_model_becomes_the_bundle_s_clip(
    tmp_path: Path,
) -> None:
    model = save_tracker_of_holosoma(tmp_path / "policy.onnx")
    terms = (
        "observations.obs.terms=[{term: motion_joint_pos}, {term: motion_joint_vel}, "
        "{term: motion_anchor_ori_b}, {term: base_ang_vel}, {term: joint_pos_rel}, "
        "{term: joint_vel}, {term: last_action}]"
    )
    own = [answer for answer in OWN if not answer.startswith("observations.")]
    given = [*tracker_answers(), *own, terms]
    asked = make_draft(ImportRequest(source=model, answers=given)).todos()
    assert "motion.anchor.body" in asked["motion.clip"]
    given.append("motion.anchor.body=trunk")
    request = ImportRequest(source=model, answers=given)
    assert import_bundle(request, tmp_path / "bundle").todos() == {}
    check_clip(load_bundle(tmp_path / "bundle", kind=JointBundle))


def test_golden_rows_go_through_the_motion(tmp_path: Path) -> None:
    """In each of them the model answers with the frame of its tick."""
    chain = "motion.anchor.chain=[{joint: hip, position_m: [0, 0, 1]}]"
    model = save_tracker(tmp_path / "policy.onnx")
    request = ImportRequest(source=model, answers=[*tracker_answers(), *OWN, chain])
    import_bundle(request, tmp_path / "bundle")
    contract = {key: value for key, value, _ in inspect_path(tmp_path / "bundle").tables[0].rows}
    assert {"motion.clip", "motion.at_end", "motion.anchor.body"} <= contract.keys()
    golden = load_bundle(tmp_path / "bundle", kind=JointBundle).golden()
    frames = np.minimum(golden["time_step"].ravel().astype(int), FRAMES - 1)
    assert {*frames} == {*range(FRAMES)}
    found = golden["joint_pos"].astype(np.float64)
    np.testing.assert_allclose(found, tables()["joint_pos"][frames], atol=1e-6)


def test_what_a_tracker_does_not_state_is_asked_for(tmp_path: Path) -> None:
    model = save_tracker(tmp_path / "policy.onnx")
    todos = make_draft(ImportRequest(source=model)).todos()
    assert {"rate_hz", "motion.at_end", "motion.anchor.chain"} <= {*todos}
    content = onnx.load(model)
    nameless = [prop for prop in content.metadata_props if prop.key != "body_names"]
    del content.metadata_props[:]
    content.metadata_props.extend(nameless)
    onnx.save(content, str(model))
    rate = ImportRequest(source=model, answers=["rate_hz=50"])
    bare = save_policy(tmp_path / "bare.onnx", WIDTH, 2, metadata=METADATA)
    asked = [make_draft(each).todos() for each in (rate, ImportRequest(source=bare))]
    check_wording(*(each["motion.clip"] for each in (todos, *asked)))


def clip_file(file: Path, names: Sequence[str] = JOINTS) -> Path:
    named = {"joint_names": np.array(names), "body_names": np.array(BODIES)}
    write_arrays(file, {"fps": np.array(50), **named, **tables()})
    return file


def test_a_clip_of_the_user_becomes_the_bundle_s(tmp_path: Path) -> None:
    model = save_policy(tmp_path / "policy.onnx", WIDTH, 2, metadata=METADATA)
    request = ImportRequest(
        source=model, motion=clip_file(tmp_path / "mine.npz"), answers=[*tracker_answers(), *OWN]
    )
    assert import_bundle(request, tmp_path / "bundle").todos() == {}
    bundle = load_bundle(tmp_path / "bundle", kind=JointBundle)
    check_clip(bundle)
    assert bundle.contract.stand.position.tolist() == [0.1, -0.8]


def test_a_command_with_a_history_is_refused(tmp_path: Path) -> None:
    lengths = {"observation_history_lengths": "2,1,1,1,1,1"}
    model = save_policy(tmp_path / "policy.onnx", WIDTH + 4, 2, metadata={**METADATA, **lengths})
    with refusal(ToolError):
        make_draft(ImportRequest(source=model))


def pose_at(chain: Sequence[dict[str, object]], names: Sequence[str], joint_pos: F64) -> F64:
    """Return the first two columns of the orientation that a policy sees at the end of a chain.

    The reference is level and the base too, so this is the inverse of the anchor's rotation.
    """
    links = tuple(ChainLink(**link) for link in chain)  # type: ignore[arg-type]  # as YAML gives it
    motion = ReferenceMotion(at_end="hold", anchor=Anchor(body="a", chain=links))
    level = np.tile([0.0, 0.0, 0.0, 1.0], (2, 1))
    clip = MotionClip(
        joint_pos=np.zeros((2, len(names))),
        joint_vel=np.zeros((2, len(names))),
        anchor_pos=np.zeros((2, 3)),
        anchor_quat_xyzw=level,
    )
    state = {"quat_xyzw": level[0], "pos_world": np.zeros(3), "joint_pos": np.zeros(len(names))}
    outputs = {("motion_anchor_pos", 0): np.zeros(3), ("motion_anchor_ori", 0): np.zeros(6)}
    player = ClipPlayer(clip, motion, names, state, outputs)
    player.write()
    state["joint_pos"][:] = joint_pos
    player.write()
    return np.concatenate([*outputs.values()])


def seen_in(model: mujoco.MjModel, body: str, names: Sequence[str], joint_pos: F64) -> F64:
    """Return the same as MuJoCo's kinematics have it."""
    poses = []
    for angles in (np.zeros(len(names)), joint_pos):
        data = mujoco.MjData(model)
        data.qpos[:7] = (0, 0, 0, 1, 0, 0, 0)
        for name, angle in zip(names, angles, strict=True):
            data.qpos[model.joint(name).qposadr[0]] = angle
        mujoco.mj_kinematics(model, data)
        poses.append((data.body(body).xpos.copy(), data.body(body).xmat.reshape(3, 3).copy()))
    (origin, first), (place, turn) = poses
    heading = np.arctan2(first[1, 0], first[0, 0])
    level = np.array(
        [[np.cos(heading), -np.sin(heading), 0], [np.sin(heading), np.cos(heading), 0], [0, 0, 1]]
    )
    relative = turn.T @ level
    return np.concatenate([turn.T @ (origin - place), relative[:, :2].ravel()])


def test_offsets_of_joints_and_bodies_without_joints_are_part_of_the_way(tmp_path: Path) -> None:
    file, names = tmp_path / "robot.xml", ("yaw", "pitch", "lift")
    file.write_text(ROBOT, "utf-8")
    chain = anchor_chain(file, "head")
    spec = mujoco.MjSpec.from_string(ROBOT)
    for part in (*spec.geoms, *spec.meshes):
        spec.delete(part)
    for body in spec.bodies[1:]:
        body.explicitinertial, body.mass, body.inertia = True, 1.0, [1.0, 1.0, 1.0]
    model = spec.compile()
    for angles in np.random.default_rng(2).uniform(-2.0, 2.0, (20, 3)):
        expected = seen_in(model, "head", names, angles)
        np.testing.assert_allclose(pose_at(chain, names, angles), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "body"),
    [(ROBOT, "tail"), (ROBOT, "hook"), ("<mujoco><worldbody><body", "torso")],
    ids=("no such body", "behind a slide", "no robot"),
)
def test_an_anchor_that_the_robot_cannot_have_is_refused(
    robot_file: WriteRobot, text: str, body: str
) -> None:
    with refusal(ToolError):
        anchor_chain(Path(robot_file(text)), body)
