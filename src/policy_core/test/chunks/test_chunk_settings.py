# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Settings that a chunk policy cannot follow are refused; a time budget decides the steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from policy_core.errors import PolicyError
from policy_core.members.chunk.graphs import Inference
from policy_core.members.chunk.settings import ChunkSettings, check_settings, require_ensemble_speed
from policy_inference.kinds import chunk
from policy_inference.kinds.chunk import within_budget
from testkit.kernel.arms import ScriptedGraph
from testkit.kernel.chunk_contracts import chunk_contract_of
from testkit.kernel.noise import DDIM, FLOW, denoising_changes
from testkit.wording import refusal

FLOWS, STEPS_OF_DDIM = denoising_changes(FLOW), denoising_changes(DDIM)
TWO_OBSERVATIONS = denoising_changes({**FLOW, "observations": 2})
WRONG: Mapping[str, tuple[Mapping[str, object], Mapping[str, Any]]] = {
    "more steps than a chunk": ({}, {"steps": 11}),
    "no coefficient": ({}, {"mode": "ensemble"}),
    "NaN as coefficient": ({}, {"mode": "ensemble", "ensemble_coeff": float("nan")}),
    "negative fade": ({}, {"fade_s": -1.0}),
    "long fade": ({}, {"fade_s": 1e9}),
    "handover without tolerance": ({}, {"handover_s": 1.0}),
    "rtc without a flow": ({}, {"mode": "rtc"}),
    "rtc of two observations": (TWO_OBSERVATIONS, {"mode": "rtc"}),
    "unknown schedule": (FLOWS, {"mode": "rtc", "prefix_schedule": "cosine"}),
    "far horizon": (FLOWS, {"mode": "rtc", "execution_horizon": 11}),
    "budget without steps": ({}, {"mode": "asynchronous", "time_budget_s": 0.1}),
}


@pytest.mark.parametrize("case", WRONG)
def test_settings_that_a_policy_cannot_follow_are_refused(case: str) -> None:
    changes, settings = WRONG[case]
    with refusal(PolicyError):
        check_settings(ChunkSettings(**settings), chunk_contract_of(changes))


def test_ensembling_is_refused_where_inference_takes_longer_than_a_period() -> None:
    require_ensemble_speed(0.099, chunk_contract_of())
    with refusal(PolicyError):
        require_ensemble_speed(0.101, chunk_contract_of())


@pytest.fixture(autouse=True)
def speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each denoising step take 5 ms, and all else 10 ms."""
    monkeypatch.setattr(
        chunk, "measured_s", lambda inference, contract: 0.010 + 0.005 * inference.denoising_steps
    )


def within(budget_s: float | None) -> tuple[Inference, float]:
    contract = chunk_contract_of(denoising_changes(FLOW))
    graphs = {key: ScriptedGraph(graph) for key, graph in contract.models.items()}
    return within_budget(contract, graphs, ChunkSettings(time_budget_s=budget_s))


@pytest.mark.parametrize(
    ("budget_s", "steps"), [(None, 10), (1.0, 10), (0.0601, 10), (0.041, 6), (0.0151, 1)]
)
def test_as_many_steps_are_made_as_fit(budget_s: float | None, steps: int) -> None:
    inference, takes_s = within(budget_s)
    assert inference.denoising_steps == steps
    assert budget_s is None or takes_s <= budget_s


def test_a_budget_for_which_one_step_is_too_slow_is_refused() -> None:
    with refusal(PolicyError):
        within(0.014)
