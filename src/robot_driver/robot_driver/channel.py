# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Encoding of the messages between the node and the link process, one per datagram."""

import json
import struct
from dataclasses import asdict
from typing import NamedTuple

import numpy as np

from robot_driver.interfaces import (
    COMMAND_FIELDS,
    DriverAnswer,
    DriverPhase,
    DriverReport,
    WireCommand,
)

LARGEST_BYTES = 1 << 16
_FOLLOW, _TAKE, _RELEASE, _DAMP = b"F", b"T", b"R", b"D"
_STATE, _REPORT = b"S", b"P"
_COMMAND = struct.Struct("<QqqB")
_RECEIPT = struct.Struct("<q")
_FIELDS = len(COMMAND_FIELDS)


class TakeRequest(NamedTuple):
    """Request to take control; `obstacles` are the node's own reasons to refuse."""

    obstacles: tuple[str, ...]


class ReleaseRequest(NamedTuple):
    """Request to give control back."""


class DampRequest(NamedTuple):
    """Request to bring the robot to rest until a command in the rest mode arrives."""

    reason: str


class StateFrame(NamedTuple):
    """A valid state frame, and the time of its receipt (ns, system clock)."""

    data: bytes
    receipt_ns: int


LinkRequest = WireCommand | TakeRequest | ReleaseRequest | DampRequest


def pack_request(request: LinkRequest) -> bytes:
    if isinstance(request, WireCommand):
        head = _COMMAND.pack(
            request.sequence, request.valid_for_ns, request.received_ns, request.mode
        )
        return b"".join(
            (
                _FOLLOW,
                head,
                np.ascontiguousarray(request.values, "<f8").tobytes(),
                np.ascontiguousarray(request.effort_limit, "<f8").tobytes(),
            )
        )
    if isinstance(request, TakeRequest):
        return _TAKE + json.dumps(request.obstacles).encode()
    return _RELEASE if isinstance(request, ReleaseRequest) else _DAMP + request.reason.encode()


def read_request(data: bytes) -> LinkRequest:
    """Return the request in a datagram from `pack_request`."""
    kind, content = data[:1], data[1:]
    if kind == _FOLLOW:
        sequence, valid_for_ns, received_ns, mode = _COMMAND.unpack_from(data, 1)
        numbers = np.frombuffer(data, "<f8", offset=1 + _COMMAND.size)
        joints = len(numbers) // (_FIELDS + 1)
        return WireCommand(
            sequence=sequence,
            mode=mode,
            valid_for_ns=valid_for_ns,
            values=numbers[: joints * _FIELDS].reshape(joints, _FIELDS),
            received_ns=received_ns,
            effort_limit=numbers[joints * _FIELDS :],
        )
    if kind == _TAKE:
        return TakeRequest(tuple(json.loads(content)))
    return ReleaseRequest() if kind == _RELEASE else DampRequest(content.decode())


def pack_frame(data: bytes, receipt_ns: int) -> bytes:
    return b"".join((_STATE, _RECEIPT.pack(receipt_ns), data))


def pack_report(report: DriverReport) -> bytes:
    return _REPORT + json.dumps(asdict(report)).encode()


def read_news(data: bytes) -> StateFrame | DriverReport:
    """Return the frame or report in a datagram from `pack_frame` or `pack_report`."""
    if data[:1] == _STATE:
        return StateFrame(data[1 + _RECEIPT.size :], _RECEIPT.unpack_from(data, 1)[0])
    fields = json.loads(data[1:])
    answer = fields.pop("answer")
    return DriverReport(
        **{
            **fields,
            "phase": DriverPhase(fields["phase"]),
            "answer": DriverAnswer(**answer) if answer else None,
            "obstacles": tuple(fields["obstacles"]),
            "temperature_c": tuple(fields["temperature_c"]),
            "refused": tuple(fields["refused"]),
        }
    )
