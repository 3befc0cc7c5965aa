# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Unitree's low-level messages as bytes: fields, wire format, CRC. No DDS.

One table lists the fields of each message, written by hand from the vendor's interface files
(unitree_sdk2 21d0a3b, unitree_ros2 eea2719). Two formats follow from it:

- In memory, like the vendor's C++ object: structs are aligned to their widest member. The CRC
  covers this format, with zeros as padding.
- On the wire (CDR, little-endian, 4 bytes in front): only numbers are aligned, so the `mode` of the
  first motor directly follows the field before it.

A message here is a numpy record in the memory format; its fields have the vendor's names.
"""

import zlib
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Record = npt.NDArray[np.void]
"""One message: shape (), with fields by name; motor fields are [slots]."""
SLOTS = {"go": 20, "hg": 35}
"""Number of motor slots in the messages of each family."""
HEADER = bytes([0, 1, 0, 0])
"""Encapsulation header of each message on the wire: CDR version 1, little-endian."""
HEAD, LEVEL_FLAG = (0xFE, 0xEF), 0xFF
"""First bytes of a LowCmd and a LowState of `go`."""
BUTTONS: tuple[str, ...] = (
    *("R1", "L1", "start", "select", "R2", "L2", "F1", "F2"),
    *("A", "B", "X", "Y", "up", "right", "down", "left"),
)
"""Buttons of the remote control, in the order of their bits."""
STICKS = {"lx": 4, "rx": 8, "ry": 12, "ly": 20}
"""Sticks of the remote control: offsets in its 40 bytes; values are float32 from -1 to 1."""
FIELDS: dict[str, str] = {
    "go.IMUState": "quaternion f32[4], gyroscope f32[3], accelerometer f32[3], rpy f32[3], "
    "temperature u8",
    "go.MotorCmd": "mode u8, q f32, dq f32, tau f32, kp f32, kd f32, reserve u32[3]",
    "go.MotorState": "mode u8, q f32, dq f32, ddq f32, tau_est f32, q_raw f32, dq_raw f32, "
    "ddq_raw f32, temperature u8, lost u32, reserve u32[2]",
    "go.BmsCmd": "off u8, reserve u8[3]",
    "go.BmsState": "version_high u8, version_low u8, status u8, soc u8, current i32, cycle u16, "
    "bq_ntc u8[2], mcu_ntc u8[2], cell_vol u16[15]",
    "go.LowCmd": "head u8[2], level_flag u8, frame_reserve u8, sn u32[2], version u32[2], "
    "bandwidth u16, motor_cmd go.MotorCmd[20], bms_cmd go.BmsCmd, wireless_remote u8[40], "
    "led u8[12], fan u8[2], gpio u8, reserve u32, crc u32",
    "go.LowState": "head u8[2], level_flag u8, frame_reserve u8, sn u32[2], version u32[2], "
    "bandwidth u16, imu_state go.IMUState, motor_state go.MotorState[20], bms_state go.BmsState, "
    "foot_force i16[4], foot_force_est i16[4], tick u32, wireless_remote u8[40], bit_flag u8, "
    "adc_reel f32, temperature_ntc1 u8, temperature_ntc2 u8, power_v f32, power_a f32, "
    "fan_frequency u16[4], reserve u32, crc u32",
    "hg.IMUState": "quaternion f32[4], gyroscope f32[3], accelerometer f32[3], rpy f32[3], "
    "temperature i16",
    "hg.MotorCmd": "mode u8, q f32, dq f32, tau f32, kp f32, kd f32, reserve u32",
    "hg.MotorState": "mode u8, q f32, dq f32, ddq f32, tau_est f32, temperature i16[2], vol f32, "
    "sensor u32[2], motorstate u32, reserve u32[4]",
    "hg.LowCmd": "mode_pr u8, mode_machine u8, motor_cmd hg.MotorCmd[35], reserve u32[4], crc u32",
    "hg.LowState": "version u32[2], mode_pr u8, mode_machine u8, tick u32, "
    "imu_state hg.IMUState, motor_state hg.MotorState[35], wireless_remote u8[40], "
    "reserve u32[4], crc u32",
    "hg.BmsState": "version_high u8, version_low u8, fn u8, cell_vol u16[40], bmsvoltage u32[3], "
    "current i32, soc u8, soh u8, temperature i16[12], cycle u16, manufacturer_date u16, "
    "bmsstate u32[5], reserve u32[3]",
}
"""Each message's fields, in order: name, type, and a count in brackets for an array."""
_NUMBERS = {"u8": "u1", "i16": "<i2", "u16": "<u2", "i32": "<i4", "u32": "<u4", "f32": "<f4"}
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class WrongMessageError(ValueError):
    """Error for bytes that are not the expected message."""


def message_fields(name: str) -> list[tuple[str, str, int]]:
    """Return each field of a message as name, type and count; a count of 0 means a single value."""
    words = (field.split() for field in FIELDS[name].split(", "))
    return [
        (field, kind.partition("[")[0], int(kind.partition("[")[2].rstrip("]") or 0))
        for field, kind in words
    ]


@cache
def record_type(name: str) -> np.dtype[np.void]:
    parts: list[Any] = []
    for field, kind, count in message_fields(name):
        one = _NUMBERS.get(kind) or record_type(kind)
        parts.append((field, one, (count,)) if count else (field, one))
    return np.dtype(parts, align=True)


def blank(name: str) -> Record:
    """Return a message of zeros."""
    return np.zeros((), record_type(name))


def encode(name: str, message: Record) -> bytes:
    """Return a message in the wire format, including the 4-byte header."""
    places, size = _places(name)
    wire = np.zeros(size, np.uint8)
    wire[places[0]] = _memory(message)[places[1]]
    return HEADER + wire.tobytes()


def decode(name: str, data: bytes) -> Record:
    """Return the message that these bytes contain; padding becomes zero."""
    places, size = _places(name)
    found = len(data) - len(HEADER)
    if data[:2] != HEADER[:2] or not size <= found <= size + 3:
        raise WrongMessageError(
            f"{name}: expected {size} bytes after the header {HEADER.hex(' ')}, found "
            f"{max(found, 0)} after {data[: len(HEADER)].hex(' ') or 'no header'}"
        )
    message = blank(name)
    _memory(message)[places[1]] = np.frombuffer(data, np.uint8, size, len(HEADER))[places[0]]
    return message


def crc(message: Record) -> int:
    """Return the CRC of a message, over all but its last field: CRC-32/MPEG-2 of its words.

    zlib's CRC-32 processes the bits of each byte in reverse order, so the bytes of each word are
    swapped, and the bits of each byte and of the result are reversed.
    """
    words = _memory(message)[:-4].reshape(-1, 4)[:, ::-1]
    value = zlib.crc32(words.tobytes().translate(_REVERSED)) ^ 0xFFFFFFFF
    return int(f"{value:032b}"[::-1], 2)


def seal(message: Record) -> None:
    message["crc"] = crc(message)


def remote_bytes(pressed: frozenset[str] | set[str], sticks: dict[str, float]) -> bytes:
    """Return the 40 bytes of the remote control.

    Args:
        pressed: Names from `BUTTONS`.
        sticks: Deflection of each of `STICKS`, by name, -1 to 1; others are 0.
    """
    made = np.zeros(40, np.uint8)
    keys = sum(1 << BUTTONS.index(name) for name in pressed)
    made[2:4].view("<u2")[:] = keys
    for name, value in sticks.items():
        made[STICKS[name] :][:4].view("<f4")[:] = value
    made[16:20].view("<f4")[:] = 1.0 if "L2" in pressed else 0.0
    return made.tobytes()


@cache
def _places(name: str) -> tuple[npt.NDArray[np.intp], int]:
    """Return each byte's place on the wire and in memory [2, bytes], and the size on the wire."""
    wire: list[int] = []
    memory: list[int] = []
    at = 0
    for place, size in _numbers(record_type(name), 0):
        at += -at % size
        wire += range(at, at + size)
        memory += range(place, place + size)
        at += size
    return np.array([wire, memory], np.intp), at


def _numbers(kind: np.dtype[Any], place: int) -> list[tuple[int, int]]:
    """Return place and size of each number in memory, in order."""
    if kind.subdtype is not None:
        base, shape = kind.subdtype
        return [
            number
            for index in range(int(np.prod(shape)))
            for number in _numbers(base, place + index * base.itemsize)
        ]
    if kind.fields is None:
        return [(place, kind.itemsize)]
    return [
        number
        for name in kind.names or ()
        for number in _numbers(kind.fields[name][0], place + int(kind.fields[name][1]))
    ]


def _memory(message: Record) -> npt.NDArray[np.uint8]:
    """Return a view of a message's bytes in memory; writing to the view changes the message."""
    return message.reshape(1).view(np.uint8)
