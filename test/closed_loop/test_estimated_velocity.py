# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy that needs the velocity of its base walks on the estimate as on the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools import cli
from model_tools.prove import trial
from model_tools.prove.inspect.plans import make_plan
from model_tools.prove.trial import WalkOutcome, try_case
from model_tools.simulation.estimated import EstimatedVelocity, SensorErrors, watched_by_figures
from model_tools.simulation.robot import SimulatedRobot, WalkCase, mixed, steady
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.estimation.velocity_estimator import SUPPORTED
from policy_inference.backends.registry import open_models
from policy_inference.nodes.velocity_estimator_node import LARGEST_STD_MPS
from robot_sim.drives import DriveCommand, position_command
from robot_sim.figures import LeggedRobot, load_robot
from robot_sim.legs import make_estimation
from robot_sim.walk import walk
from robot_sim.world import Sensors, World
from testkit.correcting import correcting_bundle
from testkit.wording import check_wording

BUNDLES = Path(__file__).resolve().parents[2] / "config" / "bundles"
DATA_SHEET = SensorErrors(scale=1.0, seed=1)
WALKING_MPS, SLIPPERY_MPS = 0.05, 0.15
"""What the estimate may be wrong by."""


def walked(bundle: JointBundle, case: WalkCase, robot: str = "lite3") -> WalkOutcome:
    with open_models(bundle.models, ["onnx"], {}) as models:
        return try_case(bundle, models.first, case, robot=SimulatedRobot(figures=robot))[0]


def case_of(**changes: Any) -> WalkCase:
    given = {"schedule": steady(0.5, 0.0, 0.0), "duration_s": 5.0, "limits": None, **changes}
    return WalkCase(name="estimated", group="estimated", **given)


def test_a_recorded_walk_has_the_estimate_as_its_odometry(tmp_path: Path) -> None:
    bundle = correcting_bundle(tmp_path / "estimate", estimated=True)
    case, flight = case_of(sensor_errors=DATA_SHEET, duration_s=0.5), tmp_path / "flight"
    with open_models(bundle.models, ["onnx"], {}) as models:
        try_case(bundle, models.first, case, flight, robot=SimulatedRobot(figures="lite3"))
    # Replay computes the policy's inputs from the recorded messages.
    assert cli.main(["replay", str(flight), "--bundle", str(bundle.path)]) == 0


def test_a_simulated_walk_warns_of_a_velocity_whose_source_is_not_stated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = correcting_bundle(tmp_path / "truth", estimated=False)
    walked(bundle, case_of(duration_s=0.2))
    check_wording(*caplog.messages)


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


class Interrupted(EstimatedVelocity):
    """Estimators of one walk that get its samples except for a gap, or that start late.

    Attributes:
        wrong_s: Longest time for which an estimator vouched for a velocity that was wrong.
    """

    def __init__(self, robot: LeggedRobot, errors: SensorErrors) -> None:
        super().__init__(make_estimation(robot), robot.joint_names, robot.joint_names, errors)
        self._interrupted = [
            (round(3e9 + 0.29e9 * i), gap_ns, watched_by_figures(robot, errors))
            for gap_ns in (10**10, 500_000_000, 120_000_000, 80_000_000, 30_000_000)
            for i in range(6)
        ]
        self._wrong_ns = [0] * len(self._interrupted)
        self._now_ns, self.wrong_s = 0, 0.0

    def watch(self, sensors: Sensors) -> None:
        super().watch(sensors)
        step_ns, self._now_ns = sensors.time_ns - self._now_ns, sensors.time_ns
        for i, (end_ns, gap_ns, late) in enumerate(self._interrupted):
            if end_ns - gap_ns < sensors.time_ns < end_ns:
                continue
            late.watch(sensors)
            kalman = late.estimator
            vouches = kalman.support >= SUPPORTED and kalman.variance <= LARGEST_STD_MPS**2
            error_mps = np.linalg.norm(kalman.lin_vel_body - sensors.lin_vel_body)
            is_wrong = vouches and error_mps > 0.3
            self._wrong_ns[i] = self._wrong_ns[i] + step_ns if is_wrong else 0
            self.wrong_s = max(self.wrong_s, self._wrong_ns[i] * 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("robot", ["lite3", "go2"])
def test_a_start_or_a_gap_while_the_robot_walks_never_gives_a_wrong_velocity(
    robot: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted = Interrupted(load_robot(robot), DATA_SHEET)
    monkeypatch.setattr(trial, "watched_by_figures", lambda *_: interrupted)
    bundle = load_bundle(BUNDLES / f"{robot}_walk", kind=JointBundle)

    outcome = walked(bundle, case_of(schedule=steady(0.8, 0.0, 0.2), estimator=True), robot)

    assert outcome.survived
    assert interrupted.wrong_s < 0.1


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
