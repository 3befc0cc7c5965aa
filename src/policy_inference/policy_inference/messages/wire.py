# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Sensor messages decoded from their serialised form, with the attributes that readers use.

rclpy creates a Python object for every part of a message: 40 us for a JointState or an Imu with
warm caches and 250 us with cold ones, longer than the policy takes. On topics, and in recordings of
them, these messages are CDR, see `messages.cdr`. Encodings other than plain little-endian are left
to a decoder from the caller: rclpy in a node, a bag reader elsewhere.
"""

import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from policy_core.bundle.state_fields import IMU, JOINT_STATES
from policy_core.interfaces import F64
from policy_inference.messages.cdr import (
    PLAIN_LITTLE_ENDIAN,
    START,
    aligned,
    end_of_string,
    read_bytes,
    read_doubles,
    read_string,
    read_strings,
)
from policy_inference.messages.readers import COMPRESSED_IMAGE, IMAGE

Decode = Callable[[bytes], Any]

JOINT_COMMAND = "policy_msgs/msg/JointCommand"
_STAMP, _BIG_ENDIAN_STAMP = struct.Struct("<iI"), struct.Struct(">iI")
_SIZE, _BYTE, _STEP = struct.Struct("<2I"), struct.Struct("<B"), struct.Struct("<I")
_IMU = struct.Struct("<5d64x3d")
"""Orientation, the first entry of its covariance, the others, angular velocity."""
_COMMAND = struct.Struct("<iIQiIB")
"""Stamp, sequence, valid_for, mode; then names, and the arrays as in the next line."""
_COMMAND_ARRAYS = 6


class Stamp(NamedTuple):
    """As in builtin_interfaces/Time."""

    sec: int
    nanosec: int


class Header(NamedTuple):
    """As in std_msgs/Header."""

    stamp: Stamp


class Vector(NamedTuple):
    """As in geometry_msgs/Vector3."""

    x: float
    y: float
    z: float


class Rotation(NamedTuple):
    """As in geometry_msgs/Quaternion."""

    x: float
    y: float
    z: float
    w: float


@dataclass(slots=True, eq=False)
class WireMessage:
    """A message that begins with a header: the received bytes, with arrays as views of them."""

    wire: bytes

    @property
    def header(self) -> Header:
        return Header(Stamp(*_STAMP.unpack_from(self.wire, START)))

    @property
    def stamp_ns(self) -> int:
        """Its stamp, 0 for none; faster than through its header."""
        sec, nanosec = _STAMP.unpack_from(self.wire, START)
        return int(sec * 1_000_000_000 + nanosec)


@dataclass(slots=True, eq=False)
class WireImu(WireMessage):
    """The used parts of sensor_msgs/Imu; of the covariance only the entry that means "none"."""

    orientation: Rotation
    orientation_covariance: tuple[float]
    angular_velocity: Vector


@dataclass(slots=True, eq=False)
class WireJointState(WireMessage):
    """The used parts of sensor_msgs/JointState."""

    name: list[str]
    position: F64
    velocity: F64


class WireJointCommand(NamedTuple):
    """policy_msgs/JointCommand; the arrays are views of the received bytes."""

    stamp: Stamp
    sequence: int
    valid_for: Stamp
    mode: int
    names: list[str]
    position: F64
    velocity: F64
    effort: F64
    stiffness: F64
    damping: F64
    effort_limit: F64


@dataclass(slots=True, eq=False)
class WireImage(WireMessage):
    """The used parts of sensor_msgs/Image."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: memoryview


@dataclass(slots=True, eq=False)
class WireCompressedImage(WireMessage):
    """The used parts of sensor_msgs/CompressedImage."""

    format: str
    data: memoryview


def make_decoder(message: str, otherwise: Decode) -> Decode | None:
    """Return a new decoder of a message type, for one stream.

    Args:
        message: Name of the ROS type.
        otherwise: Decodes messages of this type in other encodings.

    Returns:
        None if the type is not supported.
    """
    make = _DECODERS.get(message)
    return make(otherwise) if make else None


def peek_stamp_ns(data: bytes) -> int:
    """Return the stamp of a message that begins with a header; 0 for none.

    A message too short for a stamp has none; its reader reports the problem.
    """
    if len(data) < START + _STAMP.size:
        return 0
    sec, nanosec = (_STAMP if data[1] & 1 else _BIG_ENDIAN_STAMP).unpack_from(data, START)
    return int(sec * 1_000_000_000 + nanosec)


class _Decoder(ABC):
    """Reads messages of a type; leaves other encodings to `otherwise`.

    The cached parts of a stream, frame or names, are decoded again only when they change.
    """

    def __init__(self, otherwise: Decode) -> None:
        self._otherwise, self._head, self._at = otherwise, b"never", 0
        self._names: list[str] = []

    def __call__(self, data: bytes) -> Any:
        return self.read(data) if data[:2] == PLAIN_LITTLE_ENDIAN else self._otherwise(data)

    @abstractmethod
    def read(self, data: bytes) -> Any:
        """Read a message."""


class ImuDecoder(_Decoder):
    """Reads sensor_msgs/Imu."""

    def read(self, data: bytes) -> WireImu:
        start = START + _STAMP.size
        if not data.startswith(self._head, start):
            end = end_of_string(data, start)
            self._head, self._at = data[start:end], aligned(end, 8)
        x, y, z, w, unknown, *rate = _IMU.unpack_from(data, self._at)
        return WireImu(data, Rotation(x, y, z, w), (unknown,), Vector(*rate))


class JointStateDecoder(_Decoder):
    """Reads sensor_msgs/JointState."""

    def read(self, data: bytes) -> WireJointState:
        start = START + _STAMP.size
        if not data.startswith(self._head, start):
            self._names, end = read_strings(data, end_of_string(data, start))
            self._head = data[start:end]
        position, at = read_doubles(data, start + len(self._head))
        velocity, _ = read_doubles(data, at)
        return WireJointState(data, self._names, position, velocity)


class JointCommandDecoder(_Decoder):
    """Reads policy_msgs/JointCommand."""

    def read(self, data: bytes) -> WireJointCommand:
        sec, nanosec, sequence, valid_sec, valid_nanosec, mode = _COMMAND.unpack_from(data, START)
        start = aligned(START + _COMMAND.size, 4)
        if not data.startswith(self._head, start):
            self._names, end = read_strings(data, start)
            self._head = data[start:end]
        at, arrays = start + len(self._head), list[F64]()
        for _ in range(_COMMAND_ARRAYS):
            values, at = read_doubles(data, at)
            arrays.append(values)
        return WireJointCommand(
            Stamp(sec, nanosec),
            sequence,
            Stamp(valid_sec, valid_nanosec),
            mode,
            self._names,
            *arrays,
        )


class ImageDecoder(_Decoder):
    """Reads sensor_msgs/Image, which rclpy copies, before Jazzy byte by byte."""

    def read(self, data: bytes) -> WireImage:
        at = aligned(end_of_string(data, START + _STAMP.size), 4)
        height, width = _SIZE.unpack_from(data, at)
        encoding, at = read_string(data, at + _SIZE.size)
        (is_bigendian,) = _BYTE.unpack_from(data, at)
        at = aligned(at + _BYTE.size, 4)
        (step,) = _STEP.unpack_from(data, at)
        pixels = read_bytes(data, at + _STEP.size)
        return WireImage(data, height, width, encoding, is_bigendian, step, pixels)


class CompressedImageDecoder(_Decoder):
    """Reads sensor_msgs/CompressedImage."""

    def read(self, data: bytes) -> WireCompressedImage:
        kind, at = read_string(data, end_of_string(data, START + _STAMP.size))
        return WireCompressedImage(data, kind, read_bytes(data, at))


_DECODERS: dict[str, Callable[[Decode], Decode]] = {
    IMU.types[0]: ImuDecoder,
    JOINT_STATES.types[0]: JointStateDecoder,
    JOINT_COMMAND: JointCommandDecoder,
    IMAGE: ImageDecoder,
    COMPRESSED_IMAGE: CompressedImageDecoder,
}
