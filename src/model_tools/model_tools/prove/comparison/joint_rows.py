# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Joint policies in a comparison: files of rows and recordings, and each output of the model."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from model_tools.files.row_files import read_rows
from model_tools.files.terms import counts_ticks
from model_tools.make.unrecorded import drawn_rows
from model_tools.prove.calibration.calibration_files import hash_of
from model_tools.prove.comparison.candidates import Candidate
from model_tools.prove.comparison.on_rows import OnRows, RowSet
from policy_core.bundle.bundle import JointBundle
from policy_core.interfaces import Backend, Tensor
from policy_inference.comparison.rows import Rows, evenly
from policy_inference.kinds.joint import JointKind

_log = logging.getLogger("model_tools")
_KIND = JointKind()


class JointComparison:
    """Rows of a joint policy; those that calibrated an artifact are played, and not judged."""

    timed_runs, other_rows = 2000, "rows (--rows) or let it walk (--closed-loop)"
    walks = True

    def row_sets(
        self,
        candidates: Sequence[Candidate[JointBundle]],
        places: Sequence[Path],
        topics: Mapping[str, str] | None,
    ) -> list[RowSet]:
        """Return the reference's golden rows, where it has some, and those of files.

        Where the model counts ticks, also rows that are drawn, which go through all of them.
        """
        reference = candidates[0].bundle
        known = [_KIND.golden_rows(reference)] if reference.contract.golden else []
        if counts_ticks(reference.contract):
            known.append(drawn_rows(reference))  # all ticks, to which no recording goes
        return [
            *map(RowSet.whole, known),
            *(_held_back(candidates, file, read_rows(file, reference, topics)) for file in places),
        ]

    def play(
        self, bundle: JointBundle, models: Mapping[str, Backend], rows: Rows
    ) -> dict[str, Tensor]:
        """Run the model; return all its inputs and outputs."""
        return _KIND.play(bundle, models, rows)

    def model_inputs(self, sets: Sequence[RowSet]) -> Mapping[str, Tensor]:
        """Return the rows of the first set."""
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
        """Measure each output, and hold the action against limits.

        Where the model counts ticks, its other outputs are held against those of the precision,
        too: a wrong tick often shows in the reference motion alone.
        """
        bundle, source = candidate.bundle, one.rows.source
        # The reference gives what was not recorded.
        expected = one.rows.outputs or {name: said[name] for name in bundle.contract.model.outputs}
        differences = _KIND.differences(bundle, one.of(found), one.of(expected), one.judged)
        action, *others = differences
        if not counts_ticks(bundle.contract):
            others = []
        # States depend on all rows before; no limit of single runs is meant for them.
        states = {pair.output for pair in bundle.contract.state}
        others = [other for other in others if other.output not in states]
        return OnRows(
            source=source,
            count=len(one.judged),
            left_out=one.left_out,
            differences=differences,
            checks=_KIND.checks(
                bundle, candidate.backend, candidate.entries, (action, *others), source
            ),
        )


def _held_back(candidates: Sequence[Candidate[JointBundle]], file: Path, rows: Rows) -> RowSet:
    """Leave out the rows of this very file that an artifact was calibrated with."""
    everything = np.arange(len(rows))
    stated = [one.entry.calibration for one in candidates if one.entry.calibration is not None]
    if not stated:
        return RowSet.whole(rows)
    sha256 = hash_of(file)
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
