# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Packets of both servo protocols, byte by byte as the vendors' documents print them."""

import pytest

from robot_sim.servo_wire import (
    PING,
    READ,
    SYNC_READ,
    SYNC_WRITE,
    WRITE,
    DynamixelWire,
    FeetechWire,
    Instruction,
    ServoWire,
)

POSITION, GOAL = 56, 42
X_POSITION, X_GOAL = 132, 116

INSTRUCTIONS = [
    # Feetech: communication protocol manual of the SMS and STS servos.
    (FeetechWire, "ff ff 01 02 01 fb", Instruction(1, PING, b"")),
    (FeetechWire, "ff ff 01 04 02 38 02 be", Instruction(1, READ, bytes([POSITION, 2]))),
    (FeetechWire, "ff ff 01 04 03 28 01 ce", Instruction(1, WRITE, bytes([40, 1]))),
    (
        FeetechWire,
        "ff ff fe 08 82 38 02 01 02 03 04 33",
        Instruction(0xFE, SYNC_READ, bytes([POSITION, 2, 1, 2, 3, 4])),
    ),
    (
        FeetechWire,
        "ff ff fe 0a 83 2a 02 01 00 08 02 00 04 39",
        Instruction(0xFE, SYNC_WRITE, bytes([GOAL, 2, 1, 0, 8, 2, 0, 4])),
    ),
    # ROBOTIS e-Manual, protocol 2.0.
    (DynamixelWire, "ff ff fd 00 01 03 00 01 19 4e", Instruction(1, PING, b"")),
    (
        DynamixelWire,
        "ff ff fd 00 01 07 00 02 84 00 04 00 1d 15",
        Instruction(1, READ, bytes([X_POSITION, 0, 4, 0])),
    ),
    (
        DynamixelWire,
        "ff ff fd 00 01 09 00 03 74 00 00 02 00 00 ca 89",
        Instruction(1, WRITE, bytes([X_GOAL, 0, 0, 2, 0, 0])),
    ),
    (
        DynamixelWire,
        "ff ff fd 00 fe 09 00 82 84 00 04 00 01 02 ce fa",
        Instruction(0xFE, SYNC_READ, bytes([X_POSITION, 0, 4, 0, 1, 2])),
    ),
]
ANSWERS = [
    (FeetechWire, "ff ff 01 02 00 fc", (1, 0, b"")),
    (FeetechWire, "ff ff 01 04 00 18 05 dd", (1, 0, bytes([0x18, 0x05]))),
    (DynamixelWire, "ff ff fd 00 01 07 00 55 00 06 04 26 65 5d", (1, 0, b"\x06\x04\x26")),
    (DynamixelWire, "ff ff fd 00 01 08 00 55 00 a6 00 00 00 8c c0", (1, 0, b"\xa6\0\0\0")),
    (DynamixelWire, "ff ff fd 00 01 04 00 55 00 a1 0c", (1, 0, b"")),
]


@pytest.mark.parametrize(("wire", "packet", "meant"), INSTRUCTIONS)
def test_instructions_are_the_bytes_of_the_documents(
    wire: type[ServoWire], packet: str, meant: Instruction
) -> None:
    assert wire().instruction(*meant) == bytes.fromhex(packet)
    assert wire().feed(bytes.fromhex(packet)) == [meant]


@pytest.mark.parametrize(("wire", "packet", "meant"), ANSWERS)
def test_answers_are_the_bytes_of_the_documents(
    wire: type[ServoWire], packet: str, meant: tuple[int, int, bytes]
) -> None:
    assert wire().status(*meant) == bytes.fromhex(packet)


@pytest.mark.parametrize("wire", [FeetechWire, DynamixelWire])
def test_noise_and_damaged_packets_are_dropped_and_hide_no_packet(wire: type[ServoWire]) -> None:
    line, good = wire(), wire().instruction(3, PING)
    damaged = bytearray(wire().instruction(1, READ, b"\x38\x02"))
    damaged[-3] ^= 1

    assert line.feed(b"\x00\xff\x17" + damaged + b"\xff" + good) == [Instruction(3, PING, b"")]
    assert line.dropped == 3 + len(damaged) + 1


@pytest.mark.parametrize("wire", [FeetechWire, DynamixelWire])
def test_a_packet_in_part_is_forgotten(wire: type[ServoWire]) -> None:
    line, packet = wire(), wire().instruction(1, READ, b"\x38\x02")

    assert line.feed(packet[:-2]) == []
    line.forget()

    assert line.feed(packet) == [Instruction(1, READ, b"\x38\x02")]
