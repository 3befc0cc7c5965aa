# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Notifies systemd: sd_notify(3), and the watchdog of systemd.service(5).

Not with the package sdnotify, whose socket waits for a manager that does not read, and which knows
no watchdog and reports no address that is wrong.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping

_log = logging.getLogger("policy_inference")


class Notifier:
    """Sends states to the service manager; without one that listens it does nothing.

    Attributes:
        watchdog_s: Longest time between two calls of `alive` after which systemd ends the service;
            None where no watchdog is set for this process.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID.

        Args:
            environment: Of the process.
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
                "NOTIFY_SOCKET %s: expected one that can be written to, found: %s; "
                "systemd is not notified",
                environment["NOTIFY_SOCKET"],
                error.strerror,
            )
            self.close()

    def ready(self, status: str) -> None:
        """Say that clients are served now, and what is served."""
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """Say in a line what is going on; `systemctl status` shows it."""
        self._send(f"STATUS={status}")

    def alive(self) -> None:
        """Report progress, at least twice per period, from the thread that makes the progress.

        No other thread may call it: the watchdog is there to find an inference that hangs.
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
            # The next one may get through; where none does, systemd ends the service and says why.
            _log.debug("systemd: %s: %s", text, error)


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    period_us = environment.get("WATCHDOG_USEC", "")
    mine = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(period_us) * 1e-6 if period_us.isdigit() and int(period_us) > 0 and mine else None
