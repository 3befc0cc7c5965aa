# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Files of real training runs: imported and answered, they give the recorded rows again."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml

from model_tools.errors import ToolError
from model_tools.make.importers.import_bundle import ImportRequest, import_bundle, make_draft
from model_tools.make.importers.unitree_joints import SDK_JOINTS
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import F32, Backend
from policy_core.members.joint import JointPolicy
from policy_core.observation.state import RobotState
from policy_inference.backends.onnx import OnnxBackend
from testkit.wording import refusal

from .conftest import ANSWERS
from .small_runs import save, save_policy

pytestmark = pytest.mark.real_data

TOLERANCE = 1e-5
XYZW_OF_WXYZ = (1, 2, 3, 0)
LITE3_DEFAULT = [0.0, -0.65, 1.30] * 4
GO2_JOINTS = ",".join(
    f"{leg}_{part}_joint" for part in ("hip", "thigh", "calf") for leg in ("FL", "FR", "RL", "RR")
)
RANGE = ("velocity_command.min=[-0.8, -0.8, -0.8]", "velocity_command.max=[0.8, 0.8, 0.8]")

NO_CLIPS = ("observations.obs.clip=null", "action.terms[*].clip=null")
"""What the training's `agent.yaml`, which is not among the files, would state."""

Recording = Mapping[str, np.ndarray[Any, np.dtype[Any]]]


@pytest.fixture
def legged(shared_data: Path) -> Path:
    return shared_data / "legged"


def answers_but(*, but: Sequence[str] = ()) -> list[str]:
    return [given for given in ANSWERS if given.partition("=")[0] not in but]


@contextmanager
def imported(
    request: ImportRequest, folder: Path
) -> Iterator[tuple[RobotState, JointPolicy, Backend]]:
    """Import a bundle with every answer, and open its policy."""
    assert import_bundle(request, folder).todos() == {}
    bundle = load_bundle(folder, kind=JointBundle)
    model = bundle.contract.model
    backend = OnnxBackend(bundle.artifact("onnx")[1], model.input_specs, model.output_specs)
    state = RobotState(bundle.contract)
    yield state, JointPolicy(bundle, backend, state), backend
    backend.close()


def sense(state: RobotState, recording: Recording, row: int) -> None:
    for field, key in (
        ("joint_pos", "joint_pos"),
        ("joint_vel", "joint_vel"),
        ("ang_vel_body", "ang_vel_body"),
        ("velocity_command", "command"),
    ):
        state[field][:] = recording[key][row]
    if state.get("quat_xyzw") is not None:
        state["quat_xyzw"][:] = recording["quat_wxyz"][row, XYZW_OF_WXYZ]
    state.derive()


def replayed_rows(
    state: RobotState,
    policy: JointPolicy,
    backend: Backend,
    recording: Recording,
    previous: F32,
    rows: Sequence[int],
) -> tuple[F32, F32]:
    """Return observations and actions of the recorded sensors and previous actions."""
    observations, actions = [], []
    for row in rows:
        sense(state, recording, row)
        state["last_action"][:] = previous[row]
        assert policy.infer()
        observations.append(backend.inputs["obs"][0].copy())
        actions.append(backend.outputs["actions"][0].copy())
    return np.array(observations), np.array(actions)


def test_unitree_s_go2_gives_its_golden_rows_from_their_sensors(
    legged: Path, tmp_path: Path
) -> None:
    folder = legged / "go2_isaaclab"
    request = ImportRequest(
        source=folder / "deploy.yaml",
        model=folder / "policy.onnx",
        joints=GO2_JOINTS,
        robot=folder / "go2.xml",
        answers=answers_but(
            but=(
                "joints.stiffness",
                "joints.damping",
                "joints.position_min",
                "joints.position_max",
                "joints.effort_limit",
            )
        ),
    )
    golden = dict(np.load(folder / "golden.npz"))
    with imported(request, tmp_path / "go2") as (state, policy, backend):
        # The rows do not follow each other in time: each has its own previous action.
        rows = range(len(golden["obs"]))
        found = replayed_rows(state, policy, backend, golden, golden["obs"][:, -12:], rows)
    np.testing.assert_allclose(found[0], golden["obs"], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(found[1], golden["actions"], rtol=0, atol=TOLERANCE)
    contract = load_bundle(tmp_path / "go2", kind=JointBundle).contract
    assert contract.joints.names == tuple(golden["joint_names"])
    assert contract.joints.stiffness.tolist() == [25.0] * 12
    assert contract.joints.effort_limit.tolist() == [23.5] * 12


def previous_actions(recording: Recording) -> F32:
    first: F32 = np.zeros_like(recording["action"][:1])
    return np.concatenate([first, recording["action"][:-1]])


def test_metadata_in_the_lite3_s_model_give_its_golden_rows(legged: Path, tmp_path: Path) -> None:
    recording = dict(np.load(legged / "lite3" / "rollout_50hz.npz"))
    golden = np.load(legged / "lite3" / "golden.npz")
    names = (
        "base_ang_vel",
        "projected_gravity",
        "velocity_commands",
        "joint_pos",
        "joint_vel",
        "actions",
    )
    model = onnx.load(str(legged / "lite3" / "policy.onnx"))
    onnx.helper.set_model_props(
        model,
        {
            "joint_names": ",".join(recording["joint_names"]),
            "observation_names": ",".join(names),
            "joint_stiffness": ",".join(["30.000"] * 12),
            "joint_damping": ",".join(["1.000"] * 12),
            "default_joint_pos": ",".join(map(str, LITE3_DEFAULT)),
            "action_scale": ",".join(["0.125", "0.25", "0.25"] * 4),
        },
    )
    onnx.save(model, str(tmp_path / "policy.onnx"))
    terms = "observations.obs.terms"
    request = ImportRequest(
        source=tmp_path / "policy.onnx",
        answers=[
            *answers_but(but=("joints.stiffness", "joints.damping")),
            *RANGE,
            "rate_hz=50",
            f"{terms}[*].scale=1",
            f"{terms}[0].scale=0.25",
            f"{terms}[4].scale=0.05",
            f"{terms}[3].term=joint_pos_rel",
            "action.terms[0].kind=position",
            "action.terms[0].offset=default_position",
        ],
    )
    with imported(request, tmp_path / "lite3") as (state, policy, backend):
        found = replayed_rows(
            state, policy, backend, recording, previous_actions(recording), golden["index"].tolist()
        )
    np.testing.assert_allclose(found[0], golden["obs"], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(found[1], golden["actions"], rtol=0, atol=TOLERANCE)


def test_leapp_gives_the_recorded_actions_and_targets_from_raw_sensors(
    legged: Path, tmp_path: Path
) -> None:
    request = ImportRequest(
        source=legged / "leapp" / "lite3_velocity.yaml",
        answers=[*answers_but(), *RANGE, f"joints.default_position={LITE3_DEFAULT}"],
    )
    recording = dict(np.load(legged / "lite3" / "rollout_50hz.npz"))
    previous, scale = previous_actions(recording), np.array([0.125, 0.25, 0.25] * 4)
    with imported(request, tmp_path / "lite3") as (state, policy, backend):
        for row in range(0, 4000, 16):
            sense(state, recording, row)
            backend.inputs["last_action"][0] = previous[row]
            assert policy.infer()
            action = backend.outputs["actions"][0].astype(np.float64)
            np.testing.assert_allclose(action, recording["action"][row], rtol=0, atol=TOLERANCE)
            np.testing.assert_allclose(
                policy.commit(), LITE3_DEFAULT + scale * action, rtol=0, atol=TOLERANCE
            )
            np.testing.assert_array_equal(backend.inputs["last_action"][0], action)


def save_motion(file: Path, names: Sequence[str], pose: Sequence[float]) -> Path:
    """Save a clip of a second in which a G1 stands and turns its torso, 15 frames per second."""
    frames = np.arange(16)
    moved, waist = np.tile(pose, (16, 1)), names.index("waist_yaw_joint")
    moved[:, waist] += 0.02 * frames
    half, zero = 0.5 * (moved[:, waist] - pose[waist]), np.zeros(16)
    torso = np.stack([np.cos(half), zero, zero, np.sin(half)], axis=1)
    level = np.tile([1.0, 0.0, 0.0, 0.0], (16, 1))
    np.savez(
        file,
        fps=np.array(15.0),
        joint_names=np.array(names),
        joint_pos=moved,
        joint_vel=np.gradient(moved, 1 / 15, axis=0),
        body_names=np.array(["pelvis", "torso_link"]),
        body_pos_w=np.tile([0.0, 0.0, 0.8], (16, 2, 1)),
        body_quat_w=np.stack([level, torso], axis=1),
    )
    return file


def test_a_g1_that_follows_a_motion_says_what_it_needs_and_gives_its_golden_outputs(
    legged: Path, tmp_path: Path
) -> None:
    folder = legged / "isaaclab_env_yaml"
    asked = ImportRequest(source=folder / "env.yaml", model=folder / "policy.onnx")
    draft = make_draft(asked)
    assert draft.find("rate_hz") == 15.0
    assert draft.find("motion.anchor.body") == "torso_link"
    assert {
        "motion.clip",
        "motion.at_end",
        "motion.anchor.chain",
        "observations.obs.terms[0].joints",
        "observations.obs.terms[1].joints",
    } <= {*draft.todos()}
    names, pose = draft.find("joints.names"), draft.find("joints.default_position")
    stated = ("stiffness", "damping", "velocity_limit", "effort_limit")
    limits = ("position_min", "position_max")
    request = dataclasses.replace(
        asked,
        robot=Path("g1"),
        motion=save_motion(tmp_path / "turn.npz", names, pose),
        answers=[
            *answers_but(but=[f"joints.{key}" for key in (*stated, *limits)]),
            "motion.at_end=hold",
            "observations.obs.terms[0].joints=[.*]",
            "observations.obs.terms[1].joints=[.*]",
            "observations.obs.terms[4].source=measured",
            *NO_CLIPS,
        ],
    )
    golden = np.load(folder / "golden.npz")
    with imported(request, tmp_path / "g1") as (state, policy, backend):
        assert state.inputs == ("joint_states", "imu/data", "odom")
        for field in state.sensed:
            state[field][:] = 0.0
        state["quat_xyzw"][:], state["joint_pos"][:] = (0.0, 0.0, 0.0, 1.0), pose
        policy.reset()
        for frame in range(3):
            state.derive()
            assert policy.infer()
            policy.commit()
            seen = backend.inputs["obs"][0].astype(np.float64)
            np.testing.assert_allclose(seen[:29] - pose, 0.02 * frame * np.eye(29)[12], atol=1e-5)
            turned = 0.02 * frame
            expected = [0, 0, 0, np.cos(turned), -np.sin(turned), np.sin(turned), np.cos(turned)]
            np.testing.assert_allclose(seen[58:67], [*expected, 0, 0], atol=1e-5)
        for obs, actions in zip(golden["obs"], golden["actions"], strict=True):
            backend.inputs["obs"][0] = obs
            backend.run()
            # Inputs of N(0, 1) give outputs of several tens.
            np.testing.assert_allclose(
                backend.outputs["actions"][0], actions, rtol=TOLERANCE, atol=TOLERANCE
            )


def test_anymal_s_descriptor_asks_for_what_actuator_networks_hide(
    legged: Path, tmp_path: Path
) -> None:
    (source,) = (legged / "isaaclab_io_descriptor").glob("*.yaml")
    model = save_policy(tmp_path / "policy.onnx", 48, 12)
    draft = make_draft(ImportRequest(source=source, model=model))
    assert draft.find("joints.names")[:4] == ["LF_HAA", "LH_HAA", "RF_HAA", "RH_HAA"]
    assert draft.find("action.terms")[0]["scale"] == 0.5
    assert draft.find("action.terms")[0]["offset"] == "default_position"
    assert {"joints.stiffness", "joints.damping", "observations.obs.terms[3].term"} <= set(
        draft.todos()
    )
    request = ImportRequest(
        source=source,
        model=model,
        answers=[
            *answers_but(but=("joints.position_min", "joints.position_max")),
            *RANGE,
            *NO_CLIPS,
            "observations.obs.terms[0].source=measured",
            "observations.obs.terms[3].term=velocity_command",
        ],
    )
    assert import_bundle(request, tmp_path / "anymal").todos() == {}


def test_nvidia_s_second_target_is_named_and_its_graph_of_two_models_refused(
    legged: Path, tmp_path: Path
) -> None:
    sizes = {"joint_pos": 3, "joint_vel": 3, "body_rot": 4, "body_ang_vel": 3, "last_joint_pos": 3}
    targets = {
        "joint_pos_targets": 3,
        "joint_vel_targets": 3,
        "body_rot_target": 4,
        "body_ang_vel_target": 3,
    }
    nodes = [
        onnx.helper.make_node("Identity", [a], [b]) for a, b in zip(sizes, targets, strict=False)
    ]
    model = save(
        tmp_path / "policy.onnx",
        nodes,
        {n: (1, s) for n, s in sizes.items()},
        {n: (1, s) for n, s in targets.items()},
    )
    leapp = legged / "leapp"
    draft = make_draft(
        ImportRequest(source=leapp / "isaac_ros_deploy_single_model.yaml", model=model)
    )
    assert "joint_vel_targets, body_rot_target" in draft.todos()["action"]
    assert draft.find("observations.body_rot.terms") == [{"term": "base_quat_xyzw"}]
    assert draft.find("observations.last_joint_pos.terms") == [{"term": "last_action"}]
    with refusal(ToolError):
        make_draft(ImportRequest(source=leapp / "isaac_ros_deploy_multi_model.yaml", model=model))


def test_motors_of_unitree_s_robots_are_numbered_as_the_vendor_s_files_have_them(
    shared_data: Path,
) -> None:
    robots = yaml.safe_load((shared_data / "unitree" / "joints.yaml").read_text("utf-8"))
    names = {"go2": "go2", "g1_29dof": "g1", "h1": "h1", "h1_2": "h1_2"}
    for robot, ours in names.items():
        motors = [motor[0] if motor else "" for motor in robots[robot]["motors"]]
        assert SDK_JOINTS[ours] == motors
