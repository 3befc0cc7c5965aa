# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the loop tells of itself; one line in the log per event, none per request."""

from __future__ import annotations

import logging

from policy_inference.service.connection import Connection
from policy_inference.service.protocol import ServiceError

_log = logging.getLogger(__name__)


class Observer:
    """Told by the loop's thread; whatever it does delays answers."""

    def connected(self, connection: Connection) -> None:
        """A client has come."""
        _log.info("%s: connected, %s protocol", connection.name, connection.protocol)

    def disconnected(self, connection: Connection, reason: str) -> None:
        """A client has gone, or was sent away."""
        _log.info("%s: disconnected: %s", connection.name, reason)

    def refused(self, name: str, reason: str) -> None:
        """A client was not let in."""
        _log.warning("%s: refused: %s", name, reason)

    def failed(self, connection: Connection, error: ServiceError) -> None:
        """A request got no answer, or broke the rules; `disconnected` follows where it closes."""

    def cannot_accept(self, where: str, reason: str) -> None:
        """No client can come in for a moment."""
        _log.error("%s: cannot accept clients: %s; tries again", where, reason)

    def inferred(self, rows: int, duration_ns: int) -> None:
        """The model has computed the answers to so many robots."""

    def answered(self, connection: Connection, duration_ns: int) -> None:
        """A request was answered; the time since the pass of the loop that read it began."""

    def passed(self, now_ns: int) -> None:
        """A pass of the loop is over, all answers are sent; one comes at least once per second.

        Raises:
            BackendError: The model can answer nobody any more.
        """
