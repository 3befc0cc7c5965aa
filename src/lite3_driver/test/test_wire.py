# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Bytes and values: written out by hand, and as the vendor's client sends them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from lite3_driver import wire
from lite3_driver.figures import Lite3Settings
from lite3_driver.reception import Lite3Reception
from lite3_driver.wire import Lite3State, Oddity

ZERO_VALUE = bytes(8)
RAMP = np.arange(12.0)


def ramp_frame(code: int = 0x0906, size: int = 336, kind: int = 1) -> bytes:
    """Return a frame with a number of its own in every field, packed field by field."""
    joints = [value for i in range(12) for value in (i + 0.25, -(i + 0.5), 10 * i + 0.75, 30.0 + i)]
    return struct.pack(
        "<IIIIi9f48f4x12d",
        *(code, size, kind),
        *(123456, -7, 1.5, -2.5, 3.5, 0.125, -0.25, 0.375, 0.5, -0.75, 9.81, *joints),
        *(1000.0 + k for k in range(12)),
    )


def check_ramp(state: Lite3State | Oddity) -> None:
    assert isinstance(state, Lite3State)
    assert (state.tick, state.imu_stamp_ms) == (123456, -7)
    assert np.degrees(state.rpy) == pytest.approx([1.5, -2.5, 3.5])
    assert state.ang_vel == pytest.approx([0.125, -0.25, 0.375])
    assert state.lin_acc == pytest.approx([0.5, -0.75, 9.81])
    assert state.joint_pos == pytest.approx(RAMP + 0.25)
    assert state.joint_vel == pytest.approx(-(RAMP + 0.5))
    assert state.joint_effort == pytest.approx(10 * RAMP + 0.75)
    assert state.temperature_c == pytest.approx(30 + RAMP, abs=0.2)
    assert state.contact_force == pytest.approx(1000.0 + np.arange(12.0).reshape(4, 3), abs=0.2)


def test_every_field_of_a_state_is_where_it_belongs() -> None:
    check_ramp(wire.read_state(ramp_frame()))


@pytest.mark.parametrize(
    ("code", "data"),
    [
        (wire.FOLD, b"\x05\x0c\x01\x31" + ZERO_VALUE),
        (wire.TAKE_CONTROL, b"\x14\x01\x00\x00" + ZERO_VALUE),
        (wire.GIVE_BACK, b"\x13\x01\x00\x00" + ZERO_VALUE),
    ],
)
def test_a_request_is_twelve_bytes(code: int, data: bytes) -> None:
    assert wire.request(code) == data
    assert wire.read_request(data) == code


def test_a_command_has_five_numbers_for_each_joint() -> None:
    numbers = np.array([[100 * i + field + 1.25 for field in range(5)] for i in range(12)])
    data = wire.command(numbers)
    assert data[:12] == b"\x11\x01\x00\x00\xf0\x00\x00\x00\x01\x00\x00\x00"
    assert struct.unpack("<60f", data[12:]) == tuple(numbers.ravel())
    read = wire.read_command(data)
    assert read is not None
    assert (read == numbers).all()


def test_braking_is_damping_and_nothing_else() -> None:
    assert struct.unpack("<60f", wire.damping_command(5.0)[12:]) == (0.0, 0.0, 0.0, 0.0, 5.0) * 12


@pytest.mark.parametrize(
    ("data", "oddity"),
    [
        (b"", Oddity.LENGTH),
        (ramp_frame()[:11], Oddity.LENGTH),
        (ramp_frame()[:347], Oddity.LENGTH),
        (ramp_frame() + b"\0", Oddity.LENGTH),
        (ramp_frame(code=0x0901), Oddity.CODE),
        (ramp_frame(code=0x0901)[:40], Oddity.CODE),
        (ramp_frame(kind=0), Oddity.TYPE),
        (ramp_frame(kind=2), Oddity.TYPE),
        (ramp_frame(size=0), Oddity.SIZE),
        (ramp_frame()[:20] + struct.pack("<f", np.nan) + ramp_frame()[24:], Oddity.NOT_FINITE),
    ],
)
def test_what_is_no_state_is_refused_with_what_is_wrong(data: bytes, oddity: Oddity) -> None:
    assert wire.read_state(data) is oddity
    reception = Lite3Reception(Lite3Settings(host_address="10.0.0.1"))
    assert reception.receive(data, ("10.0.0.1", 1), 0) is None
    assert reception.counts[oddity.value] == 1


def test_temperatures_and_contact_forces_need_not_be_numbers() -> None:
    frame = bytearray(ramp_frame())
    frame[-8:] = struct.pack("<d", np.inf)
    frame[68:72] = struct.pack("<f", np.nan)
    state = wire.read_state(bytes(frame))
    assert isinstance(state, Lite3State)
    assert np.isinf(state.contact_force[3, 2])
    assert np.isnan(state.temperature_c[0])
    others = state._replace(contact_force=np.zeros(1), temperature_c=np.zeros(1))
    assert all(np.isfinite(part).all() for part in others)


def test_the_counter_in_the_header_is_ignored() -> None:
    frame = bytearray(ramp_frame())
    frame[9:12] = b"\xcd\xab\xef"
    check_ramp(wire.read_state(bytes(frame)))


def test_a_written_state_is_read_as_it_was() -> None:
    state = wire.read_state(ramp_frame())
    assert isinstance(state, Lite3State)
    again = wire.read_state(wire.write_state(state))
    assert isinstance(again, Lite3State)
    for before, after in zip(state, again, strict=True):
        assert after == pytest.approx(before)


@pytest.fixture
def captured(shared_data: Path) -> Path:
    return shared_data / "legged" / "lite3" / "udp"


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("cmd_31010c05_zero", wire.request(wire.FOLD)),
        ("cmd_0114_control_sdk", wire.request(wire.TAKE_CONTROL)),
        ("cmd_0113_control_robot", wire.request(wire.GIVE_BACK)),
        ("cmd_0111_damping", wire.damping_command(5.0)),
        (
            "cmd_0111_standing",
            wire.command([[*pose, 0.0, 0.0, 30.0, 1.0] for pose in ([0.0], [-0.65], [1.3])] * 4),
        ),
    ],
)
def test_the_vendors_client_sends_the_same_bytes(captured: Path, name: str, data: bytes) -> None:
    assert (captured / f"{name}.bin").read_bytes() == data


@pytest.mark.real_data
def test_states_that_the_vendors_client_read_are_read_the_same(captured: Path) -> None:
    check_ramp(wire.read_state((captured / "state_0906_ramp.bin").read_bytes()))
    standing = wire.read_state((captured / "state_0906_standing.bin").read_bytes())
    assert isinstance(standing, Lite3State)
    assert np.degrees(standing.rpy) == pytest.approx([2.0, -3.0, 45.0])
    assert standing.joint_pos == pytest.approx(np.tile([0.0, -0.65, 1.3], 4))
    assert standing.contact_force[:, 2] == pytest.approx(30.0)
