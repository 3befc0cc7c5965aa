# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The two UDP sockets of a motion host client, with explanations of their errors.

One receives on the port to which the host sends its state. The other sends from a different port,
as the vendor's client does; any answers to that port are ignored.
"""

import errno
import os
import socket
import struct
import time
from collections.abc import Collection, Iterator, Sequence

from lite3_driver.figures import FIGURES, Lite3Settings
from robot_driver.interfaces import DriverError
from robot_driver.robot import Datagram, RobotTransport

_IP_RECVERR = 11
"""From linux/in.h: option that reports refusals by the host machine as errors on the socket."""
_ERROR = struct.Struct("=I")
_LARGEST_DATAGRAM_BYTES = 4096
_RECEIVE_BUFFER_BYTES = 1 << 20
_LOOKS_AGAIN_S = 0.05
_AFTER_REST_S = 1.0
"""After a driver is killed, its link process may keep the port for the rest time plus this, s."""
_AT_ONCE = 8
_SO_RXQ_OVFL = 40
"""From asm-generic/socket.h: option that reports dropped datagrams; missing in the `socket` module.
"""
_DROPPED = struct.Struct("=I")


class _InUseError(DriverError):
    """The port is used by another program."""


class UdpTransport(RobotTransport):
    """Transport over the two sockets. Only the link process holds the port, until it exits."""

    def __init__(
        self, settings: Lite3Settings, receiver: socket.socket, sender: socket.socket
    ) -> None:
        self._settings, self._receiver, self._sender = settings, receiver, sender
        self._host = settings.host_address, settings.host_port
        self.counts = {"dropped": 0}

    @classmethod
    def open(cls, settings: Lite3Settings) -> "UdpTransport":
        """Return a transport with new sockets; if the port is in use, wait for a limited time."""
        receiver = _open_receiver(settings)
        try:
            return cls(settings, receiver, _open_sender(settings))
        except DriverError:
            receiver.close()
            raise

    @classmethod
    def adopt(cls, settings: Lite3Settings, descriptors: Sequence[int]) -> "UdpTransport":
        receiver, sender = (socket.socket(fileno=number) for number in descriptors)
        for each in (receiver, sender):
            each.setblocking(False)
        receiver.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
        return cls(settings, receiver, sender)

    @property
    def descriptors(self) -> Sequence[int]:
        return self._receiver.fileno(), self._sender.fileno()

    def watched(self) -> Sequence[int]:
        """Return both descriptors, since the sending socket reports the host machine's refusals."""
        return self.descriptors

    def receive(self, ready: Collection[int]) -> Iterator[Datagram]:
        """Return a limited number of received datagrams; count those that the kernel dropped."""
        if self._receiver.fileno() in ready:
            yield from self._received()
        if self._sender.fileno() in ready:
            self._hear_refusal()

    def send(self, data: bytes) -> None:
        try:
            self._sender.sendto(data, self._host)
        except OSError as error:
            raise DriverError(_error_text(error, self._settings)) from None

    def problems(self) -> tuple[str, ...]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((self._settings.interface_address, 0))
                probe.connect(self._host)
            except OSError as error:
                return (_error_text(error, self._settings),)
        return ()

    def keep_sending_half(self) -> None:
        self._receiver.close()

    def close(self) -> None:
        self._receiver.close()
        self._sender.close()

    def _received(self) -> Iterator[Datagram]:
        for _ in range(_AT_ONCE):
            try:
                data, ancillary, _, source = self._receiver.recvmsg(
                    _LARGEST_DATAGRAM_BYTES, socket.CMSG_SPACE(_DROPPED.size)
                )
            except BlockingIOError:
                return
            received_ns = time.time_ns()
            for _, kind, content in ancillary:
                if kind == _SO_RXQ_OVFL:
                    self.counts["dropped"] = _DROPPED.unpack(content)[0]
            yield Datagram(data, source, received_ns)

    def _hear_refusal(self) -> None:
        """Raise an error if the host machine refused a sent datagram; discard any answer."""
        try:
            refusal = _taken_refusal(self._sender)
            if refusal is None:
                self._sender.recv(_LARGEST_DATAGRAM_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            refusal = error
        if refusal is not None:
            raise DriverError(_error_text(refusal, self._settings))


def _open_receiver(settings: Lite3Settings) -> socket.socket:
    ends_s = time.monotonic() + FIGURES.rest_s + _AFTER_REST_S
    while True:
        try:
            receiver = _bound(settings.interface_address, settings.state_port)
            break
        except _InUseError:
            if time.monotonic() >= ends_s:
                raise
            time.sleep(_LOOKS_AGAIN_S)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
    return receiver


def _open_sender(settings: Lite3Settings) -> socket.socket:
    try:
        socket.inet_pton(socket.AF_INET, settings.host_address)
    except OSError:
        raise DriverError(
            "host_address: expected an IPv4 address (such as 192.168.1.120), found "
            f"{settings.host_address!r}"
        ) from None
    sender = _bound(settings.interface_address, 0)
    sender.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
    return sender


def _taken_refusal(sender: socket.socket) -> OSError | None:
    """Return and clear the error that a machine on the route reported for a sent datagram."""
    try:
        _, ancillary, _, _ = sender.recvmsg(
            _LARGEST_DATAGRAM_BYTES, _LARGEST_DATAGRAM_BYTES, socket.MSG_ERRQUEUE
        )
    except BlockingIOError:
        return None
    # struct sock_extended_err in linux/errqueue.h begins with the error number.
    numbers = [
        _ERROR.unpack_from(content)[0]
        for level, kind, content in ancillary
        if (level, kind) == (socket.IPPROTO_IP, _IP_RECVERR)
    ]
    return OSError(numbers[0], os.strerror(numbers[0])) if numbers else None


def _error_text(error: OSError, settings: Lite3Settings) -> str:
    """Return an explanation of an error on the sending socket."""
    place = f"{settings.host_address}:{settings.host_port}"
    if error.errno == errno.ECONNREFUSED:
        return f"nothing listens on {place}: is the host's motion program running?"
    # Linux reports EINVAL if this machine's address has no route to the other one.
    if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EINVAL):
        return (
            f"there is no route to {place}: is the cable plugged in, and does this machine have "
            "an address in the robot's network?"
        )
    return f"{place}: {error.strerror}"


def _bound(address: str, port: int) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        opened.bind((address, port))
    except OSError as error:
        opened.close()
        kind = _InUseError if error.errno == errno.EADDRINUSE else DriverError
        raise kind(_bind_text(error, address, port)) from None
    return opened


def _bind_text(error: OSError, address: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"state_port: expected a free UDP port, found {port} in use at {address}: another "
            "driver or the vendor's client receives the robot's state there; stop it"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return (
            f"interface_address: expected an address of this machine, found {address}; give "
            "the one to which the robot's host sends, or 0.0.0.0"
        )
    return f"interface_address, state_port: cannot use {address}:{port}: {error.strerror}"
