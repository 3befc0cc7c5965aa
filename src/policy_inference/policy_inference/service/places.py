# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Places for peers that have shown nothing yet: a few, each for a time, and fair to machines."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Places(Generic[T]):
    """Belongs to one thread; whoever takes a place is told to go by `superfluous` and `late`."""

    def __init__(self, most: int, within_s: float) -> None:
        """Have so many places, each for so long."""
        self._most, self._within_s = most, within_s
        # By the time at which they end: the first that came is the first that is late.
        self._taken = dict[T, tuple[str, float]]()

    def __iter__(self) -> Iterator[T]:
        """Iterate over those that are there, the oldest first."""
        return iter(self._taken)

    def take(self, one: T, machine: str) -> None:
        """Give one of a machine a place, though there may be none: look for a `superfluous` one."""
        self._taken[one] = machine, time.monotonic() + self._within_s

    def leave(self, one: T) -> None:
        """Free its place."""
        del self._taken[one]

    def superfluous(self) -> T | None:
        """Return who has to go since there are too many: the oldest of the machine with most."""
        if len(self._taken) <= self._most:
            return None
        counts = Counter(machine for machine, _ in self._taken.values())
        return max(self._taken, key=lambda one: counts[self._taken[one][0]])

    def late(self) -> T | None:
        """Return who has to go since its time is over."""
        return next(iter(self._taken), None) if self.left_s() == 0.0 else None

    def left_s(self) -> float | None:
        """Return the time until the next one is late, 0 where it is; None where nobody is there."""
        first = next(iter(self._taken.values()), None)
        return None if first is None else max(0.0, first[1] - time.monotonic())
