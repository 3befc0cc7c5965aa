# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A chunk policy in a self-test: a chunk must be there before the last one is used up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.contract import Artifact
from policy_core.members.chunk.graphs import ChunkGraphs
from policy_inference.backends.base import BackendBase
from policy_inference.backends.registry import OpenedModels
from policy_inference.comparison.chunks import noise_at, observation_at
from policy_inference.comparison.limits import Check, judged_by_walking
from policy_inference.comparison.rows import Rows
from policy_inference.self_test.clock import Clock
from policy_inference.self_test.trial import AtRate, Ran, Timed, TimedRuns
from policy_inference.self_test.verdict import p99


class ChunkTrial:
    """Runs the graphs of a chunk policy on golden rows, from images to chunk."""

    most_runs, fewest_runs, fewest_ticks, warm_up_ticks = 1000, 5, 5, 0
    ticks, not_finite = "chunks", "chunks with NaN or infinite values"

    def __init__(self, bundle: ChunkBundle, models: OpenedModels, rows: Rows, clock: Clock) -> None:
        """Run opened graphs, whose arrays are overwritten, on golden rows."""
        contract = self._contract = bundle.contract
        self._models, self._rows, self._clock = models, rows, clock
        self.model = models[f"graphs.{contract.policy_graph}"]
        self.interval_ns = contract.chunk.steps * contract.period_ns

    def runner(self) -> Callable[[], Ran]:
        """Return what computes a chunk for one golden row after another."""
        clock, runs = self._clock, 0
        timed = {key: Timed(model, clock) for key, model in self._models.items()}
        graphs = ChunkGraphs(self._contract, timed)
        given = [
            (observation_at(self._rows, row), noise_at(self._rows, row))
            for row in range(len(self._rows))
        ]

        def run() -> Ran:
            nonlocal runs
            for one in timed.values():
                one.total_ns = 0
            began_ns = clock.now_ns()
            chunk = graphs.run(*given[runs % len(given)])
            took_ns = clock.now_ns() - began_ns
            runs += 1
            graphs_ns = {key.removeprefix("graphs."): one.total_ns for key, one in timed.items()}
            is_finite = bool(np.isfinite(chunk).all())
            return Ran(took_ns - sum(graphs_ns.values()), took_ns, is_finite, graphs_ns)

        return run

    def ticker(self) -> Callable[[], Ran]:
        """Return what computes a chunk as a robot does: there is no difference."""
        return self.runner()

    def walking(
        self, cls: type[BackendBase], name: str, entries: Mapping[str, Artifact]
    ) -> Sequence[Check]:
        """Return nothing: a chunk policy does not walk."""
        return ()

    def not_judged(self, entries: Mapping[str, Artifact]) -> Sequence[str]:
        """Return that nothing is known of the task, where so few bits might fail in it."""
        if not any(judged_by_walking(entry.precision) for entry in entries.values()):
            return ()
        return (
            "closed loop: how often the task succeeds with this precision is not measured here",
        )

    def latency(self, quick: TimedRuns, rate: AtRate) -> Sequence[Check]:
        return [
            p99(
                what,
                runs.inference,
                self.interval_ns * 1e-6,
                "the time that a chunk is executed",
                "chunks",
            )
            for what, runs in (
                ("a chunk, p99, back to back, ms", quick),
                ("a chunk, p99, as often as one is needed, ms", rate.runs),
            )
        ]

    def remarks(self, rate: AtRate) -> Sequence[str]:
        """Return whether a chunk per period is possible, which nothing else needs."""
        period_ms = self._contract.period_ns * 1e-6
        p99_ms = rate.runs.inference.percentile_s(99) * 1e3
        word = "possible" if p99_ms <= period_ms else "not possible"
        return (
            f"temporal ensembling needs a chunk in each period of {period_ms:.3g} ms: {word} here, "
            f"p99 {p99_ms:.3g} ms",
        )
