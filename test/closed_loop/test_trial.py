# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""On the simulated Lite3 a gate refuses a policy that limps under payload, and no other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from model_tools.simulation.controlled import ControlledPolicy
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.bundle.store import TRIALS_FILE
from policy_core.errors import RefusedError
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import F64, Mode
from policy_core.latency import LatencyWindow
from policy_inference.backends.registry import open_models
from policy_inference.candidate.running import RunningTrial
from policy_store.trial_file import settings_of_trial
from policy_store.trial_record import TrialState, VersionTrial, put_on_record
from robot_sim.drives import DriveCommand
from robot_sim.walk import walk
from robot_sim.world import Sensors, WalkingWorld, World

from ..e2e.limping import PAYLOAD_KG, SHIPPED, WALKING_MPS, limping_bundle
from .stage_candidates import candidate, scaled_columns

WALK = [(0.0, (0.0, 0.0, 0.0)), (5.0, (WALKING_MPS, 0.0, 0.0))]
DURATION_S = 20.0
TRIAL = b"run_time_s: 100"


class Tried(ControlledPolicy):
    """A policy on trial under its controller; what it commanded is judged as in a node."""

    trial: RunningTrial

    def __call__(self, sensors: Sensors, command: F64) -> DriveCommand:
        commanded = super().__call__(sensors, command)
        vx, vy, _ = sensors.lin_vel_body.tolist()
        self.trial.judge.velocity_mps = (vx, vy)
        if verdict := self.trial.observe(self.controller.latest_tick):
            with suppress(RefusedError):
                self.controller.end_run(verdict, self.controller.stand)
        return commanded


def recorded(folder: Path, bundle: JointBundle) -> VersionTrial:
    """Begin a trial of a bundle in a record of its own."""
    file = folder / "lite3_walk" / TRIALS_FILE
    file.parent.mkdir(parents=True)
    file.touch()
    settings = settings_of_trial(TRIAL, Path("trial.yaml"), bundle.contract)
    return put_on_record(
        file.parent,
        settings,
        version=bundle.contract.version,
        version_before="0.0.1",
        bundle_sha256=bundle.sha256,
        trial_sha256="0" * 64,
    )


@contextmanager
def tried(folder: Path, bundle: JointBundle) -> Iterator[Tried]:
    with open_models(bundle.models, ["onnx"], {}) as models:
        policy = Tried(bundle, models.first)
        limits = limits_in_force(bundle.contract, StricterLimits())
        policy.trial = RunningTrial(
            recorded(folder, bundle),
            bundle.contract,
            policy.controller.latest_tick,
            LatencyWindow(),
            limits,
            simulated_time=True,
        )
        yield policy
        policy.trial.close()


def stays_up(policy: Tried, payload_kg: float) -> bool:
    """Walk until a fault or the end; return whether the robot is on its feet."""
    world = World(payload_kg=payload_kg)
    ran = []

    def ended(_: WalkingWorld) -> bool:
        ran.append(policy.controller.mode is Mode.RUN)
        return any(ran) and not ran[-1]

    walk(world, policy, WALK, duration_s=DURATION_S, until=ended)
    return bool(world.upright)


@pytest.fixture
def limping(tmp_path: Path) -> JointBundle:
    return load_bundle(limping_bundle(tmp_path / "limping", "0.3.0"), kind=JointBundle)


def test_good_policy_breaks_no_gate_under_payload(tmp_path: Path) -> None:
    with tried(tmp_path, load_bundle(SHIPPED, kind=JointBundle)) as policy:
        assert stays_up(policy, PAYLOAD_KG)
        assert policy.controller.mode is Mode.RUN
        assert policy.trial.trial.state is TrialState.OPEN


def test_policy_that_limps_breaks_no_gate_without_payload(
    tmp_path: Path, limping: JointBundle
) -> None:
    with tried(tmp_path, limping) as policy:
        assert stays_up(policy, 0.0)
        assert policy.trial.trial.state is TrialState.OPEN


@pytest.mark.slow
def test_policy_that_stands_when_commanded_to_walk_breaks_the_gate_of_motion(
    tmp_path: Path,
) -> None:
    """Nothing else is wrong with it: no fall, no tilt, little torque."""
    deaf = candidate(tmp_path / "deaf", model=scaled_columns(6, 9, 0.0))
    with tried(tmp_path, load_bundle(deaf, kind=JointBundle)) as policy:
        assert stays_up(policy, 0.0)
        trial = policy.trial.trial
        assert (trial.state, trial.gate) == (TrialState.FAILED, "motion_error_share")
