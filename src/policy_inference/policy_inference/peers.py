# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Peers over TCP: where they come in, which machine one is of, how long it may stay silent."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import time
from collections import Counter
from collections.abc import Iterator
from typing import Generic, TypeVar

from policy_core.errors import PolicyError

BACKLOG = 128
"""Connections that wait to be accepted."""
T = TypeVar("T")


def listen_tcp(
    option: str, place: tuple[str, int], *, needs_secret: bool = False, remedy: str = ""
) -> tuple[str, socket.socket, bool]:
    """Listen; return where, the socket, and whether it is reached from beyond this machine.

    Args:
        option: Asks for it, in messages.
        place: Host and port; port 0 takes a free one.
        needs_secret: Only this machine may reach it.
        remedy: For one that others reach.

    Raises:
        PolicyError: It cannot be.
    """
    host, port = place
    families = _addresses(option, host, port)
    is_beyond = not all(is_loopback(address[0]) for _, address in families)
    if is_beyond and needs_secret:
        raise PolicyError(
            f"{option} {_written(host, port)}: expected an address of this machine "
            f"alone, such as 127.0.0.1:{port}, found one that others reach; {remedy}"
        )
    # One address, of IPv4 where there is one: what the log says is all there is.
    family, address = min(families, key=lambda one: one[0] != socket.AF_INET)
    listening = socket.socket(family)
    try:
        # A port is free again at once when its service has ended.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise PolicyError(
            f"{option} {_written(host, port)}: expected an address and a port that "
            f"are free, found: {error.strerror}{_HINTS.get(error.errno or 0, '')}"
        ) from error
    return _written(*listening.getsockname()[:2]), listening, is_beyond


def source_of(client: str) -> str:
    """Return which user or machine a `client_name` is of: what shares a quota."""
    whose = client.partition(", ")[0]
    if ":" not in whose:
        return whose
    address = ipaddress.IPv6Address(whose.partition("%")[0])
    if address.ipv4_mapped is not None:  # of a socket that listens for both; else they were one
        return str(address.ipv4_mapped)
    # One machine may have all addresses of such a network.
    return str(ipaddress.ip_network((address, 64), strict=False))


def is_loopback(host: str) -> bool:
    """Whether a host, as a name or an address of IP, is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:  # another name
        return False


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


_HINTS = {
    errno.EADDRINUSE: "; another process has it: end that one, or choose another port",
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
