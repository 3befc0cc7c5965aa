# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Peers that connect: a thread that waits for them can be woken, and each has limited time."""

from __future__ import annotations

import contextlib
import socket
import time
from collections import Counter
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class PeerSlots(Generic[T]):
    """Places for peers that have sent nothing valid yet: a few, each for a time, fair to machines.

    They belong to one thread, which disconnects the peers that `superfluous` and `late` return.
    """

    def __init__(self, most: int, within_s: float) -> None:
        """Make places.

        Args:
            most: Number of places.
            within_s: Time that a peer may keep one, s.
        """
        self._most, self._within_s = most, within_s
        # By the time at which they end: the first that came is the first that is late.
        self._taken = dict[T, tuple[str, float]]()

    def __iter__(self) -> Iterator[T]:
        """Iterate over the peers that have a place, the oldest first."""
        return iter(self._taken)

    def take(self, one: T, machine: str) -> None:
        """Give a peer of a machine a place, even if all are taken: then one is `superfluous`."""
        self._taken[one] = machine, time.monotonic() + self._within_s

    def leave(self, one: T) -> None:
        """Free the place of a peer."""
        del self._taken[one]

    def superfluous(self) -> T | None:
        """Return the oldest peer of the machine with most if there are too many, else None."""
        if len(self._taken) <= self._most:
            return None
        counts = Counter(machine for machine, _ in self._taken.values())
        return max(self._taken, key=lambda one: counts[self._taken[one][0]])

    def late(self) -> T | None:
        """Return a peer whose time is over; None where there is none."""
        return next(iter(self._taken), None) if self.left_s() == 0.0 else None

    def left_s(self) -> float | None:
        """Return the time until the next peer is late, s; None where no place is taken."""
        first = next(iter(self._taken.values()), None)
        return None if first is None else max(0.0, first[1] - time.monotonic())


class Waker:
    """Wakes a thread that waits for sockets, from other threads; that thread watches `fileno`."""

    def __init__(self) -> None:
        """Make a pair of sockets."""
        self._asked, self._asking = socket.socketpair()
        self._asked.setblocking(False)
        self._asking.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable."""
        return self._asked.fileno()

    def wake(self) -> None:
        """Wake the thread; does nothing where it is awake already, or has ended."""
        with contextlib.suppress(OSError):
            self._asking.send(b"\0")

    def awake(self) -> None:
        """Acknowledge in the thread, so that it can be woken again."""
        with contextlib.suppress(BlockingIOError):
            self._asked.recv(4096)

    def close(self) -> None:
        """Close both."""
        self._asked.close()
        self._asking.close()
