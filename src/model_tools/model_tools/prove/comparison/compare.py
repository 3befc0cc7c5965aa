# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Compares artifacts on the same rows and, on request, in the same walks."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from model_tools.errors import ToolError
from model_tools.prove.comparison import walking
from model_tools.prove.comparison.candidates import Candidate, OnRows, RowSet
from model_tools.prove.comparison.kinds import ChunkComparison, JointComparison
from model_tools.prove.comparison.walking import Walked
from model_tools.simulation.robot import LITE3, SimulatedRobot
from policy_core.bundle.bundle import Bundle, JointBundle
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.interfaces import Backend, Tensor
from policy_core.latency import Latency, LatencyWindow
from policy_inference.comparison.limits import Check, closed_loop_limits

_log = logging.getLogger("model_tools")
_TIMED_FOR_S = 20.0
"""Time limit for measuring latency. A simulated chip takes seconds per run, and its speed is
meaningless.
"""
Comparison = JointComparison | ChunkComparison
_COMPARISONS: Mapping[type[Bundle], Comparison] = {
    JointBundle: JointComparison(),
    ChunkBundle: ChunkComparison(),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Compared:
    """One artifact's comparison; true if all its limits hold.

    Attributes:
        candidate: The artifact.
        latency: Latency of single runs of each model on this machine, by its key in the contract.
        on_rows: One entry per set of rows.
        walks: The artifact's walks; empty if not requested.
        walking_checks: Checks of the walks against limits and reference.
        alone_checks: Checks against the criteria of a good walk, independent of the reference; they
            do not affect the verdict.
    """

    candidate: Candidate[Any]
    latency: Mapping[str, Latency]
    on_rows: tuple[OnRows, ...]
    walks: tuple[Walked, ...] = ()
    walking_checks: tuple[Check, ...] = ()
    alone_checks: tuple[Check, ...] = ()

    @property
    def checks(self) -> tuple[Check, ...]:
        return (*(check for rows in self.on_rows for check in rows.checks), *self.walking_checks)

    def __bool__(self) -> bool:
        return all(self.checks)


def compare(
    candidates: Sequence[Candidate[Any]],
    places: Sequence[Path],
    walk_s: float | None = None,
    topics: Mapping[str, str] | None = None,
    robot: SimulatedRobot = LITE3,
) -> list[Compared]:
    """Compare artifacts with the first one.

    Args:
        candidates: Two or more artifacts of the same function.
        places: Sources of rows besides the first bundle's golden rows: files and recordings; for
            chunk policies, LeRobot datasets and recordings.
        walk_s: Length of each walk, s; None for no walks.
        topics: Renamed topics in recordings, by input.
        robot: Robot that walks.
    """
    reference = candidates[0].bundle
    comparison = _COMPARISONS[type(reference)]
    if walk_s is not None:
        if not comparison.walks:
            raise ToolError(
                "--closed-loop: expected joint policies (only these can walk), found a chunk policy"
            )
        walking.check_walks([candidate.bundle for candidate in candidates], walk_s, robot)
    sets = comparison.row_sets(candidates, places, topics)
    if not sets and walk_s is None:
        raise ToolError(
            f"{reference.path}: expected rows to compare on, found no golden rows; give "
            f"{comparison.other_rows}"
        )
    ran = [_run(comparison, candidate, sets, walk_s, robot) for candidate in candidates]
    return [_judged(comparison, *one, ran[0], sets) for one in ran]


Played = Sequence[Mapping[str, Tensor]]
"""Outputs of an artifact on each set of rows."""


def _run(
    comparison: Comparison,
    candidate: Candidate[Any],
    sets: Sequence[RowSet],
    walk_s: float | None,
    robot: SimulatedRobot,
) -> tuple[Compared, Played]:
    """Return an artifact's latency and walks, not yet judged, and its outputs."""
    walks = list[Walked]()
    with candidate.opened() as models:
        _log.info("%s: sets of rows: %d", candidate.label, len(sets))
        played = [comparison.play(candidate.bundle, models, each.rows) for each in sets]
        first = comparison.model_inputs(sets)
        latency = {
            key: measure_latency(model, first, comparison.timed_runs)
            for key, model in models.items()
        }
        if walk_s is not None:
            _log.info("%s: walks of %g s", candidate.label, walk_s)
            walks = walking.walk_each(candidate.bundle, models.first, walk_s, robot)
    ran = Compared(candidate=candidate, latency=latency, on_rows=(), walks=tuple(walks))
    return ran, played


def _judged(
    comparison: Comparison,
    ran: Compared,
    played: Played,
    reference: tuple[Compared, Played],
    sets: Sequence[RowSet],
) -> Compared:
    candidate, walks = ran.candidate, ran.walks
    walked, expected = reference
    on_rows = tuple(
        comparison.judged(candidate, one, found, said, is_only=len(sets) == 1)
        for one, found, said in zip(sets, played, expected, strict=True)
    )
    if not walks:
        return replace(ran, on_rows=on_rows)
    limits = closed_loop_limits(candidate.bundle.contract, candidate.backend)
    return replace(
        ran,
        on_rows=on_rows,
        walking_checks=walking.judge(walks, walked.walks, limits),
        alone_checks=walking.judge_alone(walks, candidate.bundle),
    )


def measure_latency(backend: Backend, inputs: Mapping[str, Tensor], runs: int) -> Latency:
    """Time single runs of a model, for 20 s at most.

    Args:
        backend: Opened back end, warmed up; its input arrays are overwritten.
        inputs: Rows by model input; only the first is used.
        runs: Maximum number of runs.
    """
    for name, values in inputs.items():
        backend.inputs[name][0] = values[0]
    window, ends_ns = LatencyWindow(runs), time.perf_counter_ns() + round(_TIMED_FOR_S * 1e9)
    for _ in range(runs):
        start_ns = time.perf_counter_ns()
        if start_ns > ends_ns:
            break
        backend.run()
        window.add(time.perf_counter_ns() - start_ns)
    return window.summary()
