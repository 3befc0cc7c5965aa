# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Observations that are not those of training: which terms, and what they look like."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import F64, Tensor
from policy_core.members.chunk.normalise import watched_state
from policy_core.observation.distribution import (
    DistributionCheck,
    DistributionWatch,
    InputStatistics,
    input_statistics,
    normalised_input,
    watched_inputs,
)
from testkit.kernel.chunk_contracts import chunk_contract_of
from testkit.kernel.contracts import NOMINAL, contract_of
from testkit.numbers import numbers_in
from testkit.wording import check_wording

LOOKS, JOINTS = 64, 3
SCALE = 0.05
MEAN = np.r_[np.zeros(3), 0.5, -0.5, 1.0]
DIVISOR = np.r_[np.full(3, 0.2), np.full(3, 4.0)]
"""Of the normalisation, as of positions in rad and velocities in rad/s."""


def gait(scale: float = 1.0) -> F64:
    """Return some s of three joints that move: positions, then velocities [looks, 6]."""
    phase = np.linspace(0.0, 14.0, LOOKS)[:, None] + np.arange(JOINTS)
    return np.hstack([0.2 * np.sin(phase), 4.0 * np.cos(phase) * scale])


def healthy_of(inputs: F64, scale: float = 1.0, **history: object) -> InputStatistics:
    """Return what a bundle's nominal statistics say of such model inputs."""
    statistics = {
        name: getattr(inputs, name)(axis=0).tolist() for name in ("mean", "std", "min", "max")
    }
    terms = [{"term": "joint_pos_rel"}, {"term": "joint_vel", "scale": scale}]
    contract = contract_of(
        {
            "observations": {"obs": {"terms": terms, "history": history}},
            "nominal": {**NOMINAL, "observation": {"obs": statistics}},
        }
    )
    healthy = input_statistics(contract, "obs")
    assert healthy is not None
    return healthy


def test_observations_of_training_fit_also_with_a_push() -> None:
    check, pushed = DistributionCheck(healthy_of(gait()), None), gait()
    pushed[: LOOKS // 8] *= 10.0
    assert check.describe(gait()) == check.describe(pushed) == ""


def test_values_in_si_units_are_recognised() -> None:
    check = DistributionCheck(healthy_of(gait(SCALE), SCALE), None)

    text = check.describe(gait())
    assert "expected -0.4" in text
    check_wording(text)


def test_twice_normalised_observations_are_recognised() -> None:
    raw = gait() + MEAN
    inputs = (raw - MEAN) / DIVISOR

    check = DistributionCheck(healthy_of(inputs), (MEAN, DIVISOR))
    assert check.describe(raw) == ""
    check_wording(check.describe(inputs))


def test_observations_that_were_never_normalised_are_recognised() -> None:
    raw = gait() + 20.0 * MEAN
    check = DistributionCheck(healthy_of((raw - 20.0 * MEAN) / DIVISOR), (20.0 * MEAN, DIVISOR))

    check_wording(check.describe(check.not_normalised(raw)))


@pytest.mark.real_data
def test_walking_lite3_fits_and_what_is_wrong_with_it_is_named(shared_data: Path) -> None:
    folder = shared_data / "legged" / "lite3"
    observations = np.load(folder / "rollout_50hz.npz")["obs"].astype(np.float64)
    windows = observations[200:3800:2][:1792].reshape(-1, LOOKS, 45)
    bundle = Path(__file__).parents[3] / "config" / "bundles" / "lite3_walk"
    shipped = input_statistics(load_bundle(bundle, kind=JointBundle).contract, "obs")
    assert shipped is not None
    low, high = observations.min(axis=0), observations.max(axis=0)
    healthy = InputStatistics(
        terms=shipped.terms,
        low=low - (high - low) / 2,
        high=high + (high - low) / 2,
        std=observations.std(axis=0),
        scale=shipped.scale,
        subtracted=shipped.subtracted,
        blocks=shipped.blocks,
    )
    mean, divisor = observations.mean(axis=0), np.maximum(observations.std(axis=0), 1e-3)
    bare = DistributionCheck(normalised_input(45), (mean, divisor))
    check = DistributionCheck(healthy, None)
    by_part = observations.copy()
    for block in healthy.blocks:
        by_part[:, block] = observations[:, block.reshape(4, 3).T.reshape(-1)]

    assert not any(map(check.describe, windows))
    assert not any(map(bare.describe, windows))
    described = [
        [check.describe(window / shipped.scale) for window in windows],
        [check.describe(window + shipped.subtracted) for window in windows],
        [bare.describe((window - mean) / divisor) for window in windows],
        [*filter(None, map(check.describe, by_part[200:3800:2][:1792].reshape(-1, LOOKS, 45)))],
    ]
    assert len(described[-1]) > len(windows) / 2
    explanations = [{text.rpartition("; ")[2] for text in texts} for texts in described]
    assert [len(each) for each in explanations] == [1] * 4
    check_wording(*(text for each in explanations for text in each))


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


def looks(observed: DistributionWatch, count: int = REPORTS) -> list[str]:
    """Return the problems after so many reports more."""
    for _ in range(count):
        observed.look()
    return observed.problems


def test_term_that_is_often_outside_is_named_with_its_share() -> None:
    observed, inputs = watched()
    for report in range(2 * REPORTS):
        inputs["obs"][0, 4] = 5.0 if report % 2 else 0.0
        observed.look()

    check_wording(*observed.problems)
    assert numbers_in(observed.problems[0]) == [25, 50]


@pytest.mark.parametrize(
    ("values", "count"), [((1.9,), 1), ((9.0, 0.0, 0.0, 0.0, 0.0, 0.0), 40)], ids=["more", "push"]
)
def test_a_little_more_than_healthy_and_a_push_now_and_then_are_no_problem(
    values: Sequence[float], count: int
) -> None:
    observed, inputs = watched()
    for value in itertools.islice(itertools.cycle(values), count * REPORTS):
        inputs["obs"][:] = value
        observed.look()

    assert observed.problems == []


@pytest.mark.parametrize(("layout", "place"), [("per_frame", 6), ("per_term", 4)])
def test_terms_are_found_in_histories(layout: str, place: int) -> None:
    """Two frames: p p p v v v p p p v v v, or p p p p p p v v v v v v."""
    observed, inputs = watched({"length": 2, "layout": layout}, size=12)
    inputs["obs"][0, place] = 9.0
    assert [text.split()[2] for text in looks(observed)] == ["joint_pos_rel"]


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
    assert looks(observed) == []
    inputs["states"][0, 1] = outside
    (problem,) = looks(observed)
    assert "observation.state[lift]" in problem
    check_wording(problem)
