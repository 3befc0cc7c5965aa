# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The two UDP sockets of a client of the motion host, and what their errors mean.

One receives where the host sends its state. The other sends from a port of its own, as the vendor's
client does: what the host may answer there is nobody's.
"""

import errno
import os
import socket
import struct
import time

from lite3_driver.interfaces import Settings
from policy_inference.errors import PolicyError

_IP_RECVERR = 11
"""Linux's linux/in.h: a refusal by the host's machine is an error of the socket that sent."""
_ERROR = struct.Struct("=I")
_LARGEST_DATAGRAM_BYTES = 4096
_RECEIVE_BUFFER_BYTES = 1 << 20
_LOOKS_AGAIN_S = 0.05


class LinkError(PolicyError):
    """The motion host's interface cannot be used, or the process that uses it has been lost."""


class _InUseError(LinkError):
    """Somebody else has the port."""


def open_receiver(settings: Settings, patience_s: float) -> socket.socket:
    """Return the socket on which the host's state arrives.

    Args:
        settings: Of the driver.
        patience_s: For how long a port that somebody else has is waited for.

    Raises:
        LinkError: Somebody else has the port, or the address is none of this machine's.
    """
    ends_s = time.monotonic() + patience_s
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


def open_sender(settings: Settings) -> socket.socket:
    """Return the socket that sends to the host.

    Raises:
        LinkError: An address is none, or none of this machine's.
    """
    try:
        socket.inet_pton(socket.AF_INET, settings.host_address)
    except OSError:
        raise LinkError("host_address: expected an IPv4 address, as 192.168.1.120, found "
                        f"{settings.host_address!r}") from None
    sender = _bound(settings.interface_address, 0)
    sender.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
    return sender


def host_of(settings: Settings) -> tuple[str, int]:
    """Return where the host listens."""
    return settings.host_address, settings.host_port


def route_problems(settings: Settings) -> tuple[str, ...]:
    """Return why the host cannot be reached: a sentence, or nothing. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((settings.interface_address, 0))
            probe.connect(host_of(settings))
        except OSError as error:
            return (error_text(error, settings),)
    return ()


def taken_refusal(sender: socket.socket) -> OSError | None:
    """Return what a machine on the way said to a datagram of this socket, and forget it."""
    try:
        _, ancillary, _, _ = sender.recvmsg(_LARGEST_DATAGRAM_BYTES, _LARGEST_DATAGRAM_BYTES,
                                            socket.MSG_ERRQUEUE)
    except BlockingIOError:
        return None
    # struct sock_extended_err of linux/errqueue.h begins with the number of the error.
    numbers = [_ERROR.unpack_from(content)[0] for level, kind, content in ancillary
               if (level, kind) == (socket.IPPROTO_IP, _IP_RECVERR)]
    return OSError(numbers[0], os.strerror(numbers[0])) if numbers else None


def error_text(error: OSError, settings: Settings) -> str:
    """Return what an error of the socket that sends means."""
    place = f"{settings.host_address}:{settings.host_port}"
    if error.errno == errno.ECONNREFUSED:
        return f"nothing listens on {place}: is the host's motion program running?"
    # Linux says EINVAL where the address of this machine has no way to the other one.
    if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EINVAL):
        return (f"there is no route to {place}: is the cable plugged in, and has this machine an "
                "address in the robot's network?")
    return f"{place}: {error.strerror}"


def _bound(address: str, port: int) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        opened.bind((address, port))
    except OSError as error:
        opened.close()
        kind = _InUseError if error.errno == errno.EADDRINUSE else LinkError
        raise kind(_bind_text(error, address, port)) from None
    return opened


def _bind_text(error: OSError, address: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (f"state_port: expected a free UDP port, found {port} in use at {address}: another "
                "driver or the vendor's client receives the robot's state there; end it")
    if error.errno == errno.EADDRNOTAVAIL:
        return (f"interface_address: expected an address of this machine, found {address}; give "
                "the one that the robot's host sends to, or 0.0.0.0")
    return f"interface_address, state_port: cannot use {address}:{port}: {error.strerror}"
