# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Observations that are not what the policy was trained on."""

from collections.abc import Mapping

import numpy as np
import pytest

from policy_inference.core.distribution import DistributionWatch, watched_inputs, watched_state
from policy_inference.interfaces import Tensor
from testkit.numbers import numbers_in
from testkit.wording import check_wording

from .chunks.contracts import chunk_contract_of
from .contracts import NOMINAL, contract_of

REPORTS = 25
TERMS = [{"term": "joint_pos_rel"}, {"term": "joint_vel"}]


def watched(
    history: Mapping[str, object] | None = None, size: int = 6
) -> tuple[DistributionWatch, dict[str, Tensor]]:
    """Return a watch over three positions and three velocities within ±1, and the input."""
    low, high = [-1.0] * size, [1.0] * size
    statistics = {"mean": [0.0] * size, "std": [0.5] * size, "min": low, "max": high}
    contract = contract_of(
        {
            "observations": {"obs": {"terms": TERMS, "history": dict(history or {})}},
            "nominal": {**NOMINAL, "observation": {"obs": statistics}},
        }
    )
    inputs: dict[str, Tensor] = {"obs": np.zeros((1, size), np.float32)}
    return DistributionWatch(watched_inputs(contract, inputs)), inputs


def test_term_that_is_often_outside_is_named_with_its_share() -> None:
    observed, inputs = watched()
    for report in range(2 * REPORTS):
        inputs["obs"][0, 4] = 5.0 if report % 2 else 0.0
        observed.look()

    check_wording(*observed.problems)
    assert numbers_in(observed.problems[0]) == [25, 50]


def test_values_of_a_healthy_run_and_a_little_more_are_no_problem() -> None:
    observed, inputs = watched()
    inputs["obs"][:] = 1.9
    for _ in range(REPORTS):
        observed.look()

    assert observed.problems == []


def test_a_push_now_and_then_is_no_problem() -> None:
    observed, inputs = watched()
    for report in range(40 * REPORTS):
        inputs["obs"][:] = 9.0 if report % 6 == 0 else 0.0
        observed.look()

    assert observed.problems == []


def test_what_goes_wrong_after_an_hour_is_reported_as_soon_as_what_is_wrong_at_first() -> None:
    observed, inputs = watched()
    for _ in range(3600 * 5):
        observed.look()
    inputs["obs"][0, 4] = 5.0
    for report in range(1, REPORTS + 1):
        observed.look()
        assert bool(observed.problems) == (report == REPORTS)
    inputs["obs"][0, 4] = 0.0
    for _ in range(5 * REPORTS - REPORTS + 1):
        observed.look()

    assert observed.problems == []


def test_nothing_is_said_after_a_few_reports() -> None:
    observed, inputs = watched()
    inputs["obs"][:] = 9.0
    for _ in range(REPORTS - 1):
        observed.look()

    assert observed.problems == []


def test_restart_forgets() -> None:
    observed, inputs = watched()
    inputs["obs"][:] = 9.0
    for _ in range(REPORTS):
        observed.look()
    assert len(observed.problems) == 2
    observed.restart()

    assert observed.problems == []


@pytest.mark.parametrize(("layout", "place"), [("per_frame", 6), ("per_term", 4)])
def test_terms_are_found_in_histories(layout: str, place: int) -> None:
    """Two frames: p p p v v v p p p v v v, or p p p p p p v v v v v v."""
    observed, inputs = watched({"length": 2, "layout": layout}, size=12)
    inputs["obs"][0, place] = 9.0
    for _ in range(REPORTS):
        observed.look()

    assert [text.split()[2] for text in observed.problems] == ["joint_pos_rel"]


def test_bundle_that_knows_no_healthy_range_is_not_judged() -> None:
    contract = contract_of()
    inputs = {"obs": np.full((1, 18), 99.0, np.float32)}
    observed = DistributionWatch(watched_inputs(contract, inputs))
    for _ in range(REPORTS):
        observed.look()

    assert observed.problems == []


VECTOR = {"feature": "observation.state", "tensor": "states", "joints": ["pan", "lift", "gripper"]}


@pytest.mark.parametrize(
    ("scaling", "inside", "outside"),
    [
        ({"mode": "mean_std", "mean": [0.0] * 3, "std": [1.0] * 3}, 7.9, 8.1),
        ({"mode": "min_max", "min": [-1.0] * 3, "max": [1.0] * 3}, -1.9, -2.1),
    ],
)
def test_vectors_of_a_chunk_policy_are_held_against_their_normalisation(
    scaling: Mapping[str, object], inside: float, outside: float
) -> None:
    contract = chunk_contract_of({"state": {**VECTOR, "normalisation": scaling}})
    inputs: dict[str, Tensor] = {"states": np.zeros((1, 3), np.float32)}
    observed = DistributionWatch(watched_state(contract, inputs))
    inputs["states"][0, 1] = inside
    for _ in range(REPORTS):
        observed.look()
    assert observed.problems == []
    inputs["states"][0, 1] = outside
    for _ in range(REPORTS):
        observed.look()
    (problem,) = observed.problems
    assert "observation.state[lift]" in problem
    check_wording(problem)


def test_of_a_vector_that_is_not_normalised_nothing_is_known() -> None:
    contract = chunk_contract_of({})
    assert watched_state(contract, {"states": np.zeros((1, 3), np.float32)}) == []
