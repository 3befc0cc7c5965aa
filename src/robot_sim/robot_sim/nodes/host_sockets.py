# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The UDP socket of an emulated motion host, and a second one for those who are not it."""

import socket

from robot_sim.errors import SimError
from robot_sim.lite3_host import Address

_MOST = 2048
_AT_ONCE = 64
"""Datagrams taken per step: a flood does not stop the robot's time."""


class HostSockets:
    """Where a host listens and from where it sends.

    Attributes:
        trouble: Why the latest frame could not be sent; empty where it could.
    """

    def __init__(self, *, host: Address, to: Address, foreign_address: str) -> None:
        """Listen at `host`, send to `to`.

        Args:
            host: Address and port.
            to: Address and port of the driver.
            foreign_address: From where foreign frames come; empty: the host's, another port.

        Port 0 of the host is one that is free.

        Raises:
            SimError: The address is not this machine's, or the port is in use.
        """
        self.trouble = ""
        self._to = to
        self._host = _bound("host_address, host_port", host)
        try:
            self._foreign = _bound("foreign_address", (foreign_address or host[0], 0))
        except SimError:
            self._host.close()
            raise

    def __str__(self) -> str:
        """Say who listens where."""
        return "listens on {}:{}, sends to {}:{}".format(*self._host.getsockname(), *self._to)

    def received(self) -> list[tuple[bytes, Address]]:
        """Return the datagrams that have come, and from whom."""
        arrived = []
        for _ in range(_AT_ONCE):
            try:
                arrived.append(self._host.recvfrom(_MOST))
            except BlockingIOError:
                break
        return arrived

    def send(self, data: bytes) -> None:
        """Send a datagram to the driver; one that cannot be sent is lost."""
        self._send(self._host, data)

    def send_foreign(self, data: bytes) -> None:
        """Send a datagram to the driver as somebody else."""
        self._send(self._foreign, data)

    def close(self) -> None:
        """Give the ports back."""
        self._host.close()
        self._foreign.close()

    def _send(self, sender: socket.socket, data: bytes) -> None:
        try:
            sender.sendto(data, self._to)
            self.trouble = ""
        except OSError as error:
            self.trouble = "no state frame to {}:{}: {}".format(*self._to, error.strerror)


def _bound(name: str, address: Address) -> socket.socket:
    """Return a UDP socket that does not wait."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    try:
        made.bind(address)
    except (OSError, OverflowError) as error:
        made.close()
        raise SimError(
            f"{name}: expected a free UDP port at an address of this machine, got "
            f"{address[0]}:{address[1]} ({error}); end what uses it or choose another"
        ) from None
    return made
