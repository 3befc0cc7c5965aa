# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Denoising steps of networks whose answer is known: they end where the mathematics says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from policy_core.bundle.chunk_contract import NoiseSchedule, StepTime
from policy_core.errors import PolicyError
from policy_core.interfaces import F32
from policy_core.members.chunk.denoising import Denoiser, cumulative_alphas, embedded
from testkit.kernel.arms import ScriptedGraph
from testkit.kernel.chunk_contracts import STEPS, chunk_contract_of
from testkit.kernel.noise import DDIM, FLOW, denoising_changes
from testkit.wording import refusal

CLEAN = np.linspace(-0.8, 0.8, STEPS * 3, dtype=np.float32).reshape(STEPS, 3)


def denoiser_of(
    denoising: Mapping[str, Any],
    answer: Callable[[F32, float], npt.ArrayLike],
    steps: int | None = None,
) -> Denoiser:
    """Return a denoiser whose network answers so for noisy actions and the time of the step."""
    contract = chunk_contract_of(denoising_changes(denoising))
    graph = ScriptedGraph(contract.graphs["transformer"])
    denoiser = Denoiser(contract, graph, steps)
    times = iter(denoiser.times)

    def during_run() -> None:
        graph.outputs["Actions"][0] = answer(graph.inputs["noisy"][0].copy(), next(times))

    graph.during_run = during_run
    return denoiser


def drawn_noise(denoiser: Denoiser, seed: int = 0) -> F32:
    return np.random.default_rng(seed).standard_normal(denoiser.noise_shape, np.float32)


@pytest.mark.parametrize("steps", [1, 2, 7, 10])
def test_a_flow_that_knows_the_way_ends_at_the_actions_in_any_number_of_steps(steps: int) -> None:
    # On the straight way from the noise, noise - actions = (x - actions) / t.
    denoiser = denoiser_of(FLOW, lambda x, time: (x - CLEAN) / time, steps)

    np.testing.assert_allclose(denoiser.chunk(drawn_noise(denoiser)), CLEAN, atol=1e-5)


@pytest.mark.parametrize("method", ["ddpm", "ddim"])
@pytest.mark.parametrize("prediction", ["sample", "epsilon"])
@pytest.mark.parametrize("betas", ["squaredcos_cap_v2", "scaled_linear", "linear"])
def test_a_diffusion_that_knows_the_actions_ends_there(
    method: str, prediction: str, betas: str
) -> None:
    schedule = {**DDIM["schedule"], "prediction": prediction, "betas": betas, "clip": 1.0}
    denoising = {**DDIM, "method": method, "schedule": schedule}
    kept = cumulative_alphas(NoiseSchedule(**schedule))

    def answer(x: F32, time: float) -> npt.ArrayLike:
        now = kept[int(time)]
        return CLEAN if prediction == "sample" else (x - np.sqrt(now) * CLEAN) / np.sqrt(1 - now)

    denoiser = denoiser_of(denoising, answer)

    np.testing.assert_allclose(denoiser.chunk(drawn_noise(denoiser)), CLEAN, atol=2e-3)


def test_the_noise_of_ddpm_matters_after_each_step_but_the_last() -> None:
    denoiser = denoiser_of({**DDIM, "method": "ddpm"}, lambda x, time: 0.5 * x)
    assert denoiser.noise_shape[0] == DDIM["steps"]
    noise = drawn_noise(denoiser)
    first = denoiser.chunk(noise)
    for draw in range(1, len(noise)):
        changed = noise.copy()
        changed[draw] += 1.0
        again = denoiser_of({**DDIM, "method": "ddpm"}, lambda x, time: 0.5 * x)
        assert np.abs(again.chunk(changed) - first).max() > 1e-4


def test_actions_are_clipped_in_each_step_where_the_training_did() -> None:
    for clip, wanted in ((0.5, 0.5), (None, 0.8)):
        schedule = {**DDIM["schedule"], "clip": clip}
        denoiser = denoiser_of({**DDIM, "schedule": schedule}, lambda x, time: CLEAN)
        assert np.abs(denoiser.chunk(drawn_noise(denoiser))).max() == pytest.approx(
            wanted, abs=1e-3
        )


def test_timesteps_are_spread_from_zero_and_first_is_not_always_the_last_of_the_training() -> None:
    denoiser = denoiser_of(DDIM, lambda x, time: x, 7)

    assert denoiser.times == (84.0, 70.0, 56.0, 42.0, 28.0, 14.0, 0.0)


def test_noise_of_another_shape_or_not_finite_is_refused() -> None:
    denoiser = denoiser_of(FLOW, lambda x, time: x)
    with refusal(PolicyError):
        denoiser.chunk(np.zeros((1, 9, 3), np.float32))
    with refusal(PolicyError):
        denoiser.chunk(np.full((1, STEPS, 3), np.nan, np.float32))


def test_a_time_is_embedded_as_sines_then_cosines_of_falling_frequencies() -> None:
    time = StepTime(tensor="time", size=6, first_frequency=1.0, last_frequency=0.01)

    found = embedded(time, (99.0, 0.0))

    wanted = [np.sin(99.0), np.sin(9.9), np.sin(0.99), np.cos(99.0), np.cos(9.9), np.cos(0.99)]
    np.testing.assert_allclose(found[0], wanted, atol=1e-6)
    np.testing.assert_array_equal(found[1], [0, 0, 0, 1, 1, 1])
