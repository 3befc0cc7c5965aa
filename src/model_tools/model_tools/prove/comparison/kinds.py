# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Comparison of each kind of policy: rows, outputs and checks."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

from model_tools.files.observation_sources import open_source
from model_tools.files.row_files import read_rows
from model_tools.files.terms import counts_ticks
from model_tools.make.act.golden_rows import are_drawn, recorded_rows
from model_tools.make.unrecorded import drawn_rows
from model_tools.prove.calibration.calibration_files import hash_samples
from model_tools.prove.comparison.candidates import Candidate, OnRows, RowSet
from policy_core.bundle.bundle import JointBundle
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
from policy_inference.comparison.rows import Rows, evenly
from policy_inference.kinds.chunk import ChunkKind
from policy_inference.kinds.joint import JointKind

_log = logging.getLogger("model_tools")
_JOINT = JointKind()
DRAWN = "golden rows (random images)"
"""Source of golden rows with random images."""
MOST_ROWS, SWAPPED_ROWS = 64, 4
"""Number of evenly spaced rows from a dataset or recording, and number of rows that also run with
swapped cameras; one chunk reveals much, but takes a long time.
"""
_CHUNK = ChunkKind()


class JointComparison:
    """Comparison of joint policies; calibration rows of an artifact are played, but not judged."""

    timed_runs, other_rows = 2000, "rows (--rows) or let it walk (--closed-loop)"
    walks = True

    def row_sets(
        self,
        candidates: Sequence[Candidate[JointBundle]],
        places: Sequence[Path],
        topics: Mapping[str, str] | None,
    ) -> list[RowSet]:
        """Return the reference's golden rows, if any, and the rows in files.

        If the model counts ticks, also return random rows that cover all counts.
        """
        reference = candidates[0].bundle
        known = [_JOINT.golden_rows(reference)] if reference.contract.golden else []
        if counts_ticks(reference.contract):
            known.append(drawn_rows(reference))  # recordings do not reach all counts of ticks
        return [
            *map(RowSet.whole, known),
            *(_held_back(candidates, file, read_rows(file, reference, topics)) for file in places),
        ]

    def play(
        self, bundle: JointBundle, models: Mapping[str, Backend], rows: Rows
    ) -> dict[str, Tensor]:
        return _JOINT.play(bundle, models, rows)

    def model_inputs(self, sets: Sequence[RowSet]) -> Mapping[str, Tensor]:
        return sets[0].rows.inputs if sets else {}

    def judged(
        self,
        candidate: Candidate[JointBundle],
        one: RowSet,
        found: Mapping[str, Tensor],
        said: Mapping[str, Tensor],
        *,
        is_only: bool,
    ) -> OnRows:
        """Measure each output, and check the action against limits.

        If the model counts ticks, its other outputs are also checked, against the limits for the
        precision: a wrong tick often shows only in the reference motion.
        """
        bundle, source = candidate.bundle, one.rows.source
        # The reference computes outputs that were not recorded.
        expected = one.rows.outputs or {name: said[name] for name in bundle.contract.model.outputs}
        differences = _JOINT.differences(bundle, one.of(found), one.of(expected), one.judged)
        action, *others = differences
        if not counts_ticks(bundle.contract):
            others = []
        # States depend on all earlier rows; limits of single runs do not apply to them.
        states = {pair.output for pair in bundle.contract.state}
        others = [other for other in others if other.output not in states]
        return OnRows(
            source=source,
            count=len(one.judged),
            left_out=one.left_out,
            differences=differences,
            checks=_JOINT.checks(
                bundle, candidate.backend, candidate.entries, (action, *others), source
            ),
        )


def _held_back(candidates: Sequence[Candidate[JointBundle]], file: Path, rows: Rows) -> RowSet:
    """Leave out rows from this file with which an artifact was calibrated."""
    everything = np.arange(len(rows))
    stated = [one.entry.calibration for one in candidates if one.entry.calibration is not None]
    if not stated:
        return RowSet.whole(rows)
    sha256 = hash_samples(file)
    used = [evenly(len(rows), one.rows) for one in stated if one.sha256 == sha256]
    held = RowSet(rows=rows, judged=np.setdiff1d(everything, np.concatenate([[], *used])))
    if held.left_out:
        _log.info(
            "%s: %d of %d rows are left out: an artifact was calibrated with them",
            file,
            held.left_out,
            len(rows),
        )
    return held


class ChunkComparison:
    """Comparison of chunk policies; the first rows of each set also run with swapped cameras."""

    timed_runs, other_rows = 30, "a dataset or a recording (--rows)"
    walks = False

    def row_sets(
        self,
        candidates: Sequence[Candidate[ChunkBundle]],
        places: Sequence[Path],
        topics: Mapping[str, str] | None,
    ) -> list[RowSet]:
        """Return the reference's golden rows, if any, and the rows in datasets."""
        reference = candidates[0].bundle
        contract, sets = reference.contract, list[Rows]()
        if contract.golden:
            golden = _CHUNK.golden_rows(reference)
            drawn = are_drawn(contract, golden.inputs)
            sets.append(replace(golden, source=DRAWN) if drawn else golden)
        for place in places:
            source = open_source(contract, place, topics)
            inputs = recorded_rows(contract, source, MOST_ROWS)
            sets.append(Rows(source=source.name, inputs=inputs, outputs={}))
        return [*map(RowSet.whole, sets)]

    def play(
        self, bundle: ChunkBundle, models: Mapping[str, Backend], rows: Rows
    ) -> dict[str, Tensor]:
        """Return the outputs, and the first rows' normalized chunks with swapped cameras.

        These chunks are named `swapped.CAMERA.CAMERA`.
        """
        first = rows.part(0, SWAPPED_ROWS)
        return _CHUNK.play(bundle, models, rows) | {
            _swapped(*pair): play_chunks(bundle.contract, models, first, pair)[NORMALISED_CHUNK]
            for pair in _pairs(bundle.contract)
        }

    def model_inputs(self, sets: Sequence[RowSet]) -> Mapping[str, Tensor]:
        """Return an empty mapping: the graphs still have the inputs from the last run."""
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
        """Check chunks, denoising, features and camera wiring against limits."""
        bundle, source = candidate.bundle, one.rows.source
        # The reference computes outputs that were not recorded.
        chunks = one.rows.outputs.get(GOLDEN_CHUNK, said[GOLDEN_CHUNK])
        within = {
            name: array for name, array in said.items() if name == PATH or name.startswith(FEATURES)
        }
        differences = _CHUNK.differences(bundle, found, {GOLDEN_CHUNK: chunks, **within})
        checks = (
            *_CHUNK.checks(bundle, candidate.backend, candidate.entries, differences, source),
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
    """Return the check that two cameras are not swapped."""
    as_is, swapped = (
        found[name].astype(np.float64) for name in (NORMALISED_CHUNK, _swapped(one, other))
    )
    wanted = expected.reshape(as_is.shape)[: len(swapped)]
    return swapped_check(one, other, wanted, as_is[: len(swapped)], swapped, source)


def _pairs(contract: ChunkContract) -> Iterator[tuple[str, str]]:
    """Yield pairs of cameras of equal size, since only these can be swapped unnoticed."""
    for (one, first), (other, second) in combinations(contract.cameras.items(), 2):
        if (first.height, first.width) == (second.height, second.width):
            yield one, other
