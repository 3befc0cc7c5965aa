# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Of two versions on trial under payload, the one that limps is stopped and the good one passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from model_tools import cli
from policy_core.bundle.store import ROOT_VARIABLE
from policy_store.trial_record import TrialState, newest_trial

from .limping import PAYLOAD_KG, SHIPPED, WALKING_MPS, limping_bundle, renumbered_bundle
from .rig import Rig
from .test_load import assert_it_walks

pytestmark = [pytest.mark.ros, pytest.mark.slow]
RANGE = "command_range: {min: [-0.7, 0, 0], max: [0.7, 0, 0]}\n"
ACCEPTED = "accepted_differences: [joints.effort_limit]\n"  # else it would not begin
NAME, IN_USE, TRIED = "lite3_walk", "1.0.0", "1.1.0"

Installed = Callable[[Path, str], None]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store in which the policy that ships is in use."""
    root = tmp_path / "models"
    monkeypatch.setenv(ROOT_VARIABLE, str(root))
    model_tools("install", renumbered_bundle(SHIPPED, tmp_path / "used", IN_USE), "--activate")
    return root


def model_tools(*args: object) -> None:
    assert cli.main([str(arg) for arg in args]) == 0


def try_out(bundle: Path, run_time_s: float) -> None:
    trial = bundle.with_suffix(".trial.yaml")
    trial.write_text(f"run_time_s: {run_time_s}\n{RANGE}{ACCEPTED}")
    model_tools("install", bundle, "--trial", trial)


def test_policy_that_limps_under_payload_is_stopped_and_the_version_before_walks(
    tmp_path: Path, store: Path
) -> None:
    try_out(limping_bundle(tmp_path / "limping", TRIED), 600.0)
    with Rig(tmp_path, bundle=NAME, sim={"payload_kg": PAYLOAD_KG}) as rig:
        rig.operator.stand_up()
        assert rig.operator.status.bundle_version == TRIED
        # With weak knees, one that sets off while it takes over may stumble instead.
        rig.wait_until(lambda: rig.operator.status.trial[0].run_time_s > 1.0, "a second of RUN")
        rig.operator.move(WALKING_MPS)
        rig.wait_for_latched_damp()
        assert rig.operator.status.reason.startswith("trial: torque_share")
        assert rig.height_m > 0.0
        rig.wait_until(lambda: rig.operator.status.bundle_version == IN_USE, "the version before")
        rig.operator.let_go()
        rig.operator.demand("reset")
        rig.operator.stand_up()
        assert_it_walks(rig, IN_USE)
        (reported,) = rig.operator.status.trial
        assert (reported.state, reported.gate) == ("failed", "torque_share")
    trial = newest_trial(store / NAME)
    assert trial is not None
    assert (trial.state, trial.version_before) == (TrialState.FAILED, IN_USE)


@pytest.mark.acceptance
def test_good_policy_passes_and_is_kept(tmp_path: Path, store: Path) -> None:
    try_out(renumbered_bundle(SHIPPED, tmp_path / "good", TRIED), 10.0)
    with Rig(tmp_path, bundle=NAME, sim={"payload_kg": PAYLOAD_KG}) as rig:
        rig.operator.stand_up()
        # Gently: with the payload it nearly falls where the operator is late and its command fades.
        rig.operator.move(WALKING_MPS / 2.0)
        rig.wait_until(lambda: rig.operator.mode == "READY", "the end of the trial")
        assert rig.height_m > 0.2
        rig.wait_until(lambda: rig.operator.status.trial[0].state == "passed", "a passed trial")
        model_tools("trial", "keep", NAME)
        rig.operator.demand("run")
        assert_it_walks(rig, TRIED)
