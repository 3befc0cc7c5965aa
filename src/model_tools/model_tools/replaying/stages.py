# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What was recorded against what came of it again, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from policy_inference.interfaces import F64, Tensor

STATE, INPUTS, OUTPUTS, TARGET, COMMAND = "state", "inputs", "outputs", "target", "command"
GUARD = "guard"
STAGES = (STATE, INPUTS, OUTPUTS, TARGET, COMMAND, GUARD)
"""In the order in which a tick goes through them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """A value that is not what was recorded.

    Attributes:
        tick: Number of the tick.
        time_s: Since the first tick of the recording.
        stage: One of `STAGES`.
        name: Which value.
        expected, found: What was recorded, and what came of it again.
    """

    tick: int
    time_s: float
    stage: str
    name: str
    expected: str
    found: str
    difference: float = float("nan")

    def __str__(self) -> str:
        """Return it as a sentence."""
        apart = f", {self.difference:.3g} apart" if np.isfinite(self.difference) else ""
        return (f"tick {self.tick} ({self.time_s:.3f} s), {self.stage}: {self.name}: expected "
                f"{self.expected}, as recorded, found {self.found}{apart}")


@dataclass(slots=True, kw_only=True, eq=False)
class Stage:
    """One stage over all ticks.

    A value differs where it is farther from the recorded one than `tolerance`, times that where
    it is larger than 1; with 0, it must be equal. NaN equals NaN.

    Attributes:
        judged, not_judged: Ticks whose past is in the recording, and the others.
        differing: Ticks in which a value differs.
        first, worst: The first tick in which one does, and the value that is farthest off.
        largest: Largest difference.
    """

    name: str
    tolerance: float = 0.0
    judged: int = 0
    not_judged: int = 0
    differing: int = 0
    first: Departure | None = None
    worst: Departure | None = None
    largest: float = 0.0
    _total: float = field(default=0.0, repr=False)
    _values: int = field(default=0, repr=False)

    @property
    def mean(self) -> float:
        """Mean absolute difference over all values that were judged."""
        return self._total / self._values if self._values else 0.0

    def compare(
        self, tick: int, time_s: float, names: Sequence[str], expected: Tensor, found: Tensor,
        known: np.ndarray[tuple[int], np.dtype[np.bool_]] | None = None,
    ) -> None:  # fmt: skip
        """Compare the values of a tick, those that are `known` where that is given."""
        a, b = (np.asarray(each, np.float64).reshape(-1) for each in (expected, found))
        with np.errstate(invalid="ignore"):
            apart = np.abs(b - a)
            allowed = self.tolerance * np.maximum(1.0, np.abs(a))
            same = (apart <= allowed) | (a == b) | (np.isnan(a) & np.isnan(b))
        if known is not None:
            same |= ~known
            apart = np.where(known, apart, 0.0)
        self.judged += 1
        finite = apart[np.isfinite(apart)]
        self._total, self._values = self._total + float(finite.sum()), self._values + finite.size
        largest = float(finite.max()) if finite.size else 0.0
        if same.all():
            self.largest = max(self.largest, largest)
            return
        self.differing += 1
        # NaN in one of both is as far apart as can be.
        place = int(np.argmax(np.where(same, -1.0, np.nan_to_num(apart, nan=np.inf))))
        found_there = Departure(
            tick=tick, time_s=time_s, stage=self.name, name=names[place],
            expected=_number(a[place]), found=_number(b[place]), difference=float(apart[place]))
        self.first = self.first or found_there
        if self.worst is None or not largest <= self.largest:
            self.worst = found_there
        self.largest = max(self.largest, largest)

    def depart(self, departure: Departure) -> None:
        """Note a tick that is not as recorded, in words."""
        self.judged += 1
        self.differing += 1
        self.first = self.first or departure

    def agree(self) -> None:
        """Note a tick that is as recorded."""
        self.judged += 1

    def skip(self) -> None:
        """Note a tick whose past is not in the recording."""
        self.not_judged += 1


def _number(value: float) -> str:
    return f"{value:.9g}"


@dataclass(slots=True, kw_only=True, eq=False)
class Course:
    """Rows of one array over the ticks that were judged: recorded and found again."""

    ticks: list[int] = field(default_factory=list)
    expected: list[Tensor] = field(default_factory=list)
    found: list[Tensor] = field(default_factory=list)

    def add(self, tick: int, expected: Tensor, found: Tensor) -> None:
        """Add a row; `found` is copied."""
        self.ticks.append(tick)
        self.expected.append(expected)
        self.found.append(found.copy())

    def rows(self) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], F64, F64]:
        """Return numbers of the ticks, and both as [ticks, values]."""
        count = len(self.ticks)
        expected, found = (np.reshape(np.array(each, np.float64), (count, -1))
                           for each in (self.expected, self.found))
        return np.array(self.ticks, np.int64), expected, found
