# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Settings for chunk execution that an operator may choose."""

from dataclasses import dataclass
from typing import Literal, get_args

from policy_core.bundle.chunk_contract import LARGEST_ENSEMBLE_COEFF, ChunkContract
from policy_core.errors import PolicyError
from policy_core.members.chunk.real_time import PREFIX_SCHEDULES, PrefixSchedule

ChunkMode = Literal["synchronous", "asynchronous", "ensemble", "rtc"]
CHUNK_MODES: tuple[str, ...] = get_args(ChunkMode)
_LONGEST_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkSettings:
    """Settings for chunk execution; see docs/act.md."""

    mode: ChunkMode = "asynchronous"
    steps: int | None = None
    """Maximum number of steps executed per chunk; None for the contract's value."""
    refill_threshold: float = 0.5
    """asynchronous, rtc: share of steps remaining below which the next chunk is requested."""
    fade_s: float = 0.2
    """asynchronous: time over which a new chunk's targets replace those of the old chunk."""
    realign: bool = False
    """asynchronous: offset a new chunk so that its first target equals the last command."""
    ensemble_coeff: float | None = None
    """ensemble: coefficient of the weights; None for the contract's value."""
    prefix_schedule: PrefixSchedule = "linear"
    """rtc: how the weight of the planned steps decays from the delay to the horizon."""
    execution_horizon: int | None = None
    """rtc: index of a new chunk's first unguided step; None for the number of planned steps."""
    max_guidance_weight: float = 10.0
    """rtc: maximum weight of the correction."""
    time_budget_s: float | None = None
    """flow, diffusion: time limit for each chunk; fewer denoising steps are used to meet it.
    None for the contract's number of steps.
    """
    noise_seed: int = 0
    """flow, diffusion: seed of the noise."""
    handover_s: float | None = None
    """takeover: blend time between the policy and a person; None if takeover is disabled."""
    leader_tolerance_rad: float | None = None
    """takeover: maximum distance between a leader joint and the arm's command at which a person may
    take over; None if takeover is disabled.
    """
    simulated_latency_s: float = 0.0
    """Simulated inference time, used with simulated time."""


def executed_steps(settings: ChunkSettings, contract: ChunkContract) -> int:
    """Return the maximum number of steps executed per chunk.

    Raises:
        PolicyError: The number is below 1 or above the chunk size.
    """
    steps = contract.chunk.steps if settings.steps is None else settings.steps
    if not 1 <= steps <= contract.chunk.size:
        raise PolicyError(
            f"steps to execute: expected 1 to {contract.chunk.size} (the chunk size of "
            f"{contract.name!r}), found {steps}"
        )
    return steps


def ensemble_coefficient(settings: ChunkSettings, contract: ChunkContract) -> float:
    """Return the coefficient of temporal ensembling.

    Raises:
        PolicyError: Neither the settings nor the contract has a coefficient, or it is out of
        bounds.
    """
    for coefficient in (settings.ensemble_coeff, contract.chunk.ensemble_coeff):
        if coefficient is None:
            continue
        if not abs(coefficient) <= LARGEST_ENSEMBLE_COEFF:
            raise PolicyError(
                f"ensemble_coeff: expected {-LARGEST_ENSEMBLE_COEFF:g} to "
                f"{LARGEST_ENSEMBLE_COEFF:g}, found {coefficient:g}"
            )
        return coefficient
    raise PolicyError(
        f"mode ensemble: expected a coefficient, found no chunk.ensemble_coeff in the "
        f"policy.yaml of {contract.name}; set it there (the paper's is 0.01), or choose "
        "another mode"
    )


def check_settings(settings: ChunkSettings, contract: ChunkContract) -> None:
    """Raise an error unless the settings match the policy.

    Raises:
        PolicyError: The settings do not match; the message gives the first mismatch.
    """
    if settings.mode not in CHUNK_MODES:
        raise PolicyError(
            f"mode: expected one of {', '.join(CHUNK_MODES)}, found {settings.mode!r}"
        )
    executed_steps(settings, contract)
    if settings.mode == "ensemble":
        ensemble_coefficient(settings, contract)
    if settings.mode == "rtc":
        _check_real_time(settings, contract)
    if settings.time_budget_s is not None and contract.denoising is None:
        raise PolicyError(
            f"time_budget_s: expected a policy that makes chunks in denoising steps, found "
            f"{contract.name}, which makes a chunk in one run of its graph; omit the budget"
        )
    if not 0.0 <= settings.refill_threshold <= 1.0:
        raise PolicyError(
            f"refill_threshold: expected a share from 0 to 1, found {settings.refill_threshold:g}"
        )
    for name in ("fade_s", "simulated_latency_s", "handover_s"):
        if not 0.0 <= (getattr(settings, name) or 0.0) <= _LONGEST_S:
            raise PolicyError(
                f"{name}: expected 0 to {_LONGEST_S:g} s, found {getattr(settings, name):g}"
            )
    tolerance_rad = settings.leader_tolerance_rad
    if (settings.handover_s is None) != (tolerance_rad is None):
        raise PolicyError(
            "handover_s, leader_tolerance_rad: expected both or neither, found only one of them"
        )
    if tolerance_rad is not None and not tolerance_rad > 0.0:
        raise PolicyError(
            f"leader_tolerance_rad: expected a number above 0, found {tolerance_rad:g}"
        )


def _check_real_time(settings: ChunkSettings, contract: ChunkContract) -> None:
    method = None if contract.denoising is None else contract.denoising.method
    if method != "flow":
        kind = "one run of its graph" if method is None else f"{method} steps"
        raise PolicyError(
            f"mode rtc: expected a flow policy (its denoising steps can be guided), found "
            f"{contract.name}, which makes a chunk in {kind}; choose the mode asynchronous"
        )
    if contract.observation_steps > 1:
        raise PolicyError(
            f"mode rtc: expected a policy with one observation, found {contract.name} with "
            f"{contract.observation_steps} (the first steps of its chunks are in the past); choose "
            "the mode asynchronous"
        )
    if settings.prefix_schedule not in PREFIX_SCHEDULES:
        raise PolicyError(
            f"prefix_schedule: expected one of {', '.join(PREFIX_SCHEDULES)}, found "
            f"{settings.prefix_schedule!r}"
        )
    horizon = settings.execution_horizon
    if horizon is not None and not 1 <= horizon <= contract.chunk.size:
        raise PolicyError(
            f"execution_horizon: expected 1 to {contract.chunk.size} (the chunk size of "
            f"{contract.name!r}), found {horizon}"
        )
    if not settings.max_guidance_weight > 0.0:
        raise PolicyError(
            f"max_guidance_weight: expected a number above 0, found "
            f"{settings.max_guidance_weight:g}"
        )


def require_real_time_speed(inference_s: float, steps: int, contract: ChunkContract) -> None:
    """Raise an error unless a chunk arrives before the previous chunk's steps run out.

    Args:
        inference_s: Measured inference time of a chunk.
        steps: Number of steps executed per chunk.
        contract: Contract with the policy's rate.

    Raises:
        PolicyError: Inference takes at least as long as executing the steps, so the steps would run
            out.
    """
    if inference_s * contract.rate_hz >= steps:
        raise PolicyError(
            f"mode rtc: expected inference within the {steps} steps of a chunk "
            f"({steps / contract.rate_hz:.2f} s), found {inference_s:.2f} s; execute more steps "
            "(n_action_steps), make fewer denoising steps (time_budget_s), or use a faster back "
            "end"
        )


def require_ensemble_speed(inference_s: float, contract: ChunkContract) -> None:
    """Raise an error unless inference is fast enough for one chunk per step.

    Args:
        inference_s: Measured inference time of a chunk: decoding and all graphs.
        contract: Contract with the policy's rate.

    Raises:
        PolicyError: Inference takes longer than a period.
    """
    period_s = contract.period_ns * 1e-9
    if inference_s > period_s:
        raise PolicyError(
            f"mode ensemble: expected inference within a period of "
            f"{period_s * 1e3:.1f} ms (each step needs its own chunk), "
            f"found {inference_s * 1e3:.1f} ms; choose the mode asynchronous"
        )
