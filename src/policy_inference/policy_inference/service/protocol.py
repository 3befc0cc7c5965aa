# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Frames in the framed protocol, version 1; specified in docs/service_protocol.md."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from policy_core.errors import PolicyError

MAGIC, VERSION = 0x464E4950, 1
ANY = bytes(32)
"""Hash sent by a client that was not built for a particular policy."""
RESET = 1
"""Observation flag: reset the recurrent state."""
LONGEST_TEXT = 512
"""Maximum length of an ERROR text, bytes."""

HEADER = struct.Struct("<IBBHIIQQQ")
_HELLO = struct.Struct("<32sIIIHHHxx")
_WELCOME = struct.Struct("<32sIIIId")
_LENGTH = struct.Struct("<H")
HELLO_BYTES = HEADER.size + _HELLO.size


class Type(IntEnum):
    """Type of a frame."""

    HELLO = 1
    WELCOME = 2
    OBSERVATION = 3
    ACTION = 4
    ERROR = 5


class ObservationScaling(IntEnum):
    """How the client processed an observation's values before sending them."""

    PHYSICAL = 0
    SCALED = 1
    NORMALISED = 2


class Answer(IntEnum):
    """Content of one row of an answer."""

    ACTION = 0
    TARGET = 1


class Transport(IntEnum):
    """Transport of requests and answers."""

    STREAM = 0
    SHARED_MEMORY = 1


class Code(IntEnum):
    """Error code in an ERROR frame."""

    BAD_FRAME = 1
    OTHER_VERSION = 2
    OTHER_POLICY = 3
    NOT_OFFERED = 5
    FULL = 6
    TOO_LATE = 7
    NOT_IN_TURN = 8
    OBSERVATION_NOT_FINITE = 9
    ACTION_NOT_FINITE = 10
    INFERENCE_FAILED = 11
    ENDING = 12

    @property
    def closes(self) -> bool:
        """True if the error ends the connection."""
        return not Code.OBSERVATION_NOT_FINITE <= self <= Code.INFERENCE_FAILED


class ServiceError(PolicyError):
    """Error that is sent as an ERROR frame."""

    def __init__(self, code: Code, text: str) -> None:
        self.code = code
        super().__init__(text)


class FrameHeader(NamedTuple):
    """Frame header as transmitted."""

    magic: int
    version: int
    type: int
    flags: int
    length: int
    rows: int
    sequence: int
    stamp_ns: int
    answered_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """A client's identification and request."""

    policy_sha256: bytes = ANY
    obs_dim: int = 0
    act_dim: int = 0
    rows: int = 1
    scaling: ObservationScaling = ObservationScaling.SCALED
    answer: Answer = Answer.ACTION
    transport: Transport = Transport.STREAM

    def pack(self) -> bytes:
        return _HELLO.pack(
            self.policy_sha256,
            self.obs_dim,
            self.act_dim,
            self.rows,
            self.scaling,
            self.answer,
            self.transport,
        )

    @classmethod
    def unpack(cls, payload: bytes) -> Hello:
        if len(payload) != _HELLO.size:
            raise ServiceError(
                Code.BAD_FRAME, f"HELLO: expected {_HELLO.size} bytes, found {len(payload)}"
            )
        sha256, obs_dim, act_dim, rows, scaling, answer, transport = _HELLO.unpack(payload)
        try:
            return cls(
                policy_sha256=sha256,
                obs_dim=obs_dim,
                act_dim=act_dim,
                rows=rows,
                scaling=ObservationScaling(scaling),
                answer=Answer(answer),
                transport=Transport(transport),
            )
        except ValueError as error:
            raise ServiceError(Code.BAD_FRAME, f"HELLO: {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """The service's answer to a HELLO."""

    policy_sha256: bytes
    obs_dim: int
    act_dim: int
    rows: int
    shared_bytes: int = 0
    rate_hz: float = 0.0
    name: str = ""
    version: str = ""
    joints: Sequence[str] = ()

    def pack(self) -> bytes:
        texts = [
            _text(self.name),
            _text(self.version),
            _LENGTH.pack(len(self.joints)),
            *map(_text, self.joints),
        ]
        return _WELCOME.pack(
            self.policy_sha256,
            self.obs_dim,
            self.act_dim,
            self.rows,
            self.shared_bytes,
            self.rate_hz,
        ) + b"".join(texts)

    @classmethod
    def unpack(cls, payload: bytes) -> Welcome:
        try:
            sha256, obs_dim, act_dim, rows, shared, rate_hz = _WELCOME.unpack_from(payload)
            name, at = _read_text(payload, _WELCOME.size)
            version, at = _read_text(payload, at)
            (count,), at = _LENGTH.unpack_from(payload, at), at + _LENGTH.size
            joints = list[str]()
            for _ in range(count):
                joint, at = _read_text(payload, at)
                joints.append(joint)
        except (struct.error, UnicodeDecodeError) as error:
            raise ServiceError(Code.BAD_FRAME, f"WELCOME: {error}") from None
        return cls(
            policy_sha256=sha256,
            obs_dim=obs_dim,
            act_dim=act_dim,
            rows=rows,
            shared_bytes=shared,
            rate_hz=rate_hz,
            name=name,
            version=version,
            joints=tuple(joints),
        )


def frame(
    kind: Type,
    payload: bytes = b"",
    *,
    flags: int = 0,
    rows: int = 0,
    sequence: int = 0,
    stamp_ns: int = 0,
    answered_ns: int = 0,
) -> bytes:
    return (
        HEADER.pack(
            MAGIC, VERSION, kind, flags, len(payload), rows, sequence, stamp_ns, answered_ns
        )
        + payload
    )


def error_frame(
    error: ServiceError, *, sequence: int = 0, stamp_ns: int = 0, answered_ns: int = 0
) -> bytes:
    """Return an ERROR frame; a text that is too long is truncated."""
    text = str(error).encode("utf-8", "replace")[:LONGEST_TEXT].decode("utf-8", "ignore").encode()
    return frame(
        Type.ERROR,
        text,
        rows=error.code,
        sequence=sequence,
        stamp_ns=stamp_ns,
        answered_ns=answered_ns,
    )


def read_header(buffer: bytes | bytearray | memoryview) -> FrameHeader:
    """Read a header and check its version."""
    header = FrameHeader._make(HEADER.unpack_from(buffer))
    if header.magic != MAGIC:
        raise ServiceError(
            Code.BAD_FRAME,
            f"expected a frame (magic {MAGIC:#x}), found "
            f"{header.magic:#x}; the raw protocol has an endpoint of its own",
        )
    if header.version != VERSION:
        raise ServiceError(
            Code.OTHER_VERSION,
            f"expected version {VERSION} of the framed protocol, found {header.version}",
        )
    return header


def _text(text: str) -> bytes:
    data = text.encode()
    return _LENGTH.pack(len(data)) + data


def _read_text(payload: bytes, at: int) -> tuple[str, int]:
    (size,) = _LENGTH.unpack_from(payload, at)
    begin = at + _LENGTH.size
    if begin + size > len(payload):
        raise struct.error(f"a string of {size} bytes extends past the end of the message")
    return payload[begin : begin + size].decode(), begin + size
