# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The policy that ships with the suite, accepted: the whole control path in lockstep, no ROS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from model_tools.make.complete import Completion, make_bundle
from model_tools.make.unrecorded import simulated_walks
from model_tools.prove.replaying.replay import Judgement
from model_tools.prove.trial import WalkOutcome, try_case
from model_tools.simulation.robot import SimulatedRobot, WalkCase, WalkLimits, steady
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_inference.backends.base import BackendBase
from policy_inference.backends.registry import open_backend
from tools.acceptance.accept import PAGE, REPORT, accept, replay_recording
from tools.acceptance.cases import all_cases, push_cases, steady_cases
from tools.acceptance.figures import read_figures
from tools.acceptance.tables import gates_table

ROOT = Path(__file__).resolve().parents[2]
BUNDLES = ROOT / "config" / "bundles"
OURS, VENDORS = BUNDLES / "lite3_walk", BUNDLES / "lite3_deeprobotics"
GO2 = BUNDLES / "go2_walk"
ROBOTS = {OURS: SimulatedRobot(), GO2: SimulatedRobot(figures="go2")}


class Walker:
    def __init__(self, bundle: JointBundle, backend: BackendBase, robot: SimulatedRobot) -> None:
        self._bundle, self._backend, self._robot = bundle, backend, robot

    def try_case(self, case: WalkCase) -> WalkOutcome:
        return try_case(self._bundle, self._backend, case, robot=self._robot)[0]


@pytest.fixture(scope="module", params=ROBOTS, ids=lambda path: path.name)
def ours(request: pytest.FixtureRequest) -> Iterator[Walker]:
    bundle = load_bundle(request.param, kind=JointBundle)
    backend, _ = open_backend(bundle, ["onnx"])
    yield Walker(bundle, backend, ROBOTS[request.param])
    backend.close()


@pytest.fixture
def vendors(shared_data: Path, tmp_path: Path) -> Path:
    """The robot maker's policy, a whole bundle under the contract that ships with the suite."""
    weights = shared_data / "legged" / "lite3" / "policy.onnx"
    return make_bundle(
        VENDORS, weights, tmp_path / "vendors", Completion(measure=simulated_walks)
    ).path


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.name) for case in (*steady_cases(), *push_cases())]
)
def test_our_policy_follows_every_command_in_good_posture_and_survives_pushes(
    ours: Walker, case: WalkCase
) -> None:
    outcome = ours.try_case(case)
    assert outcome.passed, outcome


def test_error_is_that_of_the_command_that_the_contract_lets_through(ours: Walker) -> None:
    walk = WalkCase(name="fast", group="", schedule=steady(5.0, 0.0, 0.0), duration_s=6.0)
    assert max(ours.try_case(walk).error) < 0.1


@pytest.mark.slow
def test_the_guard_leaves_healthy_walks_alone(ours: Walker) -> None:
    walk = WalkCase(
        name="healthy",
        group="",
        schedule=steady(-0.5, 0.2, 0.6),
        friction=0.6,
        latency_ms=5,
        limits=WalkLimits(altered_share=0.001),
    )
    assert ours.try_case(walk).passed


@pytest.mark.acceptance
@pytest.mark.parametrize("policy", ROBOTS, ids=lambda path: path.name)
def test_our_policy_is_accepted(policy: Path) -> None:
    results = ROOT / "out" / "acceptance" / policy.name
    results.mkdir(parents=True, exist_ok=True)
    outcomes = accept(policy, results, robot=ROBOTS[policy])
    assert [outcome for outcome in outcomes if outcome.passed is False] == []
    replayed = replay_recording(policy, results)
    assert replayed, replayed.first
    assert replayed.judgement is Judgement.EXACT
    assert replayed.flight.seconds_by_mode["RUN"] == pytest.approx(600.0, abs=0.1)
    assert (results / PAGE).stat().st_size > 100_000


@pytest.mark.acceptance
@pytest.mark.real_data
def test_the_vendors_policy_walks_as_its_report_says(vendors: Path, tmp_path: Path) -> None:
    found = accept(vendors, tmp_path)
    for outcome, reported in zip(found, read_figures(VENDORS / REPORT), strict=True):
        assert outcome.survived == reported.survived, outcome.name
        assert outcome.error == pytest.approx(reported.error, abs=0.02), outcome.name
        assert outcome.tilt_deg == pytest.approx(reported.tilt_deg, abs=2.0), outcome.name


@pytest.mark.parametrize("policy", [OURS, VENDORS, GO2], ids=lambda path: path.name)
def test_the_report_of_a_policy_is_of_todays_cases(policy: Path) -> None:
    found = [outcome.name for outcome in read_figures(policy / REPORT)]
    assert found == [case.name for case in all_cases()]


@pytest.mark.parametrize("policy", ROBOTS, ids=lambda path: path.name)
def test_our_report_says_that_every_gate_holds(policy: Path) -> None:
    outcomes = read_figures(policy / REPORT)
    gates = [outcome for outcome, case in zip(outcomes, all_cases(), strict=True) if case.limits]
    assert len(gates) == 23
    assert all(outcome.passed for outcome in gates)


def test_the_page_shows_what_the_reports_say() -> None:
    table = gates_table(
        {"ours": read_figures(OURS / REPORT), "the vendor's": read_figures(VENDORS / REPORT)}
    )
    assert table in (ROOT / "docs" / "walking.md").read_text("utf-8")
