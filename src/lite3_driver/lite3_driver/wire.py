# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The joint-level UDP interface of the Lite3's motion host, byte for byte.

All numbers are little-endian. A datagram is a header of 12 bytes (code u32; value or size u32; type
u8, 0: value only, 1: a payload of `size` bytes follows; an unused counter u24) and its payload.
There are no checksums, sequence numbers or answers.

Source: measurements with the vendor's SDK client (DeepRoboticsLab/Lite3_MotionSDK b30a3ec); the
meanings come from its headers and README. docs/lite3.md lists what has not been measured on a
robot.
"""

import struct
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

HOST_PORT, STATE_PORT = 43893, 43897
"""UDP ports: where the motion host receives, and where it sends its state by default."""
FOLD, TAKE_CONTROL, GIVE_BACK = 0x31010C05, 0x0114, 0x0113
"""Codes of requests, which have no payload: fold the legs, take control, give control back."""
COMMAND, STATE = 0x0111, 0x0906
"""Codes of frames with a payload: joint commands to the host, and robot states from it."""

JOINT_NAMES = tuple(
    f"{leg}_{part}_joint" for leg in ("FL", "FR", "HL", "HR") for part in ("HipX", "HipY", "Knee")
)
FOOT_NAMES = ("FL_foot", "FR_foot", "HL_foot", "HR_foot")
"""Feet in wire order; the joints above are in wire order too. Angles have the URDF's signs and
zeros.
"""

_HEADER = struct.Struct("<III")
_VALUE, _PAYLOAD = 0, 1
_JOINT_COMMAND = np.dtype(
    [
        ("position", "<f4"),
        ("velocity", "<f4"),
        ("effort", "<f4"),
        ("stiffness", "<f4"),
        ("damping", "<f4"),
    ]
)
COMMAND_FIELDS = _JOINT_COMMAND.names or ()
"""Columns of a joint command: rad, rad/s, N m, N m/rad, N m s/rad."""
_STATE = np.dtype(
    [
        ("header", "<u4", 3),
        ("tick", "<u4"),
        ("imu_stamp_ms", "<i4"),
        ("rpy_deg", "<f4", 3),
        ("ang_vel", "<f4", 3),
        ("lin_acc", "<f4", 3),
        ("joints", "<f4", (12, 4)),
        ("_padding", "V4"),
        ("contact_force", "<f8", (4, 3)),
    ]
)
TICKS, TICKS_PER_S = 1 << 32, 1000
"""Modulus and rate of the host's tick counter."""
COMMAND_BYTES = _HEADER.size + len(JOINT_NAMES) * _JOINT_COMMAND.itemsize
STATE_BYTES = _STATE.itemsize
IMU_BYTES = slice(16, 56)
"""Bytes of a state frame that contain the IMU's time stamp and values."""

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]


class Oddity(str, Enum):
    """The reason that a datagram is not a valid state frame."""

    LENGTH = "wrong_length"
    CODE = "other_code"
    TYPE = "wrong_type"
    SIZE = "wrong_size"
    NOT_FINITE = "not_finite"


class Lite3State(NamedTuple):
    """The content of a state frame. Arrays are float64; only rpy is converted, from deg to rad.

    Attributes:
        tick: The host's counter, ms, modulo 2**32.
        imu_stamp_ms: IMU time stamp, ms.
        rpy: Roll, pitch, yaw [3], rad: rotations about z, then y, then x.
        ang_vel: Angular velocity, body frame [3], in the unit that the host uses.
        lin_acc: Acceleration, body frame [3], m/s^2; about +9.81 along z when at rest.
        joint_pos, joint_vel, joint_effort: Joint states [12], rad, rad/s, N m, in the order of
            JOINT_NAMES.
        temperature_c: Drive temperatures [12], degrees Celsius; may be non-finite.
        contact_force: Contact forces [4, 3], N, in the order of FOOT_NAMES; may be non-finite.
    """

    tick: int
    imu_stamp_ms: int
    rpy: F64
    ang_vel: F64
    lin_acc: F64
    joint_pos: F64
    joint_vel: F64
    joint_effort: F64
    temperature_c: F64
    contact_force: F64


def request(code: int) -> bytes:
    """Return the datagram of a request: FOLD, TAKE_CONTROL or GIVE_BACK."""
    return _HEADER.pack(code, 0, _VALUE)


def command(joints: npt.ArrayLike) -> bytes:
    """Return the command frame for values [12, 5], with columns as in COMMAND_FIELDS."""
    values = np.asarray(joints, dtype="<f4").reshape(len(JOINT_NAMES), len(COMMAND_FIELDS))
    size = COMMAND_BYTES - _HEADER.size
    return _HEADER.pack(COMMAND, size, _PAYLOAD) + values.tobytes()


def damping_command(damping: float) -> bytes:
    """Return the command frame that brakes all joints with this damping (N m s/rad)."""
    joints = np.zeros((len(JOINT_NAMES), len(COMMAND_FIELDS)))
    joints[:, COMMAND_FIELDS.index("damping")] = damping
    return command(joints)


def read_code(data: bytes) -> int | None:
    """Return the code of a datagram; None if it is shorter than a header."""
    return _HEADER.unpack_from(data)[0] if len(data) >= _HEADER.size else None


def read_state(data: bytes) -> Lite3State | Oddity:
    """Return the state from a datagram, or why it is not a valid state frame.

    Temperatures and contact forces may be non-finite, because balance does not depend on them. All
    other values must be finite.
    """
    if len(data) < _HEADER.size:
        return Oddity.LENGTH
    code, size, kind = _HEADER.unpack_from(data)
    if code != STATE:
        return Oddity.CODE
    if len(data) != STATE_BYTES:
        return Oddity.LENGTH
    if kind & 0xFF != _PAYLOAD:
        return Oddity.TYPE
    if size != STATE_BYTES - _HEADER.size:
        return Oddity.SIZE
    frame = np.frombuffer(data, _STATE)[0]
    joints = frame["joints"].astype(np.float64).T.copy()
    inertial = [frame[name].astype(np.float64) for name in ("rpy_deg", "ang_vel", "lin_acc")]
    force = frame["contact_force"].astype(np.float64)
    rpy_deg, ang_vel, lin_acc = inertial
    position, velocity, effort, temperature_c = joints
    if not all(np.isfinite(values).all() for values in (joints[:3], *inertial)):
        return Oddity.NOT_FINITE
    return Lite3State(
        int(frame["tick"]),
        int(frame["imu_stamp_ms"]),
        np.radians(rpy_deg),
        ang_vel,
        lin_acc,
        position,
        velocity,
        effort,
        temperature_c,
        force,
    )


def write_state(state: Lite3State) -> bytes:
    frame: Any = np.zeros((), _STATE)
    frame["header"] = STATE, STATE_BYTES - _HEADER.size, _PAYLOAD
    frame["tick"], frame["imu_stamp_ms"] = state.tick & 0xFFFFFFFF, state.imu_stamp_ms
    frame["rpy_deg"] = np.degrees(state.rpy)
    frame["ang_vel"], frame["lin_acc"] = state.ang_vel, state.lin_acc
    frame["joints"] = np.stack(
        [state.joint_pos, state.joint_vel, state.joint_effort, state.temperature_c], axis=1
    )
    frame["contact_force"] = state.contact_force
    return bytes(frame.tobytes())


def read_request(data: bytes) -> int | None:
    """Return the code of a request; None if the datagram is not a request."""
    if len(data) != _HEADER.size:
        return None
    code, _, kind = _HEADER.unpack(data)
    return code if kind & 0xFF == _VALUE else None


def read_command(data: bytes) -> F32 | None:
    """Return a command frame's values [12, 5], by COMMAND_FIELDS; None for other datagrams."""
    if len(data) != COMMAND_BYTES:
        return None
    code, size, kind = _HEADER.unpack_from(data)
    if (code, size, kind & 0xFF) != (COMMAND, COMMAND_BYTES - _HEADER.size, _PAYLOAD):
        return None
    values = np.frombuffer(data, "<f4", offset=_HEADER.size)
    return values.reshape(len(JOINT_NAMES), len(COMMAND_FIELDS)).copy()
