# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""How chunks are executed: what an operator may choose."""

from dataclasses import dataclass
from typing import Literal, get_args

from policy_inference.bundle.chunk_contract import LARGEST_ENSEMBLE_COEFF, ChunkContract
from policy_inference.errors import PolicyError

ChunkMode = Literal["synchronous", "asynchronous", "ensemble"]
CHUNK_MODES: tuple[str, ...] = get_args(ChunkMode)
_LONGEST_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkSettings:
    """How chunks are executed; see docs/act.md."""

    mode: ChunkMode = "asynchronous"
    steps: int | None = None
    """How many steps of a chunk are executed at most; None: as many as the contract says."""
    refill_threshold: float = 0.5
    """asynchronous: the next chunk is asked for once less than this share of the steps is left."""
    fade_s: float = 0.2
    """asynchronous: time over which the old chunk's targets become the new one's."""
    realign: bool = False
    """asynchronous: shift a new chunk so that it begins at the last command."""
    ensemble_coeff: float | None = None
    """ensemble: coefficient of the weights; None: the contract's."""
    simulated_latency_s: float = 0.0
    """How long inference takes in simulated time."""


def steps_of(settings: ChunkSettings, contract: ChunkContract) -> int:
    """Return how many steps of a chunk are executed at most.

    Raises:
        PolicyError: A chunk has fewer, or it is not a number of steps.
    """
    steps = contract.chunk.steps if settings.steps is None else settings.steps
    if not 1 <= steps <= contract.chunk.size:
        raise PolicyError(
            f"steps to execute: expected 1 to {contract.chunk.size}, the steps of a "
            f"chunk of {contract.name}, found {steps}"
        )
    return steps


def ensemble_coeff_of(settings: ChunkSettings, contract: ChunkContract) -> float:
    """Return the coefficient of temporal ensembling.

    Raises:
        PolicyError: Neither the settings nor the contract have one, or it is out of bounds.
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
        f"mode ensemble: expected a coefficient, found none in chunk.ensemble_coeff "
        f"of the policy.yaml of {contract.name}; set it there (the paper's is "
        "0.01), or choose another mode"
    )


def check_settings(settings: ChunkSettings, contract: ChunkContract) -> None:
    """Raise PolicyError unless these settings fit this policy.

    Raises:
        PolicyError: With the first thing that does not fit.
    """
    if settings.mode not in CHUNK_MODES:
        raise PolicyError(
            f"mode: expected one of {', '.join(CHUNK_MODES)}, found {settings.mode!r}"
        )
    steps_of(settings, contract)
    if settings.mode == "ensemble":
        ensemble_coeff_of(settings, contract)
    if not 0.0 <= settings.refill_threshold <= 1.0:
        raise PolicyError(
            f"refill_threshold: expected a share from 0 to 1, found {settings.refill_threshold:g}"
        )
    for name in ("fade_s", "simulated_latency_s"):
        if not 0.0 <= getattr(settings, name) <= _LONGEST_S:
            raise PolicyError(
                f"{name}: expected 0 to {_LONGEST_S:g} s, found {getattr(settings, name):g}"
            )


def require_ensemble_speed(inference_s: float, contract: ChunkContract) -> None:
    """Raise PolicyError unless a chunk for each step, as temporal ensembling needs, is possible.

    Args:
        inference_s: How long a chunk takes, decoding and all graphs, as measured.
        contract: States the rate.

    Raises:
        PolicyError: It takes longer than a period.
    """
    period_s = contract.period_ns * 1e-9
    if inference_s > period_s:
        raise PolicyError(
            f"mode ensemble: expected inference within a period of "
            f"{period_s * 1e3:.1f} ms, since each step needs a chunk of its own, "
            f"found {inference_s * 1e3:.1f} ms; choose the mode asynchronous"
        )
