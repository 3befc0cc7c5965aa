# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy that needs the velocity of its base walks on the estimate as on the truth.

No policy that comes with the suite needs it. So the shipped one is made to: its command is
corrected by what is missing to it, command' = 2 command - velocity, in front of its own model.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import compose, helper, numpy_helper

from model_tools.prove.inspect.plans import make_plan
from model_tools.prove.trial import WalkOutcome, try_case
from model_tools.simulation.estimated import SensorErrors, watched_by_figures
from model_tools.simulation.robot import SimulatedRobot, WalkCase, mixed, steady
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_inference.backends.registry import open_models
from robot_sim.drives import DriveCommand, position_command
from robot_sim.figures import load_robot
from robot_sim.legs import make_estimation
from robot_sim.walk import walk
from robot_sim.world import Sensors, World

BUNDLES = Path(__file__).resolve().parents[2] / "config" / "bundles"
DATA_SHEET = SensorErrors(scale=1.0, seed=1)
WALKING_MPS, SLIPPERY_MPS = 0.05, 0.15
"""What the estimate may be wrong by."""


def correcting_model(folder: Path, file: Path) -> onnx.ModelProto:
    """Return the model of lite3_walk behind a matrix that corrects the command [6:9]."""
    model = onnx.load(folder / "policy.onnx")
    matrix = np.eye(48, 45, dtype=np.float32)
    matrix[6:8, 6:8] *= 2.0
    matrix[45:47, 6:8] = -np.eye(2)
    front = helper.make_graph(
        [helper.make_node("MatMul", ["all", "matrix"], ["corrected"])],
        "front",
        [helper.make_tensor_value_info("all", onnx.TensorProto.FLOAT, [1, 48])],
        [helper.make_tensor_value_info("corrected", onnx.TensorProto.FLOAT, [1, 45])],
        [numpy_helper.from_array(matrix, "matrix")],
    )
    made = helper.make_model(front, opset_imports=model.opset_import, ir_version=model.ir_version)
    joined = compose.merge_models(made, model, [("corrected", "obs")])
    joined.graph.node[0].input[0] = joined.graph.input[0].name = "obs"
    onnx.save(joined, file)
    return joined


def correcting_bundle(folder: Path, *, estimated: bool) -> JointBundle:
    """Write a bundle that takes the velocity from the estimator, or from an odometry."""
    shipped = BUNDLES / "lite3_walk"
    contract: dict[str, Any] = yaml.safe_load((shipped / "policy.yaml").read_text("utf-8"))
    file = folder / "policy.onnx"
    folder.mkdir()
    correcting_model(shipped, file)
    for key in ("nominal", "limits", "reports"):
        contract.pop(key, None)
    term = {"term": "base_lin_vel", **({"source": "estimator"} if estimated else {})}
    contract["observations"]["obs"]["terms"].append(term)
    contract["model"] = {
        "inputs": {"obs": {"shape": [1, 48]}},
        "outputs": contract["model"]["outputs"],
        "artifacts": {
            "onnx": {
                "file": file.name,
                "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
                "precision": "fp32",
            }
        },
    }
    if estimated:
        contract["estimation"] = asdict(make_estimation(load_robot("lite3"), WALKING_MPS))
    (folder / "policy.yaml").write_text(yaml.safe_dump(_plain(contract)), "utf-8")
    return load_bundle(folder, kind=JointBundle)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value


def walked(bundle: JointBundle, case: WalkCase, robot: str = "lite3") -> WalkOutcome:
    with open_models(bundle.models, ["onnx"], {}) as models:
        return try_case(bundle, models.first, case, robot=SimulatedRobot(figures=robot))[0]


def case_of(**changes: Any) -> WalkCase:
    given = {"schedule": steady(0.5, 0.0, 0.0), "duration_s": 5.0, "limits": None, **changes}
    return WalkCase(name="estimated", group="estimated", **given)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("robot", "friction", "limit_mps"),
    [("lite3", 1.0, WALKING_MPS), ("go2", 1.0, WALKING_MPS), ("go2", 0.3, SLIPPERY_MPS)],
)
def test_the_estimate_holds_its_error_while_a_shipped_policy_walks(
    robot: str, friction: float, limit_mps: float
) -> None:
    bundle = load_bundle(BUNDLES / f"{robot}_walk", kind=JointBundle)
    case = case_of(
        schedule=mixed(8.0, 1),
        duration_s=8.0,
        friction=friction,
        estimator=True,
        sensor_errors=DATA_SHEET,
    )

    outcome = walked(bundle, case, robot)

    assert outcome.survived
    assert outcome.estimate is not None
    assert 0.0 < outcome.estimate.rmse_mps < limit_mps, outcome.estimate
    assert 0.1 < outcome.estimate.nees < 3.0
    assert outcome.estimate.height_rmse_m < 0.01


def test_a_policy_walks_on_the_estimate_as_on_the_truth(tmp_path: Path) -> None:
    truth = walked(correcting_bundle(tmp_path / "truth", estimated=False), case_of())
    bundle = correcting_bundle(tmp_path / "estimate", estimated=True)
    estimated = walked(bundle, case_of(sensor_errors=DATA_SHEET))

    assert truth.survived
    assert truth.estimate is None
    assert estimated.survived
    assert estimated.estimate is not None
    assert estimated.estimate.rmse_mps < WALKING_MPS
    assert np.max(np.subtract(estimated.error, truth.error)) < 0.02


def test_the_plan_for_the_native_core_has_the_estimator(tmp_path: Path) -> None:
    native = pytest.importorskip("policy_core_native", reason="the native core is not built")
    plan = make_plan(correcting_bundle(tmp_path / "bundle", estimated=True))

    assert len(native.VelocityEstimator(plan).standing) == 4


def test_flat_feet_of_a_humanoid_that_squats_and_sways() -> None:
    robot = load_robot("g1")
    names, watched = robot.joint_names, watched_by_figures(robot, DATA_SHEET)
    stiffness = np.array([300.0 if name.split("_")[1] in _LEG else 60.0 for name in names])

    def squat(sensors: Sensors, _: object) -> DriveCommand:
        time_s = sensors.time_ns / 1e9
        bend, roll = 0.1 * (1.0 - np.cos(np.pi * time_s)), 0.06 * np.sin(np.pi * time_s)
        target = robot.standing_rad.copy()
        for side in ("left", "right"):
            for joint, share in _SQUAT.items():
                target[names.index(f"{side}_{joint}_joint")] += share * bend
            for joint, share in _SWAY.items():
                target[names.index(f"{side}_{joint}_joint")] += share * roll
        return position_command(
            target, stiffness=stiffness, damping=0.03 * stiffness, joint_names=names
        )

    world = World(robot, pose="standing")
    trace = walk(world, squat, [], duration_s=4.0, watch=watched.watch)

    assert not world.fallen
    assert np.abs(trace.lin_vel_body).max() > 0.1
    error = watched.error(0.5)
    assert error.rmse_mps < 0.03, error
    assert error.height_rmse_m < 0.01


_LEG = ("hip", "knee", "ankle", "yaw", "roll", "pitch")
_SQUAT = {"hip_pitch": -1.0, "knee": 2.0, "ankle_pitch": -1.0}
_SWAY = {"hip_roll": 1.0, "ankle_roll": -1.0}
