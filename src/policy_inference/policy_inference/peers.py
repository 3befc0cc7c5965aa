# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""TCP listeners, and restrictions on their peers."""

from __future__ import annotations

import contextlib
import errno
import socket

from policy_core.errors import PolicyError
from policy_store.hosts import is_loopback

BACKLOG = 128
"""Maximum number of connections waiting to be accepted."""


def listen_tcp(
    option: str, place: tuple[str, int], *, needs_secret: bool = False, remedy: str = ""
) -> tuple[str, socket.socket, bool]:
    """Listen on TCP; return the address, the socket, and whether other machines can reach it.

    Args:
        option: Name of the option that enables the listener, used in messages.
        place: Host and port; port 0 selects a free one.
        needs_secret: True to refuse an address that other machines can reach.
        remedy: Remedy for an address that other machines can reach.
    """
    host, port = place
    families = _addresses(option, host, port)
    is_beyond = not all(is_loopback(address[0]) for _, address in families)
    if is_beyond and needs_secret:
        raise PolicyError(
            f"{option} {_written(host, port)}: expected a loopback address (such as "
            f"127.0.0.1:{port}), found an address that other machines can reach; {remedy}"
        )
    # Only one address (IPv4 if possible), so that the address in the log is the only one.
    family, address = min(families, key=lambda one: one[0] != socket.AF_INET)
    listening = socket.socket(family)
    try:
        # The next service can then bind the port as soon as this one has ended.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise PolicyError(
            f"{option} {_written(host, port)}: expected a free address and port, "
            f"found: {error.strerror}{_HINTS.get(error.errno or 0, '')}"
        ) from error
    return _written(*listening.getsockname()[:2]), listening, is_beyond


class Waker:
    """Lets one thread wake another that is waiting on sockets, including `fileno`."""

    def __init__(self) -> None:
        self._asked, self._asking = socket.socketpair()
        self._asked.setblocking(False)
        self._asking.setblocking(False)

    def fileno(self) -> int:
        return self._asked.fileno()

    def wake(self) -> None:
        """Wake the thread; does nothing if it is awake or has ended."""
        with contextlib.suppress(OSError):
            self._asking.send(b"\0")

    def awake(self) -> None:
        """Acknowledge a wake-up; the thread calls this so that it can be woken again."""
        with contextlib.suppress(BlockingIOError):
            self._asked.recv(4096)

    def close(self) -> None:
        self._asked.close()
        self._asking.close()


_HINTS = {
    errno.EADDRINUSE: "; another process uses it: stop that process, or choose another port",
    errno.EACCES: "; ports below 1024 are the system's: choose another one",
    errno.EADDRNOTAVAIL: "; this machine has no such address",
}


def _addresses(option: str, host: str, port: int) -> list[tuple[int, tuple[str, int]]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise PolicyError(
            f"{option} {_written(host, port)}: expected a host of this machine, "
            f"found: {getattr(error, 'strerror', None) or error}"
        ) from None
    return [(family, address) for family, _, _, _, address in found]  # type: ignore[misc]


def _written(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
