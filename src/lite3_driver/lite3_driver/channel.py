# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the node and the process of the socket tell each other, one datagram each."""

import json
import struct
from dataclasses import asdict
from typing import NamedTuple

import numpy as np

from lite3_driver.interfaces import Answer, Command, Phase, Report
from lite3_driver.wire import COMMAND_FIELDS, JOINT_NAMES, STATE_BYTES

LARGEST_BYTES = 1 << 16
_FOLLOW, _TAKE, _RELEASE, _DAMP = b"F", b"T", b"R", b"D"
_STATE, _REPORT = b"S", b"P"
_COMMAND = struct.Struct("<QqqB")
_RECEIPT = struct.Struct("<q")
_JOINTS, _FIELDS = len(JOINT_NAMES), len(COMMAND_FIELDS)
_VALUES_END = 1 + _COMMAND.size + 8 * _JOINTS * _FIELDS


class Take(NamedTuple):
    """Take control; `obstacles` is what the node knows to speak against it."""

    obstacles: tuple[str, ...]


class Release(NamedTuple):
    """Give control back."""


class Damp(NamedTuple):
    """Brake, and follow nothing until the sender of commands is in MODE_DAMP."""

    reason: str


class Frame(NamedTuple):
    """A checked state frame, and when it came (ns, the system's clock)."""

    data: bytes
    receipt_ns: int


def pack_request(request: Command | Take | Release | Damp) -> bytes:
    """Return a request of the node."""
    if isinstance(request, Command):
        head = _COMMAND.pack(request.sequence, request.valid_for_ns, request.received_ns,
                             request.mode)
        return b"".join((_FOLLOW, head, np.ascontiguousarray(request.values, "<f8").tobytes(),
                         np.ascontiguousarray(request.effort_limit, "<f8").tobytes()))
    if isinstance(request, Take):
        return _TAKE + json.dumps(request.obstacles).encode()
    return _RELEASE if isinstance(request, Release) else _DAMP + request.reason.encode()


def read_request(data: bytes) -> Command | Take | Release | Damp:
    """Return what `pack_request` was given."""
    kind, content = data[:1], data[1:]
    if kind == _FOLLOW:
        sequence, valid_for_ns, received_ns, mode = _COMMAND.unpack_from(data, 1)
        values = np.frombuffer(data, "<f8", _JOINTS * _FIELDS, 1 + _COMMAND.size)
        return Command(sequence=sequence, mode=mode, valid_for_ns=valid_for_ns,
                       values=values.reshape(_JOINTS, _FIELDS), received_ns=received_ns,
                       effort_limit=np.frombuffer(data, "<f8", _JOINTS, _VALUES_END))
    if kind == _TAKE:
        return Take(tuple(json.loads(content)))
    return Release() if kind == _RELEASE else Damp(content.decode())


def pack_frame(data: bytes, receipt_ns: int) -> bytes:
    """Return a state frame for the node."""
    return b"".join((_STATE, _RECEIPT.pack(receipt_ns), data))


def pack_report(report: Report) -> bytes:
    """Return a report for the node."""
    return _REPORT + json.dumps(asdict(report)).encode()


def read_news(data: bytes) -> Frame | Report:
    """Return what `pack_frame` or `pack_report` was given."""
    if data[:1] == _STATE:
        return Frame(data[-STATE_BYTES:], _RECEIPT.unpack_from(data, 1)[0])
    told = json.loads(data[1:])
    answer = told.pop("answer")
    return Report(**{
        **told, "phase": Phase(told["phase"]), "answer": Answer(**answer) if answer else None,
        "obstacles": tuple(told["obstacles"]), "temperature_c": tuple(told["temperature_c"]),
        "refused": tuple(told["refused"]),
    })
