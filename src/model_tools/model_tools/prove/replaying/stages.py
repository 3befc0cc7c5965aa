# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Stages of a replay: recorded values compared with recomputed ones, and how much was judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from model_tools.prove.replaying.recording import RecordedTick
from policy_core.interfaces import F64, Mode, OnFault, Tensor

STATE, INPUTS, OUTPUTS, TARGET, COMMAND = "state", "inputs", "outputs", "target", "command"
GUARD = "guard"
STAGES = (STATE, INPUTS, OUTPUTS, TARGET, COMMAND, GUARD)
"""Stages, in the order in which a tick passes them."""
_ENOUGH = 0.5
"""Required share of judged ticks among the ticks in RUN that a complete recording would have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """A value that differs from the recording.

    Attributes:
        tick: Number of the tick.
        time_s: Time since the first tick of the recording.
        stage: One of `STAGES`.
        name: Name of the value.
        expected, found: The recorded and the recomputed value.
    """

    tick: int
    time_s: float
    stage: str
    name: str
    expected: str
    found: str
    difference: float

    def __str__(self) -> str:
        apart = f", {self.difference:.3g} apart" if np.isfinite(self.difference) else ""
        return (
            f"tick {self.tick} ({self.time_s:.3f} s), {self.stage}: {self.name}: expected "
            f"{self.expected} (as recorded), found {self.found}{apart}"
        )


@dataclass(slots=True, kw_only=True, eq=False)
class ReplayStage:
    """Results of one stage over all ticks.

    A value differs if its distance from the recorded one exceeds `tolerance`, or `tolerance` times
    the recorded value if that is larger than 1; with a tolerance of 0, the values must be equal.
    NaN equals NaN.

    Attributes:
        judged, not_judged: Ticks whose past is in the recording, and all others.
        differing: Ticks in which a value differs.
        first, worst: First tick with a difference, and the value with the largest difference.
        largest: Largest difference.
        total, values: Sum and number of the differences that are finite.
    """

    tolerance: float = 0.0
    judged: int = 0
    not_judged: int = 0
    differing: int = 0
    first: Departure | None = None
    worst: Departure | None = None
    largest: float = 0.0
    total: float = 0.0
    values: int = 0

    @property
    def mean(self) -> float:
        return self.total / self.values if self.values else 0.0


class TickStages:
    """Judges the stages of one tick."""

    def __init__(
        self, stages: Mapping[str, ReplayStage], tick: RecordedTick, time_s: float
    ) -> None:
        """Judge the tick that is `time_s` after the recording's first tick."""
        self._stages, self._number, self._time_s = stages, tick.number, time_s
        self._judged = {name: stage.judged for name, stage in stages.items()}

    @property
    def judged(self) -> list[str]:
        return [name for name, stage in self._stages.items() if stage.judged > self._judged[name]]

    def compare(
        self,
        name: str,
        names: Sequence[str],
        expected: Tensor,
        found: Tensor,
        known: np.ndarray[tuple[int], np.dtype[np.bool_]] | None = None,
    ) -> None:
        """Compare the values that have these names; with `known`, only those marked in it."""
        stage = self._stages[name]
        a, b = (np.asarray(each, np.float64).reshape(-1) for each in (expected, found))
        with np.errstate(invalid="ignore"):
            apart = np.abs(b - a)
            allowed = stage.tolerance * np.maximum(1.0, np.abs(a))
            same = (apart <= allowed) | (a == b) | (np.isnan(a) & np.isnan(b))
        if known is not None:
            same |= ~known
            apart = np.where(known, apart, 0.0)
        stage.judged += 1
        finite = apart[np.isfinite(apart)]
        stage.total, stage.values = stage.total + float(finite.sum()), stage.values + finite.size
        largest = float(finite.max()) if finite.size else 0.0
        if not same.all():
            # NaN on one side only is the largest distance.
            place = int(np.argmax(np.where(same, -1.0, np.nan_to_num(apart, nan=np.inf))))
            values = f"{a[place]:.9g}", f"{b[place]:.9g}"
            differs = self._differ(name, names[place], *values, float(apart[place]))
            if stage.worst is None or not largest <= stage.largest:
                stage.worst = differs
        stage.largest = max(stage.largest, largest)

    def compare_tensors(
        self,
        name: str,
        called: Mapping[str, Sequence[str]],
        expected: Mapping[str, Tensor],
        found: Mapping[str, Tensor],
    ) -> None:
        """Compare tensors; `called` maps those that can be judged to the names of their values."""
        if not called:
            self.skip(name)
            return
        values = (
            np.concatenate([tensors[each].reshape(-1) for each in called])
            for tensors in (expected, found)
        )
        self.compare(name, [*chain.from_iterable(called.values())], *values)

    def depart(self, name: str, value: str, expected: str, found: str) -> None:
        self._stages[name].judged += 1
        self._differ(name, value, expected, found)

    def _differ(
        self, name: str, value: str, expected: str, found: str, difference: float = float("nan")
    ) -> Departure:
        stage = self._stages[name]
        departure = Departure(
            tick=self._number,
            time_s=self._time_s,
            stage=name,
            name=value,
            expected=expected,
            found=found,
            difference=difference,
        )
        stage.differing += 1
        stage.first = stage.first or departure
        return departure

    def agree(self, name: str) -> None:
        self._stages[name].judged += 1

    def skip(self, *names: str) -> None:
        """Count stages as not judged, since their past is not in the recording."""
        for name in names:
            self._stages[name].not_judged += 1


@dataclass(slots=True, kw_only=True, eq=False)
class StageCourse:
    """Recorded and recomputed rows of one array, over the judged ticks."""

    ticks: list[int] = field(default_factory=list)
    expected: list[Tensor] = field(default_factory=list)
    found: list[Tensor] = field(default_factory=list)

    def add(self, tick: int, expected: Tensor, found: Tensor) -> None:
        self.ticks.append(tick)
        self.expected.append(expected)
        self.found.append(found.copy())

    def rows(self) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], F64, F64]:
        count = len(self.ticks)
        expected, found = (
            np.reshape(np.array(each, np.float64), (count, -1))
            for each in (self.expected, self.found)
        )
        return np.array(self.ticks, np.int64), expected, found


class ReplayCoverage:
    """Counts the judged ticks in RUN, and those that could not be judged because data is missing.

    Ticks before the recording's first one do not count as missing.

    Attributes:
        ticks, lost: Ticks in the recording, and ticks missing between them.
        run, lost_in_run: Ticks in RUN, and missing ticks that may have been in RUN.
        judged: Judged ticks in RUN, by stage; for the state, those with sensor messages.
        due, sent: Ticks that must have a command, and those that have one.
        unsensed: Ticks in RUN in which no message contained a sensor's value, by field of the
            state.
    """

    def __init__(
        self, sensed: Collection[str], on_fault: OnFault, stages: Collection[str] = STAGES
    ) -> None:
        """Expect messages with these fields of the state in each tick, and these stages in RUN."""
        self._sensed, self._on_fault, self._stages = frozenset(sensed), on_fault, tuple(stages)
        self.ticks = self.lost = self.run = self.lost_in_run = self.due = self.sent = 0
        self.judged, self._lacking = Counter[str](), Counter[str]()
        self.unsensed = Counter[str]()

    def lose(self, count: int, before: RecordedTick, after: RecordedTick) -> None:
        self.lost += count
        # READY leads to RUN, which may have begun and ended in between.
        began = before.mode is Mode.READY and after.mode is not Mode.READY
        if began or {Mode.RUN, Mode.HOLD} & {before.mode, after.mode}:
            self.lost_in_run += count

    def add(self, tick: RecordedTick, judged: Collection[str], unsensed: Iterable[str]) -> None:
        self.ticks += 1
        # Nothing is commanded before a request.
        may_rest = tick.mode is Mode.DAMP and self._on_fault is OnFault.HOLD_MEASURED
        if tick.command is not None or not may_rest:
            self.due += 1
            self.sent += tick.command is not None
        if tick.mode is not Mode.RUN:
            return
        self.run += 1
        unsensed = set(unsensed)
        self.unsensed.update(unsensed)
        whole = {*judged} - ({STATE} if unsensed & self._sensed else set())
        self.judged.update(whole)
        self._lacking.update({STATE} - whole)
        if tick.command is None:
            self._lacking[COMMAND] += 1
        if self.lost:
            self._lacking.update({*self._stages} - whole - {STATE, COMMAND})

    @property
    def never_sensed(self) -> list[str]:
        """Fields of the state that no message contained in any tick in RUN."""
        return sorted(field for field, count in self.unsensed.items() if count == self.run)

    @property
    def problems(self) -> list[str]:
        """Why the judged ticks prove nothing, in words; may be empty."""
        found = []
        if self.due and not self.sent:
            found.append(f"none of {self.due} ticks has a command with its stamp")
        elif self.sent < _ENOUGH * (self.due + self.lost):
            found.append(
                f"only {self.sent} of {self.due + self.lost} ticks have a command with their stamp"
            )
        if self.lost_in_run and not self.run:
            found.append(
                f"the policy may have run in the {self.lost_in_run} ticks that are missing"
            )
        for name in self._stages if self.run else ():
            judged = self.judged[name]
            due = judged + self._lacking[name] + self.lost_in_run
            if not judged:
                found.append(f"{name}: none of {self.run} ticks in RUN could be compared")
            elif judged < _ENOUGH * due:
                found.append(f"{name}: too few ticks in RUN could be compared ({judged} of {due})")
        return found
