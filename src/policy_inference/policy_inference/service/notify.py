# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Notify systemd, including its watchdog.

This implements the sd_notify(3) protocol and the watchdog described in systemd.service(5). The
sdnotify package is not used, because it blocks if the manager does not read and does not report an
invalid address.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping

_log = logging.getLogger("policy_inference")


class Notifier:
    """Sends states to the service manager; does nothing if there is none.

    Attributes:
        watchdog_s: Maximum time between two calls to `alive` before systemd ends the service; None
            if this process has no watchdog.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID.

        Args:
            environment: Environment of the process.
        """
        self.watchdog_s = _watchdog_s(environment)
        self._socket: socket.socket | None = None
        address = environment.get("NOTIFY_SOCKET", "")
        if not address:
            return
        if address.startswith("@"):  # Linux' abstract names begin with NUL
            address = "\0" + address[1:]
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        # A manager that does not read must not delay the clients.
        self._socket.setblocking(False)
        try:
            self._socket.connect(address)
        except OSError as error:
            _log.warning(
                "NOTIFY_SOCKET %s: expected a writable socket, found: %s; systemd is not notified",
                environment["NOTIFY_SOCKET"],
                error.strerror,
            )
            self.close()

    def ready(self, status: str) -> None:
        """Report that clients are now being served, with a description of the service."""
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """Set the status line shown by `systemctl status`."""
        self._send(f"STATUS={status}")

    def alive(self) -> None:
        """Report progress, at least twice per period, from the thread that makes the progress.

        Other threads must not call this, since the watchdog must detect a hung inference.
        """
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, text: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.send(text.encode())
        except OSError as error:
            # The next one may succeed; if none does, systemd ends the service with a message.
            _log.debug("systemd: %s: %s", text, error)


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    period_us = environment.get("WATCHDOG_USEC", "")
    mine = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(period_us) * 1e-6 if period_us.isdigit() and int(period_us) > 0 and mine else None
