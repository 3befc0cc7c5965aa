# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A chunk policy on its device: golden rows from picture to chunk, and how long a chunk takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from policy_inference.backends.base import BackendBase
from policy_inference.backends.registry import artifacts_for
from policy_inference.bundle.bundle import CONTRACT_FILE, ChunkBundle
from policy_inference.bundle.contract import Artifact
from policy_inference.comparison.chunk_rows import ChunkRows, golden_chunks, play_chunks
from policy_inference.comparison.chunks import (
    chunk_checks,
    chunk_difference,
    chunk_limits,
    coarsest,
    normalised_chunks,
)
from policy_inference.comparison.limits import Check
from policy_inference.comparison.open_loop import Difference
from policy_inference.core.chunks.graphs import ChunkGraphs
from policy_inference.errors import BackendError, BundleError, Problem
from policy_inference.interfaces import F64
from policy_inference.machine.machine import Machine
from policy_inference.self_test.at_rate import AtRate, with_load
from policy_inference.self_test.clock import Clock
from policy_inference.self_test.durations import Durations
from policy_inference.self_test.timing import Paced, Timed

FEWEST_ROWS, FEWEST_CHUNKS, CHUNKS = 2, 5, 1000
Opened = Mapping[str, BackendBase]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChunkParity:
    """A chunk policy on the golden rows.

    Attributes:
        rows: The rows.
        differences: Of the normalised chunk, the only one.
        found: Normalised chunks [rows, steps, actions].
        expected: What the reference answered.
        after_runs: How many chunks there were before.
    """

    rows: ChunkRows
    differences: tuple[Difference, ...]
    found: F64
    expected: F64
    after_runs: int = 0

    @property
    def source(self) -> str:
        """What was played, and when."""
        return self.rows.source + (f" after {self.after_runs} chunks" if self.after_runs else "")


def chunk_parity(bundle: ChunkBundle, backends: Opened, after_runs: int = 0) -> ChunkParity:
    """Run all golden rows, from pictures to chunk, and measure how far the chunks are off.

    Raises:
        BundleError: There are no golden rows.
        BackendError: The runtime failed.
    """
    contract, rows = bundle.contract, golden_chunks(bundle)
    assert rows.chunks is not None  # golden rows have them
    expected = normalised_chunks(contract, rows.chunks)
    found = play_chunks(contract, backends, rows).normalised
    return ChunkParity(
        rows=rows,
        after_runs=after_runs,
        found=found,
        expected=expected,
        differences=(chunk_difference(contract, found, expected),),
    )


def parity_checks(
    bundle: ChunkBundle, backend: str, entries: Mapping[str, Artifact], one: ChunkParity
) -> tuple[Check, ...]:
    """Hold the chunks against the limits of the artifacts.

    Raises:
        BundleError: Too few golden rows differ, or nothing is known of the precision.
    """
    _require_different(bundle, one.rows)
    limits = chunk_limits(bundle.contract, backend, coarsest(entries))
    return chunk_checks(one.differences[0], one.expected, one.found, one.source, limits)


def require_enough_chunks(bundle: ChunkBundle) -> None:
    """Raise BundleError unless there are golden rows, and enough of them differ."""
    _require_different(bundle, golden_chunks(bundle))


def _require_different(bundle: ChunkBundle, rows: ChunkRows) -> None:
    flat = [array.reshape(len(rows), -1) for array in rows.observations.values()]
    different = min(len(rows), *(len(np.unique(array, axis=0)) for array in flat))
    if different < FEWEST_ROWS:
        raise BundleError(
            [
                Problem(
                    file=str(bundle.path / CONTRACT_FILE),
                    key="golden",
                    found=str(different),
                    expected=f"at least {FEWEST_ROWS} golden rows in which every input differs",
                    remedy="`model_tools export act` writes them",
                )
            ]
        )


def require_chunk_parity(bundle: ChunkBundle, backends: Opened) -> None:
    """Raise unless opened graphs compute here what the bundle's golden rows say.

    Args:
        bundle: Has the golden rows and the limits.
        backends: By graph, `graphs.NAME`; their arrays are overwritten.

    Raises:
        BundleError: There are no golden rows, too few of them, or no limits.
        BackendError: A chunk is not what it should be, or the runtime failed.
    """
    name = next(iter(backends.values())).name
    entries = {key: entry for key, (entry, _) in artifacts_for(bundle, name).items()}
    checks = parity_checks(bundle, name, entries, chunk_parity(bundle, backends))
    if failed := [check for check in checks if not check]:
        raise BackendError(
            "\n".join(
                f"{bundle.path}: on {name}: {check}; the graphs are not the same function here: "
                "make their files or the golden rows again"
                for check in failed
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TimedChunks:
    """Chunks one after another.

    Attributes:
        whole: From pictures to chunk.
        preprocessing: What of it no graph took.
        graphs: Each graph by name; an encoder once for each camera, together.
        not_finite: How many were NaN or infinite.
    """

    whole: Durations
    preprocessing: Durations
    graphs: Mapping[str, Durations]
    not_finite: int


class _Stopwatch:
    """Runs chunks of the golden rows in turn, and notes what took how long."""

    def __init__(self, bundle: ChunkBundle, backends: Opened, clock: Clock) -> None:
        self._timed = {key: Timed(backend, clock) for key, backend in backends.items()}
        self._graphs = ChunkGraphs(bundle.contract, self._timed)
        self._rows, self._clock = list(golden_chunks(bundle)), clock
        self._whole, self._not_finite = list[int](), 0
        self._each: dict[str, list[int]] = {key: [] for key in backends}

    def run(self) -> None:
        for timed in self._timed.values():
            timed.total_ns = 0
        began_ns = self._clock.now_ns()
        chunk = self._graphs.run(self._rows[len(self._whole) % len(self._rows)])
        self._whole.append(self._clock.now_ns() - began_ns)
        self._not_finite += not np.isfinite(chunk).all()
        for key, timed in self._timed.items():
            self._each[key].append(timed.total_ns)

    def found(self) -> TimedChunks:
        whole, graphs = np.array(self._whole), np.array(list(self._each.values()))
        return TimedChunks(
            whole=Durations(self._whole),
            not_finite=self._not_finite,
            preprocessing=Durations((whole - graphs.sum(axis=0)).astype(np.float64)),
            graphs={
                key.removeprefix("graphs."): Durations(each) for key, each in self._each.items()
            },
        )


def chunks_back_to_back(
    bundle: ChunkBundle, backends: Opened, limit_s: float, clock: Clock
) -> TimedChunks:
    """Compute chunks without a pause, `CHUNKS` of them or until the time is over.

    Raises:
        BundleError: There are no golden rows.
        BackendError: The runtime failed.
    """
    watch, end_ns = _Stopwatch(bundle, backends, clock), clock.now_ns() + round(limit_s * 1e9)
    for run in range(CHUNKS):
        watch.run()
        if clock.now_ns() > end_ns and run + 1 >= FEWEST_CHUNKS:
            break
    return watch.found()


def chunks_at_rate(
    bundle: ChunkBundle, backends: Opened, duration_s: float, clock: Clock, machine: Machine
) -> AtRate:
    """Compute a chunk whenever the steps of the one before are used up, for so long.

    Raises:
        BundleError: There are no golden rows.
        BackendError: The runtime failed.
    """
    contract = bundle.contract
    interval_ns = contract.chunk.steps * contract.period_ns
    watch = _Stopwatch(bundle, backends, clock)
    policy = backends[f"graphs.{contract.policy_graph}"]

    def ticks(between: Callable[[int], object]) -> Paced:
        deadline_ns = start_ns = clock.now_ns()
        end_ns, runs, missed = start_ns + round(duration_s * 1e9), 0, 0
        while deadline_ns < end_ns or runs < FEWEST_CHUNKS:
            clock.sleep_until(deadline_ns)
            watch.run()
            runs += 1
            between(clock.now_ns())
            late = max(0, (clock.now_ns() - deadline_ns) // interval_ns)
            missed += late
            deadline_ns += (late + 1) * interval_ns
        found = watch.found()
        return Paced(
            wall_s=(clock.now_ns() - start_ns) * 1e-9,
            missed=missed,
            not_finite=found.not_finite,
            preprocessing=found.preprocessing,
            inference=found.whole,
        )

    return with_load(ticks, policy, machine)
