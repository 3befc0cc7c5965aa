# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Unitree's low-level messages as bytes: layouts, checksum, requests to the robot's services.

A message is 4 bytes of encapsulation followed by little-endian CDR. Its checksum covers not the CDR
but the vendor's C++ object in memory, with zeros as padding. The CDR and the object hold the same
bytes, except at the first motor: CDR aligns numbers but not structures, so in a message the motor's
`mode` directly follows the previous field. Each message here is one numpy record with C layout, and
`from_wire` and `to_wire` move that one byte.

Source: unitreerobotics/unitree_ros2 eea2719 and unitree_sdk2 21d0a3b (layouts, checksum).
"""

import binascii
import itertools
import secrets
import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
TICKS, TICKS_PER_S = 1 << 32, 1000
"""Modulus and assumed rate of the robot's tick counter."""
HEADER = b"\0\1\0\0"
"""Encapsulation of a message: CDR, little-endian."""

_Fields = list[tuple[Any, ...]]


def _structure(*fields: tuple[Any, ...]) -> np.dtype[Any]:
    """Return the dtype of a record with C layout."""
    return np.dtype(list(fields), align=True)


def _used(kind: np.dtype[Any]) -> bytes:
    """Return a mask of a record's bytes: 255 for those of a field, 0 for padding."""
    if kind.subdtype is not None:
        item, shape = kind.subdtype
        return _used(item) * int(np.prod(shape))
    if kind.fields is None:
        return b"\xff" * kind.itemsize
    used = bytearray(kind.itemsize)
    for item, offset, *_ in kind.fields.values():
        used[offset : offset + item.itemsize] = _used(item)
    return bytes(used)


_VECTOR = ("<f4", 3)
_GO_IMU: _Fields = [
    ("quaternion", "<f4", 4),
    ("gyroscope", *_VECTOR),
    ("accelerometer", *_VECTOR),
    ("rpy", *_VECTOR),
    ("temperature", "i1"),
]
_HG_IMU: _Fields = [*_GO_IMU[:-1], ("temperature", "<i2")]
_COMMAND: _Fields = [("mode", "u1"), ("numbers", "<f4", 5)]
_GO_HEAD: _Fields = [
    ("head", "u1", 2),
    ("level_flag", "u1"),
    ("frame_reserve", "u1"),
    ("sn", "<u4", 2),
    ("version", "<u4", 2),
    ("bandwidth", "<u2"),
]
_GO_BATTERY: _Fields = [
    ("version_high", "u1"),
    ("version_low", "u1"),
    ("status", "u1"),
    ("soc", "u1"),
    ("current", "<i4"),
    ("cycle", "<u2"),
    ("bq_ntc", "i1", 2),
    ("mcu_ntc", "i1", 2),
    ("cell_vol", "<u2", 15),
]
_GO_MOTOR: _Fields = [
    ("mode", "u1"),
    ("q", "<f4"),
    ("dq", "<f4"),
    ("ddq", "<f4"),
    ("tau_est", "<f4"),
    ("raw", "<f4", 3),
    ("temperature", "i1"),
    ("lost", "<u4"),
    ("reserve", "<u4", 2),
]
_HG_MOTOR: _Fields = [
    ("mode", "u1"),
    ("q", "<f4"),
    ("dq", "<f4"),
    ("ddq", "<f4"),
    ("tau_est", "<f4"),
    ("temperature", "<i2", 2),
    ("vol", "<f4"),
    ("sensor", "<u4", 2),
    ("motorstate", "<u4"),
    ("reserve", "<u4", 4),
]
BATTERY = _structure(
    ("version_high", "u1"),
    ("version_low", "u1"),
    ("fn", "u1"),
    ("cell_vol", "<u2", 40),
    ("bmsvoltage", "<u4", 3),
    ("current", "<i4"),
    ("soc", "u1"),
    ("soh", "u1"),
    ("temperature", "<i2", 12),
    ("cycle", "<u2"),
    ("manufacturer_date", "<u2"),
    ("bmsstate", "<u4", 5),
    ("reserve", "<u4", 3),
)
"""Layout of unitree_hg/msg/BmsState, a separate message."""


class MessageLayout:
    """Layout of a message whose checksum covers the vendor's C++ object in memory.

    Attributes:
        type_name: ROS type of the message.
        record: The object's dtype, with C layout; its last field is `crc`.
        wire_bytes: Size of the message, including the 4 bytes of encapsulation.
    """

    def __init__(self, type_name: str, fields: _Fields) -> None:
        """Derive the layout from the fields, in order; one of them is `motors`."""
        self.type_name, self.record = type_name, np.dtype(fields, align=True)
        self._memory = self.offset("motors")
        before = fields[[field[0] for field in fields].index("motors") - 1][0]
        kind = self.record[before]
        used = len(_used(kind).rstrip(b"\0"))
        self._wire = self.offset(before) + used
        self.wire_bytes = self.record.itemsize
        """Size of a message; by chance, CDR saves the 4 bytes that the encapsulation adds."""
        self._used = np.frombuffer(_used(self.record), np.uint8)

    def offset(self, field: str) -> int:
        """Return a field's offset in the record.

        For fields up to `motors`, the offset in the CDR message is the same.
        """
        assert self.record.fields is not None
        return int(self.record.fields[field][1])

    def from_wire(self, data: bytes) -> npt.NDArray[Any]:
        """Return a message of `wire_bytes` as a record array [], with zeros as padding."""
        payload = np.frombuffer(data, np.uint8, offset=len(HEADER))
        memory = np.zeros(self.record.itemsize, np.uint8)
        wire, start = self._wire, self._memory
        memory[:wire] = payload[:wire]
        memory[start] = payload[wire]
        memory[start + 4 :] = payload[start:]
        memory &= self._used
        return memory.view(self.record)[0:1].reshape(())

    def to_wire(self, record: npt.NDArray[Any]) -> bytes:
        """Return the message for a record array [], with its checksum set."""
        memory = bytearray(record.tobytes())
        memory[-4:] = struct.pack("<I", crc(memory))
        wire, start = self._wire, self._memory
        gap = bytes(start - wire - 1)
        return b"".join(
            (HEADER, memory[:wire], memory[start : start + 1], gap, memory[start + 4 :])
        )


_GO_STATE = MessageLayout(
    "unitree_go/msg/LowState",
    [
        *_GO_HEAD,
        ("imu", _structure(*_GO_IMU)),
        ("motors", _structure(*_GO_MOTOR), 20),
        ("battery", _structure(*_GO_BATTERY)),
        ("foot_force", "<i2", 4),
        ("foot_force_est", "<i2", 4),
        ("tick", "<u4"),
        ("wireless_remote", "u1", 40),
        ("bit_flag", "u1"),
        ("adc_reel", "<f4"),
        ("temperature_ntc", "i1", 2),
        ("power_v", "<f4"),
        ("power_a", "<f4"),
        ("fan_frequency", "<u2", 4),
        ("reserve", "<u4"),
        ("crc", "<u4"),
    ],
)
_HG_STATE = MessageLayout(
    "unitree_hg/msg/LowState",
    [
        ("version", "<u4", 2),
        ("mode_pr", "u1"),
        ("mode_machine", "u1"),
        ("tick", "<u4"),
        ("imu", _structure(*_HG_IMU)),
        ("motors", _structure(*_HG_MOTOR), 35),
        ("wireless_remote", "u1", 40),
        ("reserve", "<u4", 4),
        ("crc", "<u4"),
    ],
)
_GO_COMMAND = MessageLayout(
    "unitree_go/msg/LowCmd",
    [
        *_GO_HEAD,
        ("motors", _structure(*_COMMAND, ("reserve", "<u4", 3)), 20),
        ("bms_cmd", "u1", 4),
        ("wireless_remote", "u1", 40),
        ("led", "u1", 12),
        ("fan", "u1", 2),
        ("gpio", "u1"),
        ("reserve", "<u4"),
        ("crc", "<u4"),
    ],
)
_HG_COMMAND = MessageLayout(
    "unitree_hg/msg/LowCmd",
    [
        ("mode_pr", "u1"),
        ("mode_machine", "u1"),
        ("motors", _structure(*_COMMAND, ("reserve", "<u4")), 35),
        ("reserve", "<u4", 4),
        ("crc", "<u4"),
    ],
)


class MessageFamily(NamedTuple):
    """One of the two families of low-level messages.

    Attributes:
        name: ROS package of the family's messages.
        state, command: Layouts of LowState and LowCmd.
        head: Values of `head` and `level_flag` in a LowCmd; empty if LowCmd has no such fields.
    """

    name: str
    state: MessageLayout
    command: MessageLayout
    head: bytes


GO = MessageFamily("unitree_go", _GO_STATE, _GO_COMMAND, b"\xfe\xef\xff")
HG = MessageFamily("unitree_hg", _HG_STATE, _HG_COMMAND, b"")
FAMILIES = (GO, HG)


class RobotTopic(IntEnum):
    """Number of a topic: the first byte of a frame between this driver's processes."""

    LOWCMD = 0
    LOWSTATE = 1
    SWITCHER_REQUEST = 2
    SWITCHER_RESPONSE = 3
    SPORT_REQUEST = 4
    SPORT_RESPONSE = 5
    BATTERY = 6


TOPIC_NAMES = {
    RobotTopic.LOWCMD: "/lowcmd",
    RobotTopic.LOWSTATE: "/lowstate",
    RobotTopic.SWITCHER_REQUEST: "/api/motion_switcher/request",
    RobotTopic.SWITCHER_RESPONSE: "/api/motion_switcher/response",
    RobotTopic.SPORT_REQUEST: "/api/sport/request",
    RobotTopic.SPORT_RESPONSE: "/api/sport/response",
    RobotTopic.BATTERY: "/lf/bmsstate",
}
"""ROS name of each topic; its DDS name has the prefix `rt`."""


def crc(memory: bytes | bytearray) -> int:
    """Return the CRC-32/MPEG-2 of an object's words, except the last one, which holds the CRC.

    The CRC processes each word from its most significant bit. `binascii.crc32` uses the same
    polynomial but starts at the least significant bit, so each word's bytes and each byte's bits
    are reversed.
    """
    words = np.frombuffer(memory, "<u4")[:-1].byteswap()
    reflected = binascii.crc32(words.tobytes().translate(_REFLECTED)) ^ 0xFFFFFFFF
    return int.from_bytes(reflected.to_bytes(4, "little").translate(_REFLECTED), "big")


_REFLECTED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class ServiceRequest(NamedTuple):
    """Request to one of the robot's services (unitree_api/msg/Request)."""

    identity: int
    api: int
    parameter: str


class ServiceResponse(NamedTuple):
    """Answer to a service request (unitree_api/msg/Response); code 0 is success."""

    identity: int
    api: int
    code: int
    data: str


_REQUEST = struct.Struct("<qqqi?3xI")
_RESPONSE = struct.Struct("<qqiI")


def request_numbers() -> Iterator[int]:
    """Return an iterator of request numbers; a random start avoids other clients' numbers."""
    return itertools.count(secrets.randbits(62))


def request(asked: ServiceRequest) -> bytes:
    text = asked.parameter.encode() + b"\0"
    head = _REQUEST.pack(asked.identity, asked.api, 0, 0, False, len(text))
    return b"".join((HEADER, head, text, bytes(-(len(head) + len(text)) % 4), bytes(4)))


def response(answer: ServiceResponse) -> bytes:
    """Return the message that carries an answer, as the robot sends it."""
    text = answer.data.encode() + b"\0"
    head = _RESPONSE.pack(answer.identity, answer.api, answer.code, len(text))
    return b"".join((HEADER, head, text, bytes(-(len(head) + len(text)) % 4), bytes(4)))


def read_request(data: bytes) -> ServiceRequest | None:
    text = _text(data, _REQUEST)
    if text is None:
        return None
    identity, api, *_ = _REQUEST.unpack_from(data, len(HEADER))
    return ServiceRequest(identity, api, text)


def read_response(data: bytes) -> ServiceResponse | None:
    text = _text(data, _RESPONSE)
    if text is None:
        return None
    identity, api, code, _ = _RESPONSE.unpack_from(data, len(HEADER))
    return ServiceResponse(identity, api, code, text)


def _text(data: bytes, head: struct.Struct) -> str | None:
    """Return the text after a message's numbers; None if invalid.

    The last of these numbers is the text's size.
    """
    start = len(HEADER) + head.size
    if len(data) < start or data[:2] != HEADER[:2]:
        return None
    size = int(head.unpack_from(data, len(HEADER))[-1])
    if not 1 <= size <= len(data) - start:
        return None
    try:
        return data[start : start + size - 1].decode()
    except UnicodeDecodeError:
        return None


class WirelessRemote(NamedTuple):
    """State of the wireless remote. Sticks are -1..1: x to the right, y up.

    Attributes:
        keys: Pressed keys, one bit for each of KEYS.
    """

    keys: int
    lx: float
    ly: float
    rx: float
    ry: float

    def holds(self, *names: str) -> bool:
        mask = sum(1 << KEYS.index(name) for name in names)
        return self.keys & mask == mask


KEYS = (
    *("R1", "L1", "start", "select", "R2", "L2", "F1", "F2"),
    *("A", "B", "X", "Y", "up", "right", "down", "left"),
)
_STICKS = struct.Struct("<2xH5f")


def read_remote(data: bytes) -> WirelessRemote:
    """Decode the 40-byte `wireless_remote` field of a LowState; NaN stick values become 0."""
    keys, lx, rx, ry, _, ly = _STICKS.unpack_from(data)
    # NaN equals nothing, not even itself.
    lx, ly, rx, ry = (max(-1.0, min(1.0, x)) if x == x else 0.0 for x in (lx, ly, rx, ry))
    return WirelessRemote(keys, lx, ly, rx, ry)
