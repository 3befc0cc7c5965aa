# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Chunk policies in a comparison: datasets and recordings; chunks, encoders, cameras swapped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

from model_tools.files.observation_sources import open_source
from model_tools.make.act.golden_rows import are_drawn, recorded_rows
from model_tools.prove.comparison.candidates import Candidate
from model_tools.prove.comparison.on_rows import OnRows, RowSet
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import (
    GOLDEN_CHUNK,
    ChunkContract,
)
from policy_core.interfaces import F64, Backend, Tensor
from policy_inference.comparison.chunks import (
    FEATURES,
    NORMALISED_CHUNK,
    PATH,
    play_chunks,
    rad_difference,
    swapped_check,
)
from policy_inference.comparison.limits import Check, judged_by_walking
from policy_inference.comparison.rows import Rows
from policy_inference.kinds.chunk import ChunkKind

DRAWN = "golden rows (drawn)"
"""Source of golden rows whose images no camera saw."""
MOST_ROWS, SWAPPED_ROWS = 64, 4
"""Of a dataset or recording, evenly spaced: a chunk says much, and takes long."""
_KIND = ChunkKind()


class ChunkComparison:
    """Observations of a chunk policy; of each set, the first also with cameras swapped."""

    timed_runs, other_rows = 30, "a dataset or a recording (--rows)"
    walks = False

    def row_sets(
        self,
        candidates: Sequence[Candidate[ChunkBundle]],
        places: Sequence[Path],
        topics: Mapping[str, str] | None,
    ) -> list[RowSet]:
        """Return the reference's golden rows, where it has some, and those of datasets."""
        reference = candidates[0].bundle
        contract, sets = reference.contract, list[Rows]()
        if contract.golden:
            golden = _KIND.golden_rows(reference)
            drawn = are_drawn(contract, golden.inputs)
            sets.append(replace(golden, source=DRAWN) if drawn else golden)
        sets += [_read(contract, place, topics) for place in places]
        return [*map(RowSet.whole, sets)]

    def play(
        self, bundle: ChunkBundle, models: Mapping[str, Backend], rows: Rows
    ) -> dict[str, Tensor]:
        """Return what `play_chunks` does, and the first normalised chunks with cameras swapped.

        The latter are `swapped.CAMERA.CAMERA`.
        """
        first = rows.part(0, SWAPPED_ROWS)
        return _KIND.play(bundle, models, rows) | {
            _swapped(*pair): play_chunks(bundle.contract, models, first, pair)[NORMALISED_CHUNK]
            for pair in _pairs(bundle.contract)
        }

    def model_inputs(self, sets: Sequence[RowSet]) -> Mapping[str, Tensor]:
        """Return nothing: the graphs still have what was played last."""
        return {}

    def judged(
        self,
        candidate: Candidate[ChunkBundle],
        one: RowSet,
        found: Mapping[str, Tensor],
        said: Mapping[str, Tensor],
        *,
        is_only: bool,
    ) -> OnRows:
        """Hold chunks, denoising, features, and the cameras' wiring, against limits."""
        bundle, source = candidate.bundle, one.rows.source
        # The reference gives what was not recorded.
        chunks = one.rows.outputs.get(GOLDEN_CHUNK, said[GOLDEN_CHUNK])
        within = {
            name: array for name, array in said.items() if name == PATH or name.startswith(FEATURES)
        }
        differences = _KIND.differences(bundle, found, {GOLDEN_CHUNK: chunks, **within})
        checks = (
            *_KIND.checks(bundle, candidate.backend, candidate.entries, differences, source),
            *(
                _wiring(*pair, differences[0].expected, found, source)
                for pair in _pairs(bundle.contract)
            ),
        )
        judged = source != DRAWN or is_only or not judged_by_walking(candidate.precision)
        chunk, *others = differences
        in_rad = rad_difference(bundle.contract, found[GOLDEN_CHUNK], chunks)
        return OnRows(
            source=source,
            count=len(one.judged),
            differences=(chunk, in_rad, *others),
            checks=checks if judged else (),
            judged=judged,
        )


def _swapped(one: str, other: str) -> str:
    return f"swapped.{one}.{other}"


def _wiring(one: str, other: str, expected: F64, found: Mapping[str, Tensor], source: str) -> Check:
    """Return the check that two cameras are not each other's."""
    as_is, swapped = (
        found[name].astype(np.float64) for name in (NORMALISED_CHUNK, _swapped(one, other))
    )
    wanted = expected.reshape(as_is.shape)[: len(swapped)]
    return swapped_check(one, other, wanted, as_is[: len(swapped)], swapped, source)


def _pairs(contract: ChunkContract) -> Iterator[tuple[str, str]]:
    """Yield cameras of equal size, which alone can be swapped unnoticed."""
    for (one, first), (other, second) in combinations(contract.cameras.items(), 2):
        if (first.height, first.width) == (second.height, second.width):
            yield one, other


def _read(contract: ChunkContract, place: Path, topics: Mapping[str, str] | None) -> Rows:
    source = open_source(contract, place, topics)
    inputs = recorded_rows(contract, source, MOST_ROWS)
    return Rows(source=source.name, inputs=inputs, outputs={})
