# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""How many clients there may be: a user or machine that takes all it can leaves room to others."""

from __future__ import annotations

from collections.abc import Iterable

from policy_inference.service.connection import Connection
from policy_inference.service.protocol import Code, ServiceError

IDLE_NS = 10_000_000_000
"""A client that has asked nothing for so long makes room where there is none for the next one."""
_KEPT_FOR_OTHERS = 8
"""So many of a user's or machine's clients leave one place to others, which is one at least."""


class Room:
    """Places for clients.

    Attributes:
        most: Clients of all.
        full: What one that finds no place is told.
    """

    def __init__(self, clients: int) -> None:
        """Let so many of one user or machine in."""
        self._clients, self.most = clients, clients + max(1, clients // _KEPT_FOR_OTHERS)
        self.full = ServiceError(Code.FULL, f"expected at most {clients} clients of one user or "
                                 f"machine and {self.most} of all, found as many; end one, or "
                                 "allow more: --clients")

    def crowd(self, source: str, there: Iterable[Connection]) -> list[Connection]:
        """Return the clients of which one has to go before one of that source comes; else none."""
        everyone = [*there]
        own = [client for client in everyone if client.source == source]
        if len(own) >= self._clients:
            return own
        return everyone if len(everyone) >= self.most else []


def ended_for_others(
    crowd: Iterable[Connection], now_ns: int
) -> tuple[Connection, ServiceError] | None:
    """Return the client that has been silent longest, and what it is told; None: none is silent."""
    silent = min(crowd, key=lambda client: client.asked_ns)
    if silent.asked_ns >= 0 and now_ns - silent.asked_ns <= IDLE_NS:
        return None
    since = "yet" if silent.asked_ns < 0 else f"for {IDLE_NS // 1_000_000_000} s"
    return silent, ServiceError(Code.FULL, f"has asked nothing {since}, and others come")
