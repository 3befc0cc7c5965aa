# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A time budget decides how many denoising steps a chunk has, and the log says so."""

from __future__ import annotations

import logging

import pytest

from policy_inference.core.chunks.graphs import Inference
from policy_inference.core.chunks.settings import ChunkSettings
from policy_inference.errors import PolicyError
from policy_inference.kinds import chunk
from policy_inference.kinds.chunk import within_budget
from testkit.numbers import numbers_in
from testkit.wording import check_wording, refusal

from .arms import ScriptedGraph
from .contracts import chunk_contract_of
from .noise import FLOW, denoising_changes


@pytest.fixture(autouse=True)
def speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each denoising step take 5 ms, and all else 10 ms."""
    monkeypatch.setattr(
        chunk,
        "measured_s",
        lambda inference, contract: 0.010 + 0.005 * inference.denoising_steps,
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


def test_fewer_steps_than_the_contracts_are_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "policy_inference"):
        within(0.041)
    check_wording(caplog.messages[-1])
    assert numbers_in(caplog.messages[-1])[:4] == [6, 10, 0.041, 5.0]


def test_a_budget_for_which_one_step_is_too_slow_is_refused() -> None:
    with refusal(PolicyError):
        within(0.014)
