# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The figures of a shadow are those of its compared ticks, and gates tell rounding from faults."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import yaml

from policy_core.errors import BundleError
from policy_core.guard.limits import StricterLimits
from policy_core.interfaces import F64
from policy_inference.candidate.expectation import ExpectedDistance
from policy_inference.candidate.gates import (
    ShadowFigures,
    ShadowLimits,
    judge_shadow,
    systematic_share,
)
from policy_inference.flight.ring import ShadowAnswer, ShadowOutcome
from policy_inference.shadow.divergence import Divergence
from policy_store.trial_file import TrialSettings, settings_of_trial, trial_schema
from policy_store.trial_record import TrialEvent, new_line, parse_line
from testkit.kernel.chunk_contracts import chunk_contract_of
from testkit.kernel.contracts import contract_of
from testkit.wording import refusal

JOINTS = ("hip", "knee")


def compared_answer(difference: tuple[float, float], **more: Any) -> ShadowAnswer:
    active = np.array([0.5, -0.5])
    found = ShadowAnswer(
        0, ShadowOutcome.COMPARED, target=active + difference, active_target=active
    )
    return found._replace(**more)


def test_distances_are_measured_per_joint_and_in_steps() -> None:
    divergence = Divergence(JOINTS, np.array([0.5, 0.25]))
    for difference in ((0.3, 0.0), (-0.4, 0.0), (0.0, 0.1)):
        divergence.add(compared_answer(difference))
    np.testing.assert_allclose(divergence.mean, [0.7 / 3, 0.1 / 3])
    np.testing.assert_allclose(divergence.rms, [0.5 / np.sqrt(3), 0.1 / np.sqrt(3)])
    np.testing.assert_allclose(divergence.max, [0.4, 0.1])
    steps = divergence.in_steps(divergence.max)
    assert steps is not None
    np.testing.assert_allclose(steps, [0.8, 0.4])


def test_only_compared_ticks_count_for_distances_and_only_runs_for_durations() -> None:
    divergence = Divergence(JOINTS, None)
    divergence.add(
        compared_answer((0.2, 0.2), duration_ns=1_000_000, rules=("effort",), beyond_limits=True)
    )
    for outcome in ShadowOutcome:
        if outcome is not ShadowOutcome.COMPARED:
            divergence.add(ShadowAnswer(1, outcome, duration_ns=3_000_000, rules=("x",)))
    assert divergence.counts == dict.fromkeys(ShadowOutcome, 1)
    assert divergence.compared == 1
    np.testing.assert_allclose(divergence.mean, [0.2, 0.2])
    assert divergence.in_steps(divergence.mean) is None
    assert divergence.rules == {"effort": 1, "x": 4}
    assert divergence.beyond_limits_share == 1.0
    assert divergence.duration_mean_s == pytest.approx(7e-3 / 3)
    assert divergence.duration_max_s == pytest.approx(3e-3)


TICKS, JOINTS = 3000, ("hip", "knee")
EQUAL = ExpectedDistance()
RANDOM = np.random.default_rng(3)
OBSERVED = RANDOM.normal(size=(TICKS, 6))
ACTIVE = 0.2 * OBSERVED @ RANDOM.normal(size=(6, 2))
ROUNDING = 0.01 * RANDOM.normal(size=ACTIVE.shape)


def expected_rounding(rms: float) -> ExpectedDistance:
    return ExpectedDistance(rms=dict.fromkeys(JOINTS, rms), max=dict.fromkeys(JOINTS, 3.0 * rms))


def divergence_of(shadow: F64) -> Divergence:
    found = Divergence(JOINTS, None)
    for tick, (theirs, ours) in enumerate(zip(shadow, ACTIVE, strict=True)):
        found.add(ShadowAnswer(tick, ShadowOutcome.COMPARED, target=theirs, active_target=ours))
    return found


def gates_broken_by(shadow: F64, expected: ExpectedDistance | None) -> set[str]:
    found = divergence_of(shadow)
    figures = ShadowFigures(
        joints=JOINTS,
        max=found.max,
        rms=found.rms,
        moves=found.moves,
        gain=found.gain,
        correlation=found.correlation,
        systematic=systematic_share(shadow - ACTIVE, OBSERVED),
    )
    judged, lacking = judge_shadow(figures, expected, ShadowLimits())
    assert bool(lacking) is (expected is None)
    return {one.figure for one in judged if not one.holds}


@pytest.mark.parametrize(
    ("shadow", "expected", "broken"),
    [
        (ACTIVE + ROUNDING, expected_rounding(0.01), set()),
        (ACTIVE + 2.0 * ROUNDING, expected_rounding(0.01), {"rms_ratio"}),
        (ACTIVE + 1e-7, EQUAL, set()),
        (ACTIVE * 1.001, EQUAL, {"rms_ratio"}),
    ],
    ids=["rounded as expected", "rounded more", "same weights", "not the same"],
)
def test_distance_is_that_of_the_evidence(
    shadow: F64, expected: ExpectedDistance, broken: set[str]
) -> None:
    assert gates_broken_by(shadow, expected) == broken


def test_wrong_scale_of_the_size_of_rounding_is_found_by_its_kind() -> None:
    """The distance itself is smaller than the evidence allows."""
    change = 0.1 * OBSERVED[:, :1] @ np.array([[0.1, -0.1]])
    assert divergence_of(ACTIVE + change).rms.max() < 0.012
    assert gates_broken_by(ACTIVE + change, expected_rounding(0.01)) >= {"systematic_share"}


def test_halved_targets_break_gain_whatever_the_evidence_allows() -> None:
    assert gates_broken_by(0.5 * ACTIVE, expected_rounding(0.02)) >= {"gain_error"}
    assert "gain_error" in gates_broken_by(0.5 * ACTIVE, None)


def test_targets_one_tick_late_break_correlation() -> None:
    assert "correlation" in gates_broken_by(np.roll(ACTIVE, 1, axis=0), expected_rounding(0.02))


def test_gain_is_the_slope_and_correlation_that_of_the_targets() -> None:
    found = divergence_of(np.stack([0.5 * ACTIVE[:, 0] + 1.0, -ACTIVE[:, 1]], axis=1))
    np.testing.assert_allclose(found.gain, [0.5, -1.0], atol=1e-9)
    np.testing.assert_allclose(found.correlation, [1.0, -1.0], atol=1e-9)
    np.testing.assert_allclose(found.moves, ACTIVE.std(axis=0), rtol=1e-9)


def test_gain_of_a_target_that_rests_is_unknown() -> None:
    found = Divergence(JOINTS, None)
    for _ in range(9):
        theirs, ours = np.array([0.3, -0.6]), np.array([0.3, -0.7])
        found.add(ShadowAnswer(1, ShadowOutcome.COMPARED, target=theirs, active_target=ours))
    assert np.isnan(found.gain).all()
    assert np.isnan(found.correlation).all()
    assert not found.moves.any()


def test_a_joint_that_rests_only_in_the_shadow_breaks_gain_and_correlation() -> None:
    shadow = ACTIVE * [1.0, 0.0]
    np.testing.assert_allclose(divergence_of(shadow).correlation, [1.0, 0.0], atol=1e-9)
    assert gates_broken_by(shadow, None) >= {"gain_error", "correlation"}


@pytest.mark.parametrize(
    ("active", "shadow", "error"),
    [([2.0, 0.0], [2.2, 0.0], [0.1, 0.0]), ([2.0, 0.0], [2.0, 0.5], [0.0, 500.0])],
    ids=["both without torque", "torque only in the shadow"],
)
def test_torque_of_a_joint_without_torque_in_use_is_compared(
    active: list[float], shadow: list[float], error: list[float]
) -> None:
    found = Divergence(JOINTS, None)
    for _ in range(9):
        torques = {"torque": np.array(shadow), "active_torque": np.array(active)}
        found.add(compared_answer((0.0, 0.0), **torques))
    assert found.torque_error == pytest.approx(error)


def test_share_that_is_systematic_needs_ticks() -> None:
    assert systematic_share(ROUNDING[:20], OBSERVED[:20]) is None
    share = systematic_share(ROUNDING, OBSERVED)
    assert share is not None
    assert (share < 0.05).all()
    share = systematic_share(OBSERVED[:, :2], OBSERVED)
    assert share is not None
    np.testing.assert_allclose(share, 1.0)


FILE = Path("trial.yaml")
BUNDLES = Path(__file__).resolve().parents[4] / "config" / "bundles"
WHOLE = """
run_time_s: 600
limits: {max_tilt_rad: 0.6, effort_scale: 0.8}
command_range: {min: [-0.3, -0.2, -0.3], max: [0.5, 0.2, 0.3]}
gates:
  tilt_rad: {limit: 0.4, after_s: 2}
  temperature_c: null
"""


def trial_settings(text: str) -> TrialSettings:
    return settings_of_trial(text.encode(), FILE, contract_of())


def setting_problems(text: str) -> list[str]:
    with pytest.raises(BundleError) as refused:
        trial_settings(text)
    return str(refused.value).splitlines()


def test_whole_file_is_read() -> None:
    found = trial_settings(WHOLE)
    assert found.run_time_s == 600.0
    assert found.limits == StricterLimits(max_tilt_rad=0.6, effort_scale=0.8)
    assert found.gates.judged()["tilt_rad"].limit == 0.4
    assert found.gates.judged()["tilt_rad"].after_s == 2.0
    assert "temperature_c" not in found.gates.judged()
    assert found.gates.judged()["falls"].limit == 0.0


def test_everything_wrong_is_said_at_once() -> None:
    found = setting_problems(
        "run_time_s: 0\nlimts: {}\nlimits: {margin: -1}\n"
        "gates: {tilt: {limit: 1}, falls: {limit: -1}}\n"
    )
    for key in ("run_time_s", "limts", "limits.margin", "gates.tilt", "gates.falls.limit"):
        assert any(f"trial.yaml: {key}:" in line for line in found), key


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("limits: {max_tilt_rad: 2.0}", "limits.max_tilt_rad"),
        ("limits: {command_timeout_s: 5.0}", "limits.command_timeout_s"),
        ("command_range: {min: [-2, 0, 0], max: [0, 0, 0]}", "command_range[0]"),
        ("command_range: {min: [0.1, 0, 0], max: [0.2, 0, 0]}", "command_range[0]"),
        ("command_range: {min: [0, 0, 0], max: [0, 0, -0.1]}", "command_range[2]"),
    ],
)
def test_what_would_loosen_the_contract_is_refused(text: str, key: str) -> None:
    (line,) = setting_problems(f"run_time_s: 10\n{text}")
    assert f"trial.yaml: {key}: expected" in line


@pytest.mark.parametrize("gate", ["falls", "tilt_rad", "torque_share"])
def test_gate_that_makes_no_sense_for_a_chunk_policy_is_refused_by_name(gate: str) -> None:
    contract = chunk_contract_of()
    text = f"run_time_s: 10\ngates: {{{gate}: {{limit: 1}}}}"
    with refusal(BundleError):
        settings_of_trial(text.encode(), FILE, contract)
    usual = settings_of_trial(b"run_time_s: 10", FILE, contract)
    assert gate not in usual.gates.judged()
    assert {"latched_faults", "hold_share", "tracking_error_rad"} <= usual.gates.judged().keys()


def test_range_of_commands_needs_a_policy_that_takes_them() -> None:
    text = b"run_time_s: 10\ncommand_range: {min: [0, 0, 0], max: [0, 0, 0]}"
    with refusal(BundleError):
        settings_of_trial(text, FILE, chunk_contract_of())


def test_record_keeps_all_settings() -> None:
    found = trial_settings(WHOLE)
    line = new_line(1, TrialEvent.BEGUN, settings=dataclasses.asdict(found))
    assert parse_line(json.loads(json.dumps(line)), FILE).settings == found


def test_of_each_limit_the_tighter_one_holds() -> None:
    both = trial_settings(WHOLE).stricter(
        StricterLimits(max_tilt_rad=0.5, effort_scale=0.9, margin=1.2)
    )
    assert both == StricterLimits(max_tilt_rad=0.5, effort_scale=0.8, margin=1.2)


def test_committed_schema_is_current_and_accepts_what_the_reader_accepts() -> None:
    committed = json.loads((BUNDLES / "trial.schema.json").read_text(encoding="utf-8"))
    assert committed == trial_schema(), "run python -m tools.write_schema"
    validator = jsonschema.Draft202012Validator(committed)
    validator.check_schema(committed)
    assert not list(validator.iter_errors(yaml.safe_load(WHOLE)))
    assert list(validator.iter_errors({"run_time_s": 0, "gates": {"tilt": {}}}))
