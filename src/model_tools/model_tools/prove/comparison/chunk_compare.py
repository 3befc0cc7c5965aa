# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Compare artifacts of chunk policies: each on the same observations."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from model_tools.errors import ToolError
from model_tools.prove.comparison.chunk_candidates import DRAWN, ChunkCandidate, chunk_row_sets
from model_tools.prove.comparison.compare import measure_latency
from policy_inference.bundle.chunk_contract import ChunkContract
from policy_inference.comparison.chunk_rows import ChunkRows, PlayedChunks, play_chunks
from policy_inference.comparison.chunks import (
    chunk_checks,
    chunk_difference,
    chunk_limits,
    features_checks,
    normalised_chunks,
    rad_difference,
    swapped_check,
)
from policy_inference.comparison.limits import Check, judged_by_walking
from policy_inference.comparison.open_loop import Difference
from policy_inference.core.latency import Latency
from policy_inference.interfaces import F64

TIMED_RUNS, SWAPPED_ROWS = 30, 4
_log = logging.getLogger("model_tools")
_Pair = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OnChunkRows:
    """An artifact on one set of observations.

    Attributes:
        source: Of the observations.
        count: How many.
        chunk: Normalised chunks against the expected ones, by joint.
        chunk_rad: The same in rad.
        features: Of each camera's encoder, against the reference's.
        checks: Everything that was held against a limit; nothing where it is not judged.
        judged: Whether it was. Pictures that were drawn say little of a graph of 8 bits, whose
            ranges are those of recorded ones: where there are such, these judge it.
        expected, found: Normalised chunks [rows, steps, actions].
    """

    source: str
    count: int
    chunk: Difference
    chunk_rad: Difference
    features: tuple[Difference, ...]
    checks: tuple[Check, ...]
    judged: bool
    expected: F64
    found: F64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ComparedChunks:
    """What was found of one artifact; its truth value says whether all its limits hold.

    `latency` is that of each graph, by `graphs.NAME`.
    """

    candidate: ChunkCandidate
    latency: Mapping[str, Latency]
    on_rows: tuple[OnChunkRows, ...]

    @property
    def checks(self) -> tuple[Check, ...]:
        """Everything that was held against a limit."""
        return tuple(check for rows in self.on_rows for check in rows.checks)

    def __bool__(self) -> bool:
        """Return whether every limit holds."""
        return all(self.checks)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _RanChunks:
    """What an artifact made of each set of rows, and of its first rows with cameras swapped."""

    candidate: ChunkCandidate
    latency: Mapping[str, Latency]
    played: list[PlayedChunks]
    swapped: list[dict[_Pair, F64]]


def compare_chunks(
    candidates: Sequence[ChunkCandidate],
    places: Sequence[Path],
    topics: Mapping[str, str] | None = None,
) -> list[ComparedChunks]:
    """Compare artifacts with the first one.

    Args:
        candidates: Two or more artifacts of the same function.
        places: LeRobot datasets and recordings with observations, besides the golden ones.
        topics: Topics of recordings by input, where they have other names.

    Raises:
        PolicyError: Observations or a back end do not fit.
        OSError: A file cannot be read.
    """
    reference = candidates[0].bundle
    sets = chunk_row_sets(reference, places, topics)
    if not sets:
        raise ToolError(
            f"{reference.path}: expected something to compare on, found no golden "
            "rows; give a dataset or a recording (--rows)"
        )
    ran = [_run(candidate, sets) for candidate in candidates]
    return [
        ComparedChunks(
            candidate=one.candidate, latency=one.latency, on_rows=tuple(_judged(one, ran[0], sets))
        )
        for one in ran
    ]


def _run(candidate: ChunkCandidate, sets: Sequence[ChunkRows]) -> _RanChunks:
    contract = candidate.bundle.contract
    with candidate.opened() as backends:
        _log.info("%s: %d sets of observations", candidate.label, len(sets))
        played = [play_chunks(contract, backends, rows) for rows in sets]
        swapped = [
            {
                pair: play_chunks(contract, backends, rows.first(SWAPPED_ROWS), pair).normalised
                for pair in _pairs(contract)
            }
            for rows in sets
        ]
        latency = {
            key: measure_latency(backend, {}, TIMED_RUNS) for key, backend in backends.items()
        }
    return _RanChunks(candidate=candidate, latency=latency, played=played, swapped=swapped)


def _pairs(contract: ChunkContract) -> Iterator[_Pair]:
    """Yield cameras of equal size, which alone can be swapped unnoticed."""
    for (one, first), (other, second) in combinations(contract.cameras.items(), 2):
        if (first.height, first.width) == (second.height, second.width):
            yield one, other


def _judged(
    one: _RanChunks, reference: _RanChunks, sets: Sequence[ChunkRows]
) -> Iterator[OnChunkRows]:
    candidate = one.candidate
    contract = candidate.bundle.contract
    limits = chunk_limits(contract, candidate.backend, candidate.precision)
    for rows, played, said, swapped in zip(
        sets, one.played, reference.played, one.swapped, strict=True
    ):
        # What nobody recorded, the reference says.
        chunks = said.chunks if rows.chunks is None else rows.chunks
        expected, found = normalised_chunks(contract, chunks), played.normalised
        chunk = chunk_difference(contract, found, expected)
        features, feature_checks = features_checks(played, said, rows.source, limits)
        cameras = [
            swapped_check(*pair, expected[: len(there)], found[: len(there)], there, rows.source)
            for pair, there in swapped.items()
        ]
        checks = (
            *chunk_checks(chunk, expected, found, rows.source, limits),
            *feature_checks,
            *cameras,
        )
        judged = not (
            rows.source == DRAWN and len(sets) > 1 and judged_by_walking(candidate.precision)
        )
        yield OnChunkRows(
            source=rows.source,
            count=len(rows),
            chunk=chunk,
            features=features,
            chunk_rad=rad_difference(contract, played.chunks, chunks),
            expected=expected,
            found=found,
            checks=checks if judged else (),
            judged=judged,
        )
