# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Looking at shared memory instead of sleeping: it costs a core and saves being woken."""

from __future__ import annotations

import select
from collections.abc import Callable

from policy_inference.service.shared_memory import ServiceMemory

_LOOKS = 16
"""In a row; whatever else there is has to wait for so long, which is a few microseconds."""


class Spinning:
    """Memories, and those of them whose clients are expected to ask soon.

    Attributes:
        expected: Until when, ns, by memory; empty where `wait` has nothing to look at.
    """

    def __init__(self, spin_ns: int) -> None:
        """Expect each one for so long after its last answer; 0: never."""
        self._spin_ns = spin_ns
        self._memories = dict[int, ServiceMemory]()
        self.expected = dict[ServiceMemory, int]()

    def add(self, memory: ServiceMemory) -> None:
        """Know a memory."""
        self._memories[memory.wakes] = memory

    def forget(self, memory: ServiceMemory) -> None:
        """Know it no more: it is about to be closed."""
        del self._memories[memory.wakes]
        self.expected.pop(memory, None)

    def expect(self, memory: ServiceMemory, now_ns: int) -> None:
        """Expect a request of a client that was answered now."""
        if self._spin_ns:
            memory.stay_awake()
            self.expected[memory] = now_ns + self._spin_ns

    def glance(self, wakes: int) -> None:
        """Look by and by, once at least, at a memory that rang; at what is none, do not."""
        memory = self._memories.get(wakes)
        if memory is not None:
            self.expected.setdefault(memory, 0)

    def wait(
        self, poll: select.epoll, most_events: int, timeout_s: float, clock: Callable[[], int]
    ) -> list[tuple[int, int]]:
        """Return what has happened, requests in memory among it; nothing where none is expected.

        Args:
            poll: Everything else.
            most_events: Of it, at once.
            timeout_s: 0: look once.
            clock: Steady, ns.
        """
        while self.expected:
            rung = [(wakes, select.EPOLLIN) for wakes in self._look(clock())]
            events = rung + poll.poll(0, most_events)
            if events or not timeout_s:
                return events
        return []

    def _look(self, now_ns: int) -> list[int]:
        """Return what wakes for those with a request; those that were expected in vain sleep."""
        until_ns = self.expected
        for _ in range(_LOOKS):
            for memory in until_ns:
                if memory.stirs():
                    return [memory.wakes for memory in until_ns if memory.stirs()]
        late = [memory for memory, end_ns in until_ns.items() if end_ns <= now_ns]
        for memory in late:
            del until_ns[memory]
            memory.sleep()
        return [memory.wakes for memory in late if memory.stirs()]
