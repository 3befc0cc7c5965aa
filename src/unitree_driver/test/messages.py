# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The robot's side of the messages, made of our own values."""

import struct
from typing import Any

import numpy as np

from unitree_driver import wire
from unitree_driver.figures import UnitreeFigures
from unitree_driver.wire import F64, HG, WirelessRemote

NO_KEYS = WirelessRemote(0, 0.0, 0.0, 0.0, 0.0)
POWER_V, CURRENT_A, CHARGE = 29.5, -2.0, 80


def remote_with_keys(*names: str) -> WirelessRemote:
    return NO_KEYS._replace(keys=sum(1 << wire.KEYS.index(name) for name in names))


def write_remote(remote: WirelessRemote) -> bytes:
    data = struct.pack("<2xH5f", remote.keys, remote.lx, remote.rx, remote.ry, 0.0, remote.ly)
    return data.ljust(40, b"\0")


def low_state(
    model: UnitreeFigures,
    *,
    tick: int = 1000,
    joint_pos: F64 | None = None,
    joint_vel: F64 | float = 0.0,
    joint_effort: F64 | float = 0.0,
    yaw: float = 0.0,
    remote: WirelessRemote = NO_KEYS,
    machine: int = 5,
    **changes: Any,
) -> bytes:
    """Return a LowState of a robot that rests, level, at a yaw (rad); `changes` are of the record.

    Its accelerometer has noise, as a real one's.

    A change is a value for a field, by its path: `imu__quaternion`.
    """
    record: Any = np.zeros((), model.family.state.record)
    motors, slots = record["motors"], list(model.slots)
    motors["q"][slots] = 0.1 if joint_pos is None else joint_pos
    motors["dq"][slots], motors["tau_est"][slots] = joint_vel, joint_effort
    motors["mode"][slots] = model.modes
    motors["temperature"][slots] = 30
    imu = record["imu"]
    imu["quaternion"] = np.cos(0.5 * yaw), 0.0, 0.0, np.sin(0.5 * yaw)
    imu["rpy"] = 0.0, 0.0, yaw
    imu["accelerometer"] = 0.0, 0.0, 9.81 + 1e-5 * ((tick - 1000) % 1009)
    record["tick"] = tick & 0xFFFFFFFF
    record["wireless_remote"] = np.frombuffer(write_remote(remote), np.uint8)
    if model.family is HG:
        record["mode_machine"] = machine
    else:
        record["battery"]["soc"], record["battery"]["current"] = CHARGE, 1e3 * CURRENT_A
        record["power_v"] = POWER_V
    for path, value in changes.items():
        *folders, name = path.split("__")
        part = record
        for folder in folders:
            part = part[folder]
        part[name] = value
    return model.family.state.to_wire(record)


def read_command(model: UnitreeFigures, data: bytes) -> Any:
    """Return the record of a LowCmd whose checksum is right; None where it is wrong."""
    layout = model.family.command
    record = layout.from_wire(data[: layout.wire_bytes])
    return record if wire.crc(record.tobytes()) == record["crc"] else None


def low_cmd_values(model: UnitreeFigures, data: bytes) -> F64:
    """Return the values [n, 5] in a LowCmd with a right checksum."""
    record = read_command(model, data)
    assert record is not None
    return np.asarray(record["motors"]["numbers"][list(model.slots)], dtype=np.float64)
