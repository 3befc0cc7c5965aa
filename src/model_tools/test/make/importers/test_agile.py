# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""LEAPP files of WBC-AGILE: what is imported runs as ONNX Runtime alone runs it."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from model_tools.make.importers.import_bundle import ImportRequest, import_bundle, make_draft
from model_tools.make.importers.leapp import COMMAND_TOPIC
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import F32
from policy_core.members.joint import JointPolicy
from policy_core.observation.state import RobotState
from policy_inference.backends.registry import open_backend

from .agile_file import (
    DAMPING,
    DEFAULT,
    DRIVEN,
    KD,
    MEASURED,
    NAME,
    STIFFNESS,
    first_state,
    write_agile,
)
from .conftest import ANSWERS

TICKS = 50
OWN = (
    "stand.duration_s",
    "joints.stiffness",
    "joints.damping",
    "stand.position",
    "stand.stiffness",
    "stand.damping",
)
REST = (
    "stand.duration_s=0.1",
    *(answer for answer in ANSWERS if not answer.startswith(OWN)),
    "action.gains.stiffness.min=50",
    "action.gains.stiffness.max=300",
    "velocity_command.min=[-0.5, -0.5, -1.0]",
    "velocity_command.max=[1.5, 0.5, 1.0]",
)


HEIGHT = (
    "observations.base_velocity.terms[1].commanded="
    "[{name: height, unit: m, min: 0.4, max: 0.72, default: 0.7}]"
)
COMMANDS = (3, 4)
"""Numbers in a command: with a height or without."""


@pytest.fixture(params=COMMANDS)
def agile_bundle(tmp_path: Path, request: pytest.FixtureRequest) -> JointBundle:
    source = write_agile(tmp_path, command=request.param)
    answers = REST if request.param == 3 else (*REST, HEIGHT)
    import_bundle(ImportRequest(source=source, answers=answers), tmp_path / "bundle")
    return load_bundle(tmp_path / "bundle", kind=JointBundle)


def test_joints_gains_and_stand_pose_are_those_of_the_articulation_and_bounds_are_asked_for(
    tmp_path: Path,
) -> None:
    draft = make_draft(ImportRequest(source=write_agile(tmp_path)))
    assert draft.find("joints.names") == list(MEASURED)
    assert draft.find("joints.default_position") == draft.find("stand.position") == list(DEFAULT)
    assert draft.find("joints.stiffness") == draft.find("stand.stiffness") == list(STIFFNESS)
    assert draft.find("joints.damping") == draft.find("stand.damping") == list(DAMPING)
    assert draft.find("action.terms") == [{"joints": list(DRIVEN), "kind": "position"}]
    # A constant gain is its own bound.
    kd = np.array(KD, np.float32).tolist()
    expected = {"output": "joint_pos_kd_gains", "min": kd, "max": kd}
    assert draft.find("action.gains.damping") == expected
    asked = {key for key in draft.todos() if key.startswith("action")}
    assert asked == {"action.gains.stiffness.min", "action.gains.stiffness.max"}


def test_what_is_commanded_besides_the_velocity_is_asked_for(tmp_path: Path) -> None:
    draft = make_draft(ImportRequest(source=write_agile(tmp_path, command=4)))
    velocity, other = draft.find("observations.base_velocity.terms")
    assert velocity == {"term": "velocity_command"}
    assert (other["term"], other["size"]) == ("external", 1)
    assert "observations.base_velocity.terms[1].commanded" in draft.todos()


def test_an_imported_policy_gives_what_onnx_runtime_gives(
    agile_bundle: JointBundle, tmp_path: Path
) -> None:
    contract, draw = agile_bundle.contract, np.random.default_rng(5)
    session = onnxruntime.InferenceSession(
        tmp_path / f"{NAME}.onnx", providers=["CPUExecutionProvider"]
    )
    outputs = [output.name for output in session.get_outputs()]
    size = contract.model.inputs["base_velocity"].shape[1]
    fed = first_state(size)
    backend, _ = open_backend(agile_bundle, ["onnx"])
    robot = RobotState(contract)
    policy = JointPolicy(agile_bundle, backend, robot)
    policy.reset()
    for _ in range(TICKS):
        seen = {
            "base_velocity": ("velocity_command", 3),
            "robot_root_ang_vel_b": ("ang_vel_body", 3),
            "robot_root_quat_w": ("quat_xyzw", 4),
            "robot_joint_pos": ("joint_pos", len(MEASURED)),
            "robot_joint_vel": ("joint_vel", len(MEASURED)),
        }
        given: dict[str, F32] = {}
        for name, (field, count) in seen.items():
            given[name] = draw.normal(size=(1, count)).astype(np.float32)
            robot[field][:] = given[name][0]
        if size == 4:
            height = draw.uniform(0.4, 0.72, size=(1, 1)).astype(np.float32)
            given["base_velocity"] = np.hstack([given["base_velocity"], height])
            robot[f"external:{COMMAND_TOPIC}"][:] = height[0]
        robot.derive()
        found = dict(zip(outputs, session.run(None, {**given, **fed}), strict=True))
        assert policy.infer()
        policy.commit()
        for name, value in found.items():
            np.testing.assert_array_equal(backend.outputs[name], value, err_msg=name)
        np.testing.assert_array_equal(policy.action.raw, found["joint_pos"][0])
        places = [MEASURED.index(joint) for joint in DRIVEN]
        stiffness = np.clip(found["joint_pos_kp_gains"][0], 50.0, 300.0)
        np.testing.assert_array_equal(policy.action.gains[0, places], stiffness)
        np.testing.assert_array_equal(policy.action.gains[1, places], np.array(KD, np.float32))
        assert policy.action.gains[:, 2].tolist() == [STIFFNESS[2], DAMPING[2]]
        fed = {f"{name[:-4]}_in": value for name, value in found.items() if name.endswith("_out")}
    backend.close()
