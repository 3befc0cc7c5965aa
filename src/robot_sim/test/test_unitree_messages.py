# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Unitree's messages have the bytes and the CRC that the vendor's programs write."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_sim import unitree_messages as messages
from testkit.wording import refusal

# Sizes and offsets in the vendor's generated code and in its C++ objects.
SIZES = {
    "go.LowCmd": (808, 812),
    "go.LowState": (1176, 1180),
    "hg.LowCmd": (1000, 1004),
    "hg.LowState": (2088, 2092),
    "hg.IMUState": (54, 56),
    "hg.BmsState": (164, 164),
}
MOTORS = {
    # Offsets: mode of the first and second motor, position of the first and second motor.
    "go.LowCmd": ("motor_cmd", 22, 56, 24, 60),
    "go.LowState": ("motor_state", 77, 124, 80, 128),
    "hg.LowCmd": ("motor_cmd", 2, 28, 4, 32),
    "hg.LowState": ("motor_state", 70, 124, 72, 128),
}
WITH_CRC = tuple(MOTORS)


def numbered_message(name: str) -> messages.Record:
    """Return a message whose field bytes are all different, up to a period of 251."""
    message = messages.blank(name)
    body = np.arange(message.nbytes, dtype=np.uint64) * 37 % 251
    wire = messages.encode(name, np.frombuffer(body.astype(np.uint8), message.dtype)[0].reshape(()))
    return messages.decode(name, wire)


def crc_bit_by_bit(memory: bytes) -> int:
    crc = 0xFFFFFFFF
    for word in struct.unpack(f"<{len(memory) // 4}I", memory):
        for bit in range(31, -1, -1):
            crc = (crc << 1 & 0xFFFFFFFF) ^ (0x04C11DB7 if (crc >> 31) ^ (word >> bit & 1) else 0)
    return crc


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_those_of_the_wire_and_of_the_makers_object(name: str) -> None:
    message = messages.blank(name)
    wire, memory = SIZES[name]
    assert len(messages.encode(name, message)) == 4 + wire
    assert message.nbytes == memory


@pytest.mark.parametrize("name", SIZES)
def test_what_was_written_is_read(name: str) -> None:
    message = numbered_message(name)
    again = messages.decode(name, messages.encode(name, message))
    assert again.tobytes() == message.tobytes()
    assert len(set(message.tobytes())) > 20


def test_crc_has_the_known_value_of_the_check_word() -> None:
    # For "12345678" as two words; for "123456789", the check string of CRC catalogues, it is
    # 0x0376E6E7.
    assert crc_bit_by_bit(struct.pack("<2I", 0x31323334, 0x35363738)) == 0x49E3C2FB


@pytest.mark.parametrize("name", WITH_CRC)
def test_what_a_sender_leaves_between_the_fields_does_not_count(name: str) -> None:
    message = numbered_message(name)
    messages.seal(message)
    clean = messages.encode(name, message)
    # A byte that differs between a message of ones and one of zeros belongs to a field.
    ones = np.frombuffer(b"\xff" * message.nbytes, message.dtype)[0].reshape(())
    of_fields = np.frombuffer(messages.encode(name, ones), np.uint8) != 0
    dirty = bytes(
        byte if field or place < 4 else 0xAA
        for place, (byte, field) in enumerate(zip(clean, of_fields, strict=True))
    )
    assert dirty != clean
    read = messages.decode(name, dirty)
    assert messages.crc(read) == int(read["crc"])


SPOILS: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda data: b"",
    "three bytes": lambda data: data[:3],
    "one less": lambda data: data[:-1],
    "four more": lambda data: data + bytes(4),
    "big-endian": lambda data: b"\0\0" + data[2:],
    "CDR of version 2": lambda data: b"\0\7" + data[2:],
}


@pytest.mark.parametrize("spoil", SPOILS)
def test_other_bytes_are_refused(spoil: str) -> None:
    data = messages.encode("go.LowCmd", messages.blank("go.LowCmd"))
    with refusal(messages.WrongMessageError):
        messages.decode("go.LowCmd", SPOILS[spoil](data))


def test_remote_control_has_keys_and_sticks_in_their_places() -> None:
    made = messages.remote_bytes({"L2", "B"}, {"lx": -0.25, "ly": 0.5, "rx": 0.75})
    assert len(made) == 40
    assert struct.unpack_from("<H", made, 2) == (0b10_0010_0000,)
    assert struct.unpack_from("<5f", made, 4) == (-0.25, 0.75, 0.0, 1.0, 0.5)
    assert messages.remote_bytes(set(), {}) == bytes(40)


@pytest.fixture
def confirmed_messages(shared_data: Path) -> dict[str, Any]:
    file = shared_data / "unitree" / "golden.json"
    found: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return found


@pytest.mark.real_data
class TestGolden:
    """Messages confirmed by the vendor's own message classes and CRC programs."""

    def test_bytes_and_values(self, confirmed_messages: dict[str, Any], shared_data: Path) -> None:
        tried = 0
        for name, vector in confirmed_messages["vectors"].items():
            if vector["layout"] not in messages.FIELDS:
                continue
            data = (shared_data / "unitree" / "golden" / f"{name}.bin").read_bytes()
            message = messages.decode(vector["layout"], data)
            assert messages.encode(vector["layout"], message) == data, name
            _assert_same(message, vector.get("values", {}), name)
            if "crc" in vector:
                assert (messages.crc(message) == int(message["crc"])) == vector["crc_ok"], name
            tried += 1
        assert tried == 18

    def test_remote_control(self, confirmed_messages: dict[str, Any]) -> None:
        for name, example in confirmed_messages["wireless_remote"].items():
            keys, sticks = example["fields"]["keys"], example["fields"]
            pressed = {key for bit, key in enumerate(messages.BUTTONS) if keys >> bit & 1}
            made = messages.remote_bytes(pressed, {way: sticks[way] for way in messages.STICKS})
            assert made.hex() == example["hex"], name


def _assert_same(found: Any, expected: dict[str, Any], where: str) -> None:
    for field, value in expected.items():
        place = f"{where}.{field}"
        if isinstance(value, dict):
            _assert_same(found[field], value, place)
        elif isinstance(value, list) and isinstance(value[0], dict):
            for index, each in enumerate(value):
                _assert_same(found[field][index], each, f"{place}[{index}]")
        else:
            one = np.asarray(found[field])
            assert np.array_equal(one, np.asarray(value, one.dtype)), place
