# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a backend does here what a robot with a chunk policy needs of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from policy_inference.backends.base import BackendBase
from policy_inference.bundle.bundle import ChunkBundle
from policy_inference.bundle.contract import Artifact
from policy_inference.comparison.limits import Check, judged_by_walking
from policy_inference.errors import BundleError
from policy_inference.self_test.at_rate import AtRate
from policy_inference.self_test.chunks import ChunkParity, TimedChunks, parity_checks
from policy_inference.self_test.durations import Durations
from policy_inference.self_test.verdict import MISSED_LIMIT, Verdict, drift, power


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeasuredChunks:
    """What is judged: golden rows before and after, chunks without a pause, and when needed."""

    parity: tuple[ChunkParity, ChunkParity]
    back_to_back: TimedChunks
    at_rate: AtRate


def judged_chunks(
    bundle: ChunkBundle,
    cls: type[BackendBase],
    name: str,
    entries: Mapping[str, Artifact],
    found: MeasuredChunks,
) -> Verdict:
    """Hold what was measured against the limits.

    Args:
        bundle: States limits of chunks, and says how often one is needed.
        cls: Class of the back end.
        name: Of the back end.
        entries: What it opened, by graph.
        found: What was measured.
    """
    checks, missing, left_out = list[Check](), list[str](), list[str]()
    try:
        for one in found.parity:
            checks += parity_checks(bundle, name, entries, one)
    except BundleError as error:
        missing.append(f"chunks: {error}")
    checks.append(
        Check(
            what="chunks with NaN or infinite values",
            limit=0,
            where="all that ran",
            value=found.back_to_back.not_finite + found.at_rate.paced.not_finite,
        )
    )
    if any(judged_by_walking(entry.precision) for entry in entries.values()):
        left_out.append(
            "closed loop: how often the task succeeds with this precision is not measured here"
        )
    if cls.simulates:
        left_out.append(
            "latency and power: this back end simulates a device, and says nothing about its speed"
        )
        return Verdict(checks=tuple(checks), missing=tuple(missing), left_out=tuple(left_out))
    checks += _latency(bundle, found)
    rails = power(found.at_rate.load.series())
    checks += rails
    if not rails:
        left_out.append("power: this machine does not tell it")
    left_out.append(_ensembling(bundle, found.at_rate.paced.inference))
    return Verdict(checks=tuple(checks), missing=tuple(missing), left_out=tuple(left_out))


def _latency(bundle: ChunkBundle, found: MeasuredChunks) -> list[Check]:
    """Return the checks of a chunk's time: it must be there before the last one is used up."""
    contract, paced = bundle.contract, found.at_rate.paced
    limit_ms = contract.chunk.steps * contract.period_ns * 1e-6
    wanted = len(paced.inference) + paced.missed
    return [
        _p99("a chunk, p99, back to back, ms", found.back_to_back.whole, limit_ms),
        _p99("a chunk, p99, as often as one is needed, ms", paced.inference, limit_ms),
        Check(
            what="chunks missed, share",
            value=paced.missed / wanted,
            limit=MISSED_LIMIT,
            where=f"{paced.missed} of {wanted}",
        ),
        drift(found.at_rate),
    ]


def _p99(what: str, durations: Durations, limit_ms: float) -> Check:
    return Check(
        what=what,
        value=durations.percentile_s(99) * 1e3,
        limit=limit_ms,
        where=f"{len(durations)} chunks, median {durations.percentile_s(50) * 1e3:.3g} "
        "ms; the limit is the time that a chunk is executed",
    )


def _ensembling(bundle: ChunkBundle, inference: Durations) -> str:
    """Return whether a chunk per period is possible, which nothing else needs."""
    period_ms, p99_ms = bundle.contract.period_ns * 1e-6, inference.percentile_s(99) * 1e3
    word = "possible" if p99_ms <= period_ms else "not possible"
    return (
        f"temporal ensembling needs a chunk in each period of {period_ms:.3g} ms: {word} here, "
        f"p99 {p99_ms:.3g} ms"
    )
