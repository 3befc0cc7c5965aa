# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Chunk denoising: the steps of flow and diffusion policies, in NumPy.

The graph computes only its outputs; schedules, steps and noise are handled in this module, so every
back end produces the same chunk from the same noise. Formulas: Lipman et al. 2023 (flow; time 1 is
noise, as in SmolVLA and pi0), Ho et al. 2020 (DDPM), Song et al. 2021 (DDIM, eta 0). As in
`diffusers`, denoising starts below the last training timestep if timesteps are skipped.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from policy_core.bundle.chunk_contract import (
    ChunkContract,
    Denoising,
    NoiseSchedule,
    StepTime,
)
from policy_core.errors import PolicyError
from policy_core.interfaces import F32, Backend

Guide = Callable[[F32, F32, float], F32]
"""Function that takes the noisy actions x [rows, columns], the graph's velocity for them and the
time, and returns the velocity to use.
"""
_LARGEST_BETA = 0.999
_SMALLEST_VARIANCE = 1e-20


class Denoiser:
    """Denoises chunks with the policy graph, whose other inputs the caller has filled."""

    def __init__(self, contract: ChunkContract, policy: Backend, steps: int | None = None) -> None:
        """Connect the graph, and compute what depends only on the denoising steps.

        Args:
            contract: Contract with a `denoising` section.
            policy: The opened policy graph; the caller keeps ownership.
            steps: Denoising steps per chunk; None for the contract's value.

        Raises:
            PolicyError: The policy does not support this number of steps.
        """
        denoising = contract.denoising
        assert denoising is not None
        self.steps = denoising.steps if steps is None else steps
        self._method = _make_method(denoising, self.steps)
        self.noise_shape = (
            self.steps if denoising.method == "ddpm" else 1,
            contract.rows,
            contract.columns,
        )
        """Shape of the standard normal noise for one chunk: draws, rows, columns."""
        self.times = self._method.times
        """Flow time or training timestep of each denoising step."""
        self.path: F32 = np.zeros((self.steps, *self.noise_shape[1:]), np.float32)
        """Result of each step of the last chunk [steps, rows, columns]; overwritten by the next
        chunk.
        """
        self._policy = policy
        self._embedded = embedded(denoising.time, self.times)
        self._noisy, self._time = (
            policy.inputs[tensor] for tensor in (denoising.tensor, denoising.time.tensor)
        )
        self._answer = policy.outputs[contract.action.tensor]

    def chunk(self, noise: F32, guide: Guide | None = None) -> F32:
        """Return a chunk of normalized actions [rows, columns], denoised from `noise`.

        Args:
            noise: Noise of shape `noise_shape`.
            guide: Changes the velocity in each step; for flow only.

        Raises:
            PolicyError: The noise has the wrong shape, or is not finite.
            BackendError: The runtime failed.
        """
        if noise.shape != self.noise_shape or not np.isfinite(noise).all():
            raise PolicyError(
                f"noise: expected finite values {list(self.noise_shape)}, found "
                f"{'NaN or infinity' if noise.shape == self.noise_shape else list(noise.shape)}"
            )
        x: F32 = noise[0].astype(np.float32)
        for step, time in enumerate(self.times):
            self._noisy[0] = x
            self._time[0] = self._embedded[step]
            self._policy.run()
            answer = self._answer[0].astype(np.float32)
            if guide is not None:
                answer = guide(x, answer, time)
            more = noise[step + 1] if step + 1 < len(noise) else None
            self.path[step] = x = self._method.advance(step, x, answer, more)
        return x


class FlowMethod:
    """Euler's method from time 1 (noise) to time 0 (actions)."""

    def __init__(self, steps: int) -> None:
        self.times = tuple(1.0 + step * (-1.0 / steps) for step in range(steps))
        self._stride = np.float32(-1.0 / steps)

    def advance(self, step: int, x: F32, answer: F32, noise: F32 | None) -> F32:
        """Return the actions after a step from `x` with velocity `answer`; `noise` is unused."""
        return x + self._stride * answer


class DiffusionMethod:
    """DDPM or DDIM over evenly spaced training timesteps."""

    def __init__(self, schedule: NoiseSchedule, steps: int, *, adds_noise: bool) -> None:
        """Choose the timesteps; `adds_noise` is True for DDPM."""
        stride = schedule.timesteps // steps
        chosen = np.arange(steps)[::-1] * stride
        kept = cumulative_alphas(schedule)
        self.times = tuple(float(each) for each in chosen)
        self._now = kept[chosen]
        self._after = np.where(chosen >= stride, kept[chosen - stride], np.float32(1.0))
        self._schedule, self._adds_noise = schedule, adds_noise

    def advance(self, step: int, x: F32, answer: F32, noise: F32 | None) -> F32:
        """Return the actions after a step from `x`, given the graph's `answer`.

        `noise` is the noise that DDPM adds; None in the last step.
        """
        now, after = self._now[step], self._after[step]
        if self._schedule.prediction == "epsilon":
            eps, clean = answer, (x - np.sqrt(1 - now) * answer) / np.sqrt(now)
        else:
            eps, clean = (x - np.sqrt(now) * answer) / np.sqrt(1 - now), answer
        if self._schedule.clip is not None:
            clean = np.clip(clean, -self._schedule.clip, self._schedule.clip)
        if not self._adds_noise:
            found: F32 = np.sqrt(after) * clean + np.sqrt(1 - after) * eps
            return found
        alpha = now / after
        beta = 1 - alpha
        mean: F32 = (
            np.sqrt(after) * beta / (1 - now) * clean + np.sqrt(alpha) * (1 - after) / (1 - now) * x
        )
        if noise is None:
            return mean
        variance = np.maximum((1 - after) / (1 - now) * beta, np.float32(_SMALLEST_VARIANCE))
        noisy: F32 = mean + np.sqrt(variance) * noise
        return noisy


def _make_method(denoising: Denoising, steps: int) -> FlowMethod | DiffusionMethod:
    schedule = denoising.schedule
    if schedule is None:
        return FlowMethod(steps)
    if not 1 <= steps <= schedule.timesteps:
        raise PolicyError(
            f"denoising steps: expected 1 to {schedule.timesteps} (the training timesteps), "
            f"found {steps}"
        )
    return DiffusionMethod(schedule, steps, adds_noise=denoising.method == "ddpm")


def cumulative_alphas(schedule: NoiseSchedule) -> F32:
    """Return the share of the signal's variance that is left after each timestep [timesteps]."""
    count = schedule.timesteps
    if schedule.betas == "squaredcos_cap_v2":
        share = np.cos((np.arange(count + 1) / count + 0.008) / 1.008 * np.pi / 2) ** 2
        betas = np.minimum(1 - share[1:] / share[:-1], _LARGEST_BETA).astype(np.float32)
    else:
        power = 2.0 if schedule.betas == "scaled_linear" else 1.0
        ends = schedule.beta_start ** (1 / power), schedule.beta_end ** (1 / power)
        betas = np.linspace(*ends, count).astype(np.float32) ** np.float32(power)
    return np.cumprod(1 - betas, dtype=np.float32)


def embedded(time: StepTime, times: tuple[float, ...]) -> F32:
    """Return the encoding of each step's time [steps, size], as input to the policy graph."""
    frequencies = np.geomspace(time.first_frequency, time.last_frequency, time.size // 2)
    # Rounded to float32, as a float32 network receives the times.
    rounded = np.array(times, np.float32).astype(np.float64)
    angles = rounded[:, np.newaxis] * frequencies
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)
