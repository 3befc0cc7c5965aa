# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a comparison plays and finds on rows, whatever kind of policy it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from model_tools.prove.comparison.candidates import Candidate
from policy_core.interfaces import Backend, Tensor
from policy_inference.comparison.limits import Check
from policy_inference.comparison.open_loop import Difference
from policy_inference.comparison.rows import Rows


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OnRows:
    """An artifact on one set of rows.

    Attributes:
        source: Of the rows.
        count: How many are judged.
        left_out: Rows that are not among them, since an artifact was calibrated with them.
        differences: Of what commands joints first. Of a chunk policy: normalised chunks, the same
            in rad, then each camera's encoder against the reference's.
        checks: Everything that was held against a limit; nothing where it is not judged.
        judged: Whether it was. Images that were drawn say little of a graph of 8 bits, whose
            ranges are those of recorded ones: where there are such, these judge it.
    """

    source: str
    count: int
    left_out: int = 0
    differences: tuple[Difference, ...]
    checks: tuple[Check, ...]
    judged: bool = True

    @property
    def action(self) -> Difference:
        """The difference of the output that commands joints."""
        return self.differences[0]

    @property
    def title(self) -> str:
        """Where the rows are from, and how many of them were held back."""
        held = f", {self.count} held back of {self.count + self.left_out}" if self.left_out else ""
        return f"{self.source}{held}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowSet:
    """Rows of one source, all of which are played, and the numbers of those that are judged."""

    rows: Rows
    judged: npt.NDArray[np.int64]

    @staticmethod
    def whole(rows: Rows) -> RowSet:
        """Return rows all of which are judged."""
        return RowSet(rows=rows, judged=np.arange(len(rows)))

    @property
    def left_out(self) -> int:
        """Number of rows that calibrated an artifact."""
        return len(self.rows) - len(self.judged)

    def of(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the judged rows of tensors [rows, ...]."""
        return {name: array[self.judged] for name, array in tensors.items()}


class Comparison(Protocol):
    """What differs between kinds of policies in a comparison.

    Attributes:
        timed_runs: Runs of each model that are timed.
        other_rows: What to give where there are no golden rows, in the words of an error.
        walks: Whether the simulated robot can walk with such a policy.
    """

    timed_runs: int
    other_rows: str
    walks: bool

    def row_sets(
        self,
        candidates: Sequence[Candidate[Any]],
        places: Sequence[Path],
        topics: Mapping[str, str] | None,
    ) -> list[RowSet]:
        """Return the reference's golden rows, where it has some, and those of other places."""

    def play(self, bundle: Any, models: Mapping[str, Backend], rows: Rows) -> dict[str, Tensor]:
        """Run a policy on rows; return all that `judged` looks at [rows, ...]."""

    def model_inputs(self, sets: Sequence[RowSet]) -> Mapping[str, Tensor]:
        """Return rows by model input, of which the first is fed while runs are timed."""

    def judged(
        self,
        candidate: Candidate[Any],
        one: RowSet,
        found: Mapping[str, Tensor],
        said: Mapping[str, Tensor],
        *,
        is_only: bool,
    ) -> OnRows:
        """Measure what was played, and hold it against limits.

        Args:
            candidate: The artifact.
            one: The rows.
            found: What it made of them.
            said: What the reference made of them, which counts where nothing was recorded.
            is_only: Whether there are no other rows.
        """
