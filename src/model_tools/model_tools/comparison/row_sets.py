# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The rows that artifacts are compared on, less those that one of them was calibrated with."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_tools.comparison.artifacts import Candidate
from model_tools.compilers.samples import hash_of
from model_tools.row_files import read_rows
from policy_inference.comparison.rows import Rows, evenly, golden_rows
from policy_inference.interfaces import Tensor

_log = logging.getLogger("model_tools")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowSet:
    """Rows of one source, all of which are played, and the numbers of those that are judged."""

    rows: Rows
    judged: npt.NDArray[np.int64]

    @property
    def left_out(self) -> int:
        """Number of rows that calibrated an artifact."""
        return len(self.rows) - len(self.judged)

    def of(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the judged rows of tensors [rows, ...]."""
        return {name: array[self.judged] for name, array in tensors.items()}


def row_sets(
    candidates: Sequence[Candidate], files: Sequence[Path], topics: Mapping[str, str] | None
) -> list[RowSet]:
    """Return the reference's golden rows, where it has some, and those of files.

    Raises:
        PolicyError: They do not fit the reference, or it does not run.
        OSError: A file cannot be read.
    """
    reference = candidates[0].bundle
    golden = [golden_rows(reference)] if reference.contract.model.golden else []
    return [*(RowSet(rows=rows, judged=np.arange(len(rows))) for rows in golden),
            *(_held_back(candidates, file, read_rows(file, reference, topics)) for file in files)]


def _held_back(candidates: Sequence[Candidate], file: Path, rows: Rows) -> RowSet:
    """Leave out the rows of this very file that an artifact was calibrated with."""
    everything = np.arange(len(rows))
    stated = [one.entry.calibration for one in candidates if one.entry.calibration is not None]
    if not stated:
        return RowSet(rows=rows, judged=everything)
    sha256 = hash_of(file)
    used = [evenly(len(rows), one.rows) for one in stated if one.sha256 == sha256]
    held = RowSet(rows=rows, judged=np.setdiff1d(everything, np.concatenate([[], *used])))
    if held.left_out:
        _log.info("%s: %d of %d rows are left out: an artifact was calibrated with them",
                  file, held.left_out, len(rows))
    return held
