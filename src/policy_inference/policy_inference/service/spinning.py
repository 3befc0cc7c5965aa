# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Poll shared memory instead of sleeping; this uses a core, but saves the wake-up."""

from __future__ import annotations

import select
from collections.abc import Callable

from policy_inference.service.connection import Connection
from policy_inference.service.framed import FramedConnection
from policy_inference.service.shared_memory import ServiceMemory

_LOOKS = 16
"""Number of polls in a row; meanwhile, all other events wait for a few microseconds."""


class Spinning:
    """Polls the shared memory of clients whose next request is expected soon.

    Attributes:
        expected: These clients and their time limits, ns, by memory; empty if `wait` has nothing to
            poll.
    """

    def __init__(self, spin_ns: int) -> None:
        self._spin_ns = spin_ns
        self.expected = dict[ServiceMemory, tuple[FramedConnection, int]]()

    def expect(self, connection: Connection, now_ns: int) -> None:
        """Expect a request from a client that has just been answered, if it uses shared memory."""
        if not (self._spin_ns and isinstance(connection, FramedConnection)):
            return
        if connection.memory is not None:
            connection.memory.stay_awake()
            self.expected[connection.memory] = connection, now_ns + self._spin_ns

    def forget(self, memory: ServiceMemory | None) -> None:
        """Stop expecting a request in this memory, since it is about to be closed."""
        if memory is not None:
            self.expected.pop(memory, None)

    def wait(
        self, poll: select.epoll, most_events: int, timeout_s: float, clock: Callable[[], int]
    ) -> tuple[list[FramedConnection], list[tuple[int, int]]]:
        """Return clients with requests, and other events; both empty if no request is expected.

        Args:
            poll: Other event sources.
            most_events: Maximum number of other events at once.
            timeout_s: 0 to poll once.
            clock: Steady clock, ns.
        """
        while self.expected:
            asking, events = self._look(clock()), poll.poll(0, most_events)
            if asking or events or not timeout_s:
                return asking, events
        return [], []

    def _look(self, now_ns: int) -> list[FramedConnection]:
        """Return the clients with a request; stop polling clients whose time limit has passed.

        Such a client must then wake the service.
        """
        expected = self.expected
        for _ in range(_LOOKS):
            if any(memory.has_request() for memory in expected):
                return [client for memory, (client, _) in expected.items() if memory.has_request()]
        late = [
            (memory, client) for memory, (client, end_ns) in expected.items() if end_ns <= now_ns
        ]
        for memory, _ in late:
            del expected[memory]
            memory.sleep()
        return [client for memory, client in late if memory.has_request()]
