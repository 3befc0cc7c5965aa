# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which stage of a release stops which wrong successor of the walking policy, in lockstep.

The table of docs/releases.md: what the contracts show, and what a shadow shows where a person has
accepted each difference of the contracts. Simulation and canary are in the long variant.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools.prove.replaying.recording import FlightRecording
from model_tools.prove.replaying.shadowing import shadow_figures, shadow_flight
from model_tools.prove.trial import RecordedPolicy
from model_tools.ship.release.evidence import read_report
from model_tools.ship.release.promotion import new_release, verdict
from model_tools.ship.release.release_file import Release, RobotEvidence, ShadowStage
from model_tools.ship.release.simulation_stage import simulate
from model_tools.simulation.robot import LITE3
from policy_core.bundle.bundle import SIGNATURE_FILE, JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import F32, ShadowMode
from policy_inference.backends.registry import open_backend
from policy_store.trial_record import VersionTrial
from robot_sim.walk import Schedule, evenly_timed, walk
from robot_sim.world import World

from .stage_candidates import SHIPPED, WRONG, candidate, in_8_bits, scaled_columns
from .test_trial import tried

FLIGHT_S, EACH_S, TRIAL_S = 44.0, 4.0, 60.0
DEFAULTS: Mapping[str, Any] = {}
STATED = {"max_rms_steps": 0.5, "max_distance": 0.5}
"""What a person may state about a policy that was trained again."""
FOUND_IN_CONTRACT = {
    "joint_vel x 0.9": ["observations.obs.joint_vel.scale"],
    "joint_vel x 0.5": ["observations.obs.joint_vel.scale"],
    "command x 0.9": ["observations.obs.velocity_command.scale"],
    "command x 0.5": ["observations.obs.velocity_command.scale"],
    "joint_vel x 0.9, in the model": [],
    "command x 0.5, in the model": [],
    "stiffness x 0.8": ["joints.stiffness"],
    "default position + 0.05": ["joints.default_position", "action.offset"],
    "one tick late": ["state", "model.inputs.late_in", "model.outputs.late_out"],
    "weights +-1 %": [],
    "weights +-10 %": [],
    "swapped knees": ["action.joints"],
    "drift after 30 s": ["state", "model.inputs.ticks_in", "model.outputs.ticks_out"],
}
FOUND_BY_SHADOW = {
    "joint_vel x 0.9": "rms_ratio",
    "joint_vel x 0.5": "rms_ratio",
    "command x 0.9": "rms_ratio",
    "command x 0.5": "rms_ratio",
    "default position + 0.05": "rms_ratio",
    "swapped knees": "rms_ratio",
}
"""Of the weights in use, with the difference accepted."""
FOUND_WHERE_STATED = {
    "command x 0.5, in the model": "gain_error",
    "one tick late": "correlation",
    "weights +-10 %": "gain_error",
    "drift after 30 s": "gain_error",
}
"""Of other weights, whose distance a person has stated as large as the defaults once were."""


SLIGHTLY_OTHER = "weights +-1 %"
"""Which walks as the one in use."""
PASSES_SIMULATION = {SLIGHTLY_OTHER, "drift after 30 s"}
"""Of the wrong ones: walks of 20 s beside those of the policy that ships."""
FAILS_TRIAL = {"one tick late": "latched_faults", "swapped knees": "tilt_rad"}
"""In 60 s of simulation with the usual gates; a robot that still walks breaks none of them."""


def random_velocities(duration_s: float, seed: int, share: float = 1.0) -> Schedule:
    """Return velocity commands that change, a share of the largest ones."""
    random = np.random.default_rng(seed)
    return evenly_timed(
        [
            tuple((share * random.uniform(-1.0, 1.0, 3) * [0.7, 0.5, 0.7]).tolist())
            for _ in range(int(duration_s / EACH_S))
        ],
        each_s=EACH_S,
    )


def fly(place: Path, duration_s: float, seed: int, share: float = 1.0) -> Path:
    """Walk with commands that change, a share of the largest ones, and record it."""
    bundle = load_bundle(SHIPPED, kind=JointBundle)
    backend, _ = open_backend(bundle, ["onnx"])
    with RecordedPolicy(bundle, backend, place, "a test") as policy:
        schedule = random_velocities(duration_s, seed, share)
        walk(World(), policy, schedule, duration_s=duration_s, until=None)
    backend.close()
    return place


def observed_rows(flight: Path) -> F32:
    """Return what the policy observed in RUN."""
    ticks = [tick for tick in FlightRecording(flight).ticks() if tick.target is not None]
    return np.concatenate([tick.inputs["obs"] for tick in ticks])


@pytest.fixture(scope="module")
def flight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fly(tmp_path_factory.mktemp("flights") / "first", FLIGHT_S, 2)


def released(bundle: Path) -> Release:
    """Begin a release of a candidate beside the policy that ships; signing takes no part."""
    (bundle / SIGNATURE_FILE).touch()
    return new_release(bundle, str(SHIPPED), ())


def shadowed(
    release: Release, bundle: Path, flight: Path, limits: Mapping[str, Any] = DEFAULTS
) -> RobotEvidence:
    """Return what a flight with the candidate as shadow proves, each contract's key accepted."""
    loaded = load_bundle(bundle, kind=JointBundle)
    found = shadow_flight(FlightRecording(flight), loaded, ["onnx"], {}, ShadowMode.FOLLOWED)
    report = bundle.with_suffix(".json")
    flown = {"bundle_sha256": load_bundle(SHIPPED).sha256, "backend": "onnx"}
    report.write_text(json.dumps(flown | {"shadow": shadow_figures(found)}), "utf-8")
    stage = ShadowStage(min_minutes=0.5, **limits)
    accepting = dataclasses.replace(
        release,
        accepted_differences=tuple(one.key for one in release.differences),
        stages=dataclasses.replace(release.stages, shadow=stage),
    )
    return read_report(accepting, "shadow", "robot", report, report.name)["robot"]


def gates(found: RobotEvidence) -> list[str]:
    return [reason.partition(" ")[0].rstrip(":") for reason in found.reasons]


@pytest.mark.slow
@pytest.mark.parametrize("name", WRONG)
def test_wrong_successor_is_stopped_by_contract_and_shadow(
    name: str, flight: Path, tmp_path: Path
) -> None:
    bundle = WRONG[name](tmp_path / "bundle")
    release = released(bundle)

    assert [one.key for one in release.differences] == FOUND_IN_CONTRACT[name]
    assert (verdict(release)[0] == "bad") is bool(FOUND_IN_CONTRACT[name])
    found = shadowed(release, bundle, flight)
    if name == "stiffness x 0.8":  # the same targets: only the contract shows it
        assert (found.health, found.figures["rms_ratio"]) == ("healthy", 0.0)
    elif name in FOUND_BY_SHADOW:
        assert found.health == "bad"
        assert FOUND_BY_SHADOW[name] in gates(found)
    else:  # other weights: nobody has said how far they may be
        assert found.health != "healthy"
        stated = shadowed(release, bundle, flight, STATED)
        if name in FOUND_WHERE_STATED:
            assert FOUND_WHERE_STATED[name] in gates(stated)
        else:
            assert stated.health == "healthy"


@pytest.mark.slow
def test_same_policy_again_passes(flight: Path, tmp_path: Path) -> None:
    bundle = candidate(tmp_path / "bundle")
    release = released(bundle)
    found = shadowed(release, bundle, flight)
    assert release.differences == ()
    assert (found.health, found.figures["rms_ratio"]) == ("healthy", 0.0)


@pytest.mark.slow
def test_good_8_bits_pass_and_bad_ones_do_not(flight: Path, tmp_path: Path) -> None:
    rows = observed_rows(flight)
    good = in_8_bits(tmp_path / "good", rows)
    release = released(good)
    found = shadowed(release, good, flight)
    assert (found.health, found.reasons, release.differences) == ("healthy", (), ())

    standing = observed_rows(fly(tmp_path / "standing", 8.0, 2, share=0.0))
    bad = in_8_bits(tmp_path / "bad", standing, holds=False)
    found = shadowed(released(bad), bad, flight)
    assert found.health == "bad"
    assert {"gain_error", "correlation"} <= {*gates(found)}


@pytest.mark.slow
def test_8_bits_of_another_model_have_no_evidence(flight: Path, tmp_path: Path) -> None:
    """Its report is about a model that it was not compiled from, at the usual distance."""
    source = candidate(tmp_path / "source", model=scaled_columns(21, 33, 0.9))
    bundle = in_8_bits(tmp_path / "bundle", observed_rows(flight), source)
    release = released(bundle)
    assert release.expected == {}
    assert shadowed(release, bundle, flight).health == "not_enough"


def simulated(release: Release, bundle: Path, report: Path) -> RobotEvidence:
    """Return what the stage in simulation proves."""
    simulate(release, bundle, str(SHIPPED), LITE3, report)
    return read_report(release, "simulation", "robot", report, report.name)["robot"]


def trial_of(bundle: Path, place: Path) -> VersionTrial:
    """Walk on trial with the usual gates, on the simulated robot."""
    with tried(place, load_bundle(bundle, kind=JointBundle)) as policy:
        walk(World(), policy, random_velocities(TRIAL_S, 4), duration_s=TRIAL_S, until=None)
        return policy.trial.trial


@pytest.mark.acceptance
@pytest.mark.parametrize("name", WRONG)
def test_no_wrong_successor_passes_simulation_shadow_and_canary(
    name: str, flight: Path, tmp_path: Path
) -> None:
    """Each of the stages with the differences of the contracts accepted, and distances stated."""
    bundle = WRONG[name](tmp_path / "bundle")
    release = released(bundle)

    walked = simulated(release, bundle, tmp_path / "simulation.json")
    trial = trial_of(bundle, tmp_path / "trial")
    stated = shadowed(release, bundle, flight, STATED)

    assert (walked.health == "healthy") is (name in PASSES_SIMULATION)
    assert trial.gate == FAILS_TRIAL.get(name, "")
    stopped = {walked.health, stated.health} != {"healthy"} or trial.gate
    assert stopped or name == SLIGHTLY_OTHER


@pytest.mark.acceptance
def test_ten_good_successors_raise_no_alarm_as_shadow_and_on_trial(
    flight: Path, tmp_path: Path
) -> None:
    flights = [flight, *(fly(tmp_path / f"flight_{seed}", 120.0, seed) for seed in (5, 6))]
    rows = np.concatenate([observed_rows(each) for each in flights])
    random = np.random.default_rng(9)
    for number in range(10):
        folder = tmp_path / f"good_{number}"
        if number == 0:
            bundle = candidate(folder)
        else:
            chosen = np.sort(random.choice(len(rows), 300 * number, replace=False))
            bundle = in_8_bits(folder, rows[chosen])
        release = released(bundle)
        assert release.differences == ()
        for each in flights:
            found = shadowed(release, bundle, each)
            assert (found.health, found.reasons) == ("healthy", ())
        assert trial_of(bundle, tmp_path / f"trial_{number}").gate == ""
