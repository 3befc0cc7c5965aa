# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which stage of a release stops which wrong successor of the walking policy, in lockstep.

One mistake for each way to be found (docs/releases.md): what the contracts show, and what a shadow
shows where a person has accepted each difference of the contracts.
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
from policy_core.bundle.bundle import SIGNATURE_FILE, JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import F32, ShadowMode
from policy_inference.backends.registry import open_backend
from robot_sim.walk import Schedule, evenly_timed, walk
from robot_sim.world import World

from .stage_candidates import SHIPPED, WRONG, candidate, in_8_bits

FLIGHT_S, EACH_S = 28.0, 4.0
DEFAULTS: Mapping[str, Any] = {}
STATED = {"max_rms_steps": 0.5, "max_distance": 0.5}
"""What a person may state about a policy that was trained again."""
FOUND_IN_CONTRACT = {
    "joint_vel x 0.9": ["observations.obs.joint_vel.scale"],
    "command x 0.5, in the model": [],
    "stiffness x 0.8": ["joints.stiffness"],
    "damping x 0.5": ["joints.damping"],
    "one tick late": ["state", "model.inputs.late_in", "model.outputs.late_out"],
    "weights +-1 %": [],
    "weights +-10 %": [],
    "swapped knees": ["action.joints"],
}
FOUND_BY_SHADOW = {
    "joint_vel x 0.9": "rms_ratio",
    "swapped knees": "rms_ratio",
    "stiffness x 0.8": "torque_error",
    "damping x 0.5": "torque_error",
}
"""Of the weights in use, with the difference accepted."""
FOUND_WHERE_STATED = {
    "command x 0.5, in the model": "gain_error",
    "one tick late": "correlation",
    "weights +-10 %": "gain_error",
}
"""Of other weights, whose distance a person has stated as large as the defaults once were."""


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
    flown: dict[str, Any] = {
        "bundle_sha256": load_bundle(SHIPPED).sha256,
        "backend": "onnx",
        "host": "robot",
        "begins_ns": 0,
    }
    report.write_text(json.dumps(flown | {"shadow": shadow_figures(found)}), "utf-8")
    stage = ShadowStage(min_minutes=0.35, **limits)
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
    if name in FOUND_BY_SHADOW:
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
    assert found.figures["torque_error"] == 0.0


@pytest.mark.acceptance
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
