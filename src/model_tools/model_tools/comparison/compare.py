# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Compare artifacts: each on the same rows and, where asked for, on the same walks."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from model_tools.comparison import closed_loop, open_loop
from model_tools.comparison.artifacts import Candidate, joints
from model_tools.comparison.closed_loop import Walked
from model_tools.comparison.latency import measure_latency
from model_tools.comparison.limits import Check, closed_loop_limits, open_loop_limits
from model_tools.comparison.open_loop import Difference
from model_tools.errors import ToolError
from model_tools.row_files import read_rows
from model_tools.rows import Rows, golden_rows, play
from policy_inference.core.latency import Latency
from policy_inference.interfaces import Tensor

_log = logging.getLogger("model_tools")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OnRows:
    """An artifact on one set of rows: a difference per output, and the action's checks."""

    source: str
    count: int
    differences: tuple[Difference, ...]
    checks: tuple[Check, ...]

    @property
    def action(self) -> Difference:
        """The difference of the output that commands joints."""
        return self.differences[0]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Compared:
    """What was found of one artifact; its truth value says whether all its limits hold.

    Attributes:
        candidate: The artifact.
        latency: Of single runs on this machine, s.
        on_rows: One entry for each set of rows.
        walks: What it walked; empty where that was not asked for.
        walking_checks: The walks against limits and reference.
    """

    candidate: Candidate
    latency: Latency
    on_rows: tuple[OnRows, ...]
    walks: tuple[Walked, ...]
    walking_checks: tuple[Check, ...]

    @property
    def checks(self) -> tuple[Check, ...]:
        """Everything that was held against a limit."""
        return (*(check for rows in self.on_rows for check in rows.checks), *self.walking_checks)

    def __bool__(self) -> bool:
        """Return whether every limit holds."""
        return all(self.checks)


def compare(
    candidates: Sequence[Candidate],
    files: Sequence[Path],
    walk_s: float | None,
    topics: Mapping[str, str] | None = None,
) -> list[Compared]:
    """Compare artifacts with the first one.

    Args:
        candidates: Two or more artifacts of the same function.
        files: Rows to compare on, besides the golden ones of the first bundle.
        walk_s: Length of each walk, s; None for no closed loop.
        topics: Topics of recordings by input, where they have other names.

    Raises:
        PolicyError: Rows, a backend or the simulated robot do not fit.
        OSError: A file cannot be read.
    """
    reference = candidates[0].bundle
    if walk_s is not None:
        closed_loop.check_walks([candidate.bundle for candidate in candidates], walk_s)
    row_sets = [golden_rows(reference)] if reference.contract.model.golden else []
    row_sets += [read_rows(file, reference, topics) for file in files]
    if not row_sets and walk_s is None:
        raise ToolError(f"{reference.path}: expected something to compare on, found no golden "
                        "rows; give rows (--rows) or let it walk (--closed-loop)")
    ran = [_run(candidate, row_sets, walk_s) for candidate in candidates]
    # What nobody recorded, the reference says.
    expected = [rows.outputs or {name: said[name] for name in reference.contract.model.outputs}
                for rows, said in zip(row_sets, ran[0].played, strict=True)]  # fmt: skip
    return [_judged(one, row_sets, expected, ran[0].walks) for one in ran]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Ran:
    """An artifact's tensors on each set of rows, and its walks."""

    candidate: Candidate
    latency: Latency
    played: list[dict[str, Tensor]]
    walks: tuple[Walked, ...]


def _run(candidate: Candidate, row_sets: Sequence[Rows], walk_s: float | None) -> _Ran:
    walks, state = list[Walked](), candidate.bundle.contract.state
    with candidate.opened() as backend:
        _log.info("%s: %d sets of rows", candidate.label, len(row_sets))
        played = [play(backend, rows, state) for rows in row_sets]
        latency = measure_latency(backend, row_sets[0].inputs if row_sets else {})
        if walk_s is not None:
            _log.info("%s: %d walks of %g s", candidate.label, len(closed_loop.VELOCITIES), walk_s)
            walks = closed_loop.walk_each(candidate.bundle, backend, walk_s)
    return _Ran(candidate=candidate, latency=latency, played=played, walks=tuple(walks))


def _judged(
    ran: _Ran,
    row_sets: Sequence[Rows],
    expected: Sequence[Mapping[str, Tensor]],
    reference: Sequence[Walked],
) -> Compared:
    candidate = ran.candidate
    walking = closed_loop_limits(candidate.bundle.contract, candidate.backend)
    return Compared(
        candidate=candidate, latency=ran.latency, walks=ran.walks,
        on_rows=tuple(_on_rows(candidate, *entry)
                      for entry in zip(row_sets, expected, ran.played, strict=True)),
        walking_checks=closed_loop.judge(ran.walks, reference, walking) if ran.walks else (),
    )  # fmt: skip


def _on_rows(
    candidate: Candidate,
    rows: Rows,
    expected: Mapping[str, Tensor],
    found: Mapping[str, Tensor],
) -> OnRows:
    contract = candidate.bundle.contract
    action = contract.action.output
    others = [name for name in expected if name != action]
    differences = tuple(
        open_loop.difference(name, _value_names(candidate, name, found[name]), found[name],
                             expected[name])
        for name in (action, *others)
    )  # fmt: skip
    limits = open_loop_limits(contract, candidate.backend)
    checks = open_loop.judge(differences[0], rows.source, limits)
    return OnRows(source=rows.source, count=len(rows), differences=differences, checks=checks)


def _value_names(candidate: Candidate, output: str, rows: Tensor) -> tuple[str, ...]:
    if output == candidate.bundle.contract.action.output:
        return joints(candidate)
    return tuple(f"{output}[{i}]" for i in range(rows[0].size))
