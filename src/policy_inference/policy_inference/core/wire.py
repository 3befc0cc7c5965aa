# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Sensor messages read straight from the wire, with the attributes that readers use.

rclpy makes a Python object of every part of a message: 40 us for a JointState or an Imu with
warm caches and 250 us with cold ones, longer than the policy takes. On the wire, and in the
recordings of it, these messages are CDR (OMG DDS-RTPS 2.5, clause 10): values in the order of the
definition, each aligned to its size, counted from behind four bytes that name the encoding.
Another encoding than the plain little-endian one is left to whom the caller names: rclpy in a
node, a reader of bags elsewhere.
"""

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from policy_inference.core.messages import (
    COMPRESSED_IMAGE,
    IMAGE,
    ImuReader,
    JointStateReader,
)
from policy_inference.interfaces import F64

Decode = Callable[[bytes], Any]

_PLAIN_LITTLE_ENDIAN = b"\x00\x01"
_START = 4
_STAMP, _BIG_ENDIAN_STAMP = struct.Struct("<iI"), struct.Struct(">iI")
_COUNT, _SIZE = struct.Struct("<I"), struct.Struct("<2I")
_IMU = struct.Struct("<5d64x3d")
"""Orientation, the first entry of its covariance, the others, angular velocity."""


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


class WireImu(NamedTuple):
    """What is used of sensor_msgs/Imu; of the covariance only the entry that means "none"."""

    data: bytes
    orientation: Rotation
    orientation_covariance: tuple[float]
    angular_velocity: Vector

    @property
    def header(self) -> Header:
        """Its header."""
        return _header(self.data)


class WireJointState(NamedTuple):
    """What is used of sensor_msgs/JointState; the arrays are views of the received bytes."""

    data: bytes
    name: list[str]
    position: F64
    velocity: F64

    @property
    def header(self) -> Header:
        """Its header."""
        return _header(self.data)


class WireImage(NamedTuple):
    """What is used of sensor_msgs/Image; the data is a view of the received bytes."""

    message: bytes
    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: memoryview

    @property
    def header(self) -> Header:
        """Its header."""
        return _header(self.message)


class WireCompressedImage(NamedTuple):
    """What is used of sensor_msgs/CompressedImage; the data is a view of the received bytes."""

    message: bytes
    format: str
    data: memoryview

    @property
    def header(self) -> Header:
        """Its header."""
        return _header(self.message)


def decoder_of(message: str, otherwise: Decode) -> Decode | None:
    """Return what reads messages of a type from the wire, a new one for each stream.

    Args:
        message: Name of the ROS type.
        otherwise: Reads messages of this type in other encodings.

    Returns:
        None where the type is not one of those that are read here.
    """
    make = _DECODERS.get(message)
    return make(otherwise) if make else None


def peek_stamp_ns(data: bytes) -> int:
    """Return what a message that begins with a header is stamped with; 0: with nothing."""
    sec, nanosec = (_STAMP if data[1] & 1 else _BIG_ENDIAN_STAMP).unpack_from(data, _START)
    return int(sec * 1_000_000_000 + nanosec)


class ImuDecoder:
    """Reads sensor_msgs/Imu; the name of the frame is measured anew only when it changes."""

    def __init__(self, otherwise: Decode) -> None:
        """Begin without a frame; leave other encodings to `otherwise`."""
        self._otherwise = otherwise
        self._frame, self._at = b"never", 0

    def __call__(self, data: bytes) -> WireImu | Any:
        """Read a message."""
        if data[:2] != _PLAIN_LITTLE_ENDIAN:
            return self._otherwise(data)
        start = _START + _STAMP.size
        if not data.startswith(self._frame, start):
            end = _end_of_string(data, start)
            self._frame, self._at = data[start:end], _aligned(end, 8)
        x, y, z, w, unknown, *rate = _IMU.unpack_from(data, self._at)
        return WireImu(data, Rotation(x, y, z, w), (unknown,), Vector(*rate))


class JointStateDecoder:
    """Reads sensor_msgs/JointState; names are read anew only when they change."""

    def __init__(self, otherwise: Decode) -> None:
        """Begin without names; leave other encodings to `otherwise`."""
        self._otherwise = otherwise
        self._head = b"never"
        self._names: list[str] = []

    def __call__(self, data: bytes) -> WireJointState | Any:
        """Read a message."""
        if data[:2] != _PLAIN_LITTLE_ENDIAN:
            return self._otherwise(data)
        start = _START + _STAMP.size
        if not data.startswith(self._head, start):
            self._names, end = _strings(data, _end_of_string(data, start))
            self._head = data[start:end]
        position, at = _doubles(data, start + len(self._head))
        velocity, _ = _doubles(data, at)
        return WireJointState(data, self._names, position, velocity)


class ImageDecoder:
    """Reads sensor_msgs/Image, of which rclpy copies each byte, and before Jazzy one by one."""

    def __init__(self, otherwise: Decode) -> None:
        """Leave other encodings to `otherwise`."""
        self._otherwise = otherwise

    def __call__(self, data: bytes) -> WireImage | Any:
        """Read a message."""
        if data[:2] != _PLAIN_LITTLE_ENDIAN:
            return self._otherwise(data)
        at = _aligned(_end_of_string(data, _START + _STAMP.size), 4)
        height, width = _SIZE.unpack_from(data, at)
        encoding, at = _string(data, at + _SIZE.size)
        is_bigendian, at = data[at], _aligned(at + 1, 4)
        (step,) = _COUNT.unpack_from(data, at)
        pixels = _bytes(data, at + _COUNT.size)
        return WireImage(data, height, width, encoding, is_bigendian, step, pixels)


class CompressedImageDecoder:
    """Reads sensor_msgs/CompressedImage."""

    def __init__(self, otherwise: Decode) -> None:
        """Leave other encodings to `otherwise`."""
        self._otherwise = otherwise

    def __call__(self, data: bytes) -> WireCompressedImage | Any:
        """Read a message."""
        if data[:2] != _PLAIN_LITTLE_ENDIAN:
            return self._otherwise(data)
        kind, at = _string(data, _end_of_string(data, _START + _STAMP.size))
        return WireCompressedImage(data, kind, _bytes(data, at))


_DECODERS: dict[str, Callable[[Decode], Decode]] = {
    ImuReader.message: ImuDecoder,
    JointStateReader.message: JointStateDecoder,
    IMAGE: ImageDecoder,
    COMPRESSED_IMAGE: CompressedImageDecoder,
}


def _header(data: bytes) -> Header:
    return Header(Stamp(*_STAMP.unpack_from(data, _START)))


def _aligned(at: int, size: int) -> int:
    """Return the first place from `at` on where a value of this size may lie."""
    return at + (_START - at) % size


def _count(data: bytes, at: int) -> tuple[int, int]:
    """Return the count that an array or a string begins with, and where it ends."""
    at = _aligned(at, _COUNT.size)
    (count,) = _COUNT.unpack_from(data, at)
    return count, at + _COUNT.size


def _end_of_string(data: bytes, at: int) -> int:
    length, at = _count(data, at)
    return at + length


def _strings(data: bytes, at: int) -> tuple[list[str], int]:
    """Return an array of strings, each of which ends with a zero byte, and where it ends."""
    count, at = _count(data, at)
    found = []
    for _ in range(count):
        text, at = _string(data, at)
        found.append(text)
    return found, at


def _string(data: bytes, at: int) -> tuple[str, int]:
    """Return a string and where it ends."""
    length, at = _count(data, at)
    return data[at : at + length - 1].decode(), at + length


def _bytes(data: bytes, at: int) -> memoryview:
    """Return an array of bytes; one that says it is longer than the message is as long as that."""
    count, at = _count(data, at)
    return memoryview(data)[at : at + count]


def _doubles(data: bytes, at: int) -> tuple[F64, int]:
    """Return an array of float64, and where it ends."""
    # As `_count` and `_aligned`, without the calls: this is most of the work.
    at += (_START - at) % 4
    (count,) = _COUNT.unpack_from(data, at)
    at += 4
    if count == 0:
        return np.empty(0), at
    at += (_START - at) % 8
    return np.frombuffer(data, np.float64, count, at), at + 8 * count
