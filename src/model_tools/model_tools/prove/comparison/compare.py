# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Compare artifacts: each on the same rows and, where asked for, on the same walks."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_tools.errors import ToolError
from model_tools.files.row_files import read_rows
from model_tools.prove.calibration.calibration_files import hash_of
from model_tools.prove.comparison import walking
from model_tools.prove.comparison.candidates import Candidate
from model_tools.prove.comparison.walking import Walked
from model_tools.simulation.robot import LITE3, SimulatedRobot
from policy_inference.comparison import open_loop
from policy_inference.comparison.limits import Check, closed_loop_limits, open_loop_limits
from policy_inference.comparison.open_loop import Difference
from policy_inference.comparison.rows import Rows, evenly, golden_rows, play
from policy_inference.core.latency import Latency, LatencyWindow
from policy_inference.interfaces import Backend, Tensor

_log = logging.getLogger("model_tools")
RUNS = 2000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OnRows:
    """An artifact on one set of rows: a difference per output, and the action's checks.

    `left_out` is the number of rows that are not among the `count`, since an artifact was
    calibrated with them.
    """

    source: str
    count: int
    left_out: int
    differences: tuple[Difference, ...]
    checks: tuple[Check, ...]

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
class Compared:
    """What was found of one artifact; its truth value says whether all its limits hold.

    Attributes:
        candidate: The artifact.
        latency: Of single runs on this machine, s.
        on_rows: One entry for each set of rows.
        walks: What it walked; empty where that was not asked for.
        walking_checks: The walks against limits and reference.
        alone_checks: The walks against what a good walk is, whatever the reference does; not
            among the limits that are to hold.
    """

    candidate: Candidate
    latency: Latency
    on_rows: tuple[OnRows, ...]
    walks: tuple[Walked, ...]
    walking_checks: tuple[Check, ...]
    alone_checks: tuple[Check, ...]

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
    robot: SimulatedRobot = LITE3,
) -> list[Compared]:
    """Compare artifacts with the first one.

    Args:
        candidates: Two or more artifacts of the same function.
        files: Rows to compare on, besides the golden ones of the first bundle; those that an
            artifact was calibrated with are played, and not judged.
        walk_s: Length of each walk, s; None for no closed loop.
        topics: Topics of recordings by input, where they have other names.
        robot: What walks.

    Raises:
        PolicyError: Rows, a backend or the simulated robot do not fit.
        OSError: A file cannot be read.
    """
    reference = candidates[0].bundle
    if walk_s is not None:
        walking.check_walks([candidate.bundle for candidate in candidates], walk_s, robot)
    sets = row_sets(candidates, files, topics)
    if not sets and walk_s is None:
        raise ToolError(
            f"{reference.path}: expected something to compare on, found no golden "
            "rows; give rows (--rows) or let it walk (--closed-loop)"
        )
    ran = [_run(candidate, [each.rows for each in sets], walk_s, robot) for candidate in candidates]
    # What nobody recorded, the reference says.
    expected = [
        each.rows.outputs or {name: said[name] for name in reference.contract.model.outputs}
        for each, said in zip(sets, ran[0].played, strict=True)
    ]
    reported = _reported(candidates[0], walk_s, robot)
    return [_judged(one, sets, expected, ran[0].walks, reported) for one in ran]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Ran:
    """An artifact's tensors on each set of rows, and its walks."""

    candidate: Candidate
    latency: Latency
    played: list[dict[str, Tensor]]
    walks: tuple[Walked, ...]


def _run(
    candidate: Candidate, sets: Sequence[Rows], walk_s: float | None, robot: SimulatedRobot
) -> _Ran:
    walks, state = list[Walked](), candidate.bundle.contract.state
    with candidate.opened() as backend:
        _log.info("%s: sets of rows: %d", candidate.label, len(sets))
        played = [play(backend, rows, state) for rows in sets]
        latency = measure_latency(backend, sets[0].inputs if sets else {})
        if walk_s is not None:
            _log.info("%s: walks of %g s", candidate.label, walk_s)
            walks = walking.walk_each(candidate.bundle, backend, walk_s, robot)
    return _Ran(candidate=candidate, latency=latency, played=played, walks=tuple(walks))


def _judged(
    ran: _Ran,
    sets: Sequence[RowSet],
    expected: Sequence[Mapping[str, Tensor]],
    reference: Sequence[Walked],
    reported: Mapping[str, Sequence[float]],
) -> Compared:
    candidate, walks = ran.candidate, ran.walks
    walk_limits = closed_loop_limits(candidate.bundle.contract, candidate.backend)
    return Compared(
        candidate=candidate,
        latency=ran.latency,
        walks=walks,
        on_rows=tuple(
            _on_rows(candidate, *entry) for entry in zip(sets, expected, ran.played, strict=True)
        ),
        walking_checks=walking.judge(walks, reference, walk_limits) if walks else (),
        alone_checks=(
            walking.judge_alone(walks, candidate.bundle, reported, walk_limits) if walks else ()
        ),
    )


def _reported(
    reference: Candidate, walk_s: float | None, robot: SimulatedRobot
) -> Mapping[str, Sequence[float]]:
    """Return the errors that the reference's report has of these walks: a Lite3's, as long."""
    if robot.model is not None or walk_s != walking.DURATION_S:
        return {}
    return walking.reported_errors(reference.bundle, reference.entry.sha256)


def _on_rows(
    candidate: Candidate, one: RowSet, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]
) -> OnRows:
    expected, found = one.of(expected), one.of(found)
    contract = candidate.bundle.contract
    differences = open_loop.differences(contract, found, expected, one.judged)
    limits = open_loop_limits(contract, candidate.backend, candidate.entry.precision)
    checks = open_loop.judge(differences[0], one.rows.source, limits)
    return OnRows(
        source=one.rows.source,
        count=len(one.judged),
        left_out=one.left_out,
        differences=differences,
        checks=checks,
    )


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
    return [
        *(RowSet(rows=rows, judged=np.arange(len(rows))) for rows in golden),
        *(_held_back(candidates, file, read_rows(file, reference, topics)) for file in files),
    ]


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
        _log.info(
            "%s: %d of %d rows are left out: an artifact was calibrated with them",
            file,
            held.left_out,
            len(rows),
        )
    return held


def measure_latency(backend: Backend, inputs: Mapping[str, Tensor], runs: int = RUNS) -> Latency:
    """Time single runs of a model.

    Args:
        backend: Opened backend, warm; its input arrays are overwritten.
        inputs: Rows by model input, of which the first is fed.
        runs: How many.
    """
    for name, values in inputs.items():
        backend.inputs[name][0] = values[0]
    window = LatencyWindow(runs)
    for _ in range(runs):
        start_ns = time.perf_counter_ns()
        backend.run()
        window.add(time.perf_counter_ns() - start_ns)
    return window.summary()
