# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Emulated servos: the effect of instructions, refusals, and each fault."""

from __future__ import annotations

import json
import os
import select
import termios
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_sim.arm_figures import SO101
from robot_sim.arm_servos import FAMILIES, ArmServos
from robot_sim.arm_world import ArmWorld
from robot_sim.errors import SimError
from robot_sim.servo_bus import ServoBus, ServoFault, ServoPort, ServoReply
from robot_sim.servo_wire import (
    BROADCAST,
    FAST_SYNC_READ,
    PING,
    READ,
    REBOOT,
    SYNC_READ,
    SYNC_WRITE,
    WRITE,
    DynamixelWire,
    FeetechWire,
    Instruction,
    ServoWire,
    crc16,
)
from robot_sim.servos import OVERLOAD, STS3215, VOLTAGE, XL330, EmulatedServo, ServoModel
from testkit.wording import refusal

RATE = 1_000_000
NS = 1_000_000_000


class Line:
    """Three servos, and the host that sends them requests."""

    def __init__(self, model: ServoModel) -> None:
        self.model = model
        self.servos = [EmulatedServo(model, i + 1, name=name) for i, name in enumerate("abc")]
        self.bus = ServoBus(self.servos)
        self.size = self.bus.wire.address_bytes

    def place(self, register: str, *, count: bool = False) -> bytes:
        """Return the address of a register, and with `count` its size, as parameters."""
        address, size = self.model.registers[register]
        numbers = (address, size) if count else (address,)
        return b"".join(number.to_bytes(self.size, "little") for number in numbers)

    def value(self, register: str, value: int) -> bytes:
        return value.to_bytes(self.model.registers[register][1], "little")

    def ask(
        self, servo_id: int, code: int, parameters: bytes = b"", rate: int = RATE
    ) -> list[ServoReply]:
        packet = self.bus.wire.instruction(servo_id, code, parameters)
        return self.bus.exchange(packet, rate)

    def write(self, servo_id: int, register: str, value: int) -> list[ServoReply]:
        return self.ask(servo_id, WRITE, self.place(register) + self.value(register, value))

    def status(self, servo_id: int, error: int = 0, parameters: bytes = b"") -> bytes:
        return self.bus.wire.status(servo_id, error, parameters)

    def fails(self, *texts: str, at_s: float = 1.0) -> None:
        self.bus.plan(ServoFault.parse_all(texts))
        self.bus.pass_time(round(at_s * NS))


def data(answers: Sequence[ServoReply]) -> list[bytes]:
    return [answer.data for answer in answers]


@pytest.fixture(params=[STS3215, XL330], ids=["feetech", "dynamixel"])
def line(request: pytest.FixtureRequest) -> Line:
    return Line(request.param)


def test_a_ping_is_answered_and_a_broadcast_ping_by_all(line: Line) -> None:
    number = b"" if line.model is STS3215 else bytes([0xB0, 0x04, 46])
    assert data(line.ask(2, PING)) == [line.status(2, 0, number)]
    assert data(line.ask(BROADCAST, PING)) == [line.status(i, 0, number) for i in (1, 2, 3)]
    assert line.ask(9, PING) == []


def test_registers_are_written_and_read(line: Line) -> None:
    assert data(line.write(2, "goal", 1500)) == [line.status(2)]
    assert data(line.ask(2, READ, line.place("goal", count=True))) == [
        line.status(2, 0, line.value("goal", 1500))
    ]
    assert [servo.get("goal") for servo in line.servos] == [2048, 1500, 2048]


def test_a_sync_write_reaches_each_and_a_sync_read_asks_each_in_turn(line: Line) -> None:
    rows = b"".join(bytes([i]) + line.value("goal", 1000 + i) for i in (1, 3))
    assert line.ask(BROADCAST, SYNC_WRITE, line.place("goal", count=True) + rows) == []
    assert [servo.get("goal") for servo in line.servos] == [1001, 2048, 1003]
    asked = line.place("goal", count=True) + bytes([3, 1])
    assert data(line.ask(BROADCAST, SYNC_READ, asked)) == [
        line.status(i, 0, line.value("goal", 1000 + i)) for i in (3, 1)
    ]


def test_a_fast_sync_read_is_one_packet_of_all() -> None:
    line = Line(XL330)
    asked = line.place("position", count=True) + bytes([1, 2])
    (answer,) = line.ask(BROADCAST, FAST_SYNC_READ, asked)
    at = (2048).to_bytes(4, "little")
    packet = bytes.fromhex("ff ff fd 00 fe 11 00 55 00 01") + at
    packet += crc16(packet).to_bytes(2, "little") + b"\x00\x02" + at
    assert answer.data == packet + crc16(packet).to_bytes(2, "little")


def test_torque_locks_the_eeprom_of_one_family_and_a_register_that_of_the_other() -> None:
    feetech, dynamixel = Line(STS3215), Line(XL330)
    for line in (feetech, dynamixel):
        line.write(1, "torque_on", 1)
    assert data(dynamixel.write(1, "homing", 5)) == [dynamixel.status(1, 7)]
    feetech.write(1, "homing", 5)
    assert feetech.servos[0].get("homing") == 5
    feetech.servos[0].lose_power()
    assert feetech.servos[0].get("homing") == 0
    feetech.write(1, "lock", 0)
    feetech.write(1, "homing", 5)
    feetech.servos[0].lose_power()
    assert feetech.servos[0].get("homing") == 5


def test_a_servo_is_limp_without_torque_and_after_its_power_was_lost(line: Line) -> None:
    servo = line.servos[0]
    assert servo.stiffness == 0.0
    line.write(1, "torque_on", 1)
    assert servo.stiffness > 0.0
    servo.sense(1234.0)
    servo.lose_power()
    assert servo.stiffness == 0.0
    assert servo.get("goal") == servo.get("position") == 1234


def test_a_load_that_is_too_large_for_too_long_is_protected_against() -> None:
    line = Line(STS3215)
    servo = line.servos[0]
    line.write(1, "torque_on", 1)
    line.write(1, "overload_torque", 25)
    for _ in range(19):
        servo.sense(2048.0, 0.0, 0.4, 0.1)
    assert servo.limit == 1.0
    for _ in range(3):
        servo.sense(2048.0, 0.0, 0.4, 0.1)
    assert servo.limit == pytest.approx(0.2)
    assert data(line.ask(1, PING)) == [line.status(1, OVERLOAD)]


def test_another_rate_is_not_heard(line: Line) -> None:
    assert line.ask(1, PING, rate=115_200) == []
    line.fails("baud:b=115200")
    assert line.ask(2, PING) == []
    assert len(line.ask(2, PING, rate=115_200)) == 1
    assert len(line.ask(1, PING)) == 1


def test_a_silent_servo_ends_a_sync_read(line: Line) -> None:
    line.fails("silent:b@0+2")
    asked = line.place("position", count=True) + bytes([1, 2, 3])
    assert data(line.ask(2, PING)) == [b""]
    assert len(line.ask(BROADCAST, SYNC_READ, asked)) == 1
    line.bus.pass_time(3 * NS)
    assert len(line.ask(BROADCAST, SYNC_READ, asked)) == 3


def test_faults_spoil_delay_and_change_answers(line: Line) -> None:
    (good,) = data(line.ask(1, PING))
    line.fails("checksum:a")
    (spoilt,) = data(line.ask(1, PING))
    assert spoilt[:-1] == good[:-1]
    assert spoilt != good
    line.fails("late:all=0.2")
    assert all(answer.delay_s >= 0.2 for answer in line.ask(BROADCAST, PING))
    line.fails("voltage:b=3")
    assert line.servos[1].get("voltage") == 30
    line.servos[1].sense(2048.0)
    assert line.servos[1].get("status") == VOLTAGE
    line.fails("overload:c")
    line.servos[2].sense(2048.0)
    assert line.servos[2].get("status") == OVERLOAD
    (answer,) = line.ask(3, PING)
    assert answer.data[4 if line.model is STS3215 else 8] == (
        OVERLOAD if line.model is STS3215 else 0x80
    )


def test_swapped_servos_answer_for_each_other(line: Line) -> None:
    line.fails("swap:a=3")
    line.write(1, "goal", 1111)
    assert [servo.get("goal") for servo in line.servos] == [2048, 2048, 1111]


def test_a_restarted_servo_is_silent_and_then_limp(line: Line) -> None:
    line.write(1, "torque_on", 1)
    line.fails("restart:a@0+2")
    assert line.ask(1, PING) == []
    line.bus.pass_time(3 * NS)
    assert len(line.ask(1, PING)) == 1
    assert line.servos[0].stiffness == 0.0


@pytest.mark.parametrize("text", ["silent:gripper", "late:a=5", "silent:a=5", "melts:a"])
def test_a_fault_that_cannot_be_is_refused(text: str) -> None:
    with refusal(SimError):
        Line(STS3215).fails(text)


def test_a_reboot_is_as_switching_on() -> None:
    line = Line(XL330)
    line.write(1, "torque_on", 1)
    assert data(line.ask(1, REBOOT)) == [line.status(1)]
    assert line.servos[0].get("torque_on") == 0


GOALS, GOAL = "2a 02 01 00 08 02 00 04", "74 00 00 02 00 00"
POSITIONS = "84 00 04 00 01 02"
INSTRUCTIONS = [
    # Feetech: communication protocol manual of the SMS and STS servos.
    (FeetechWire, "ff ff 01 02 01 fb", 1, PING, ""),
    (FeetechWire, "ff ff 01 04 02 38 02 be", 1, READ, "38 02"),
    (FeetechWire, "ff ff 01 04 03 28 01 ce", 1, WRITE, "28 01"),
    (FeetechWire, "ff ff fe 08 82 38 02 01 02 03 04 33", 0xFE, SYNC_READ, "38 02 01 02 03 04"),
    (FeetechWire, f"ff ff fe 0a 83 {GOALS} 39", 0xFE, SYNC_WRITE, GOALS),
    # ROBOTIS e-Manual, protocol 2.0.
    (DynamixelWire, "ff ff fd 00 01 03 00 01 19 4e", 1, PING, ""),
    (DynamixelWire, "ff ff fd 00 01 07 00 02 84 00 04 00 1d 15", 1, READ, "84 00 04 00"),
    (DynamixelWire, f"ff ff fd 00 01 09 00 03 {GOAL} ca 89", 1, WRITE, GOAL),
    (DynamixelWire, f"ff ff fd 00 fe 09 00 82 {POSITIONS} ce fa", 0xFE, SYNC_READ, POSITIONS),
]
ANSWERS = [
    (FeetechWire, "ff ff 01 02 00 fc", (1, 0, b"")),
    (FeetechWire, "ff ff 01 04 00 18 05 dd", (1, 0, bytes([0x18, 0x05]))),
    (DynamixelWire, "ff ff fd 00 01 07 00 55 00 06 04 26 65 5d", (1, 0, b"\x06\x04\x26")),
    (DynamixelWire, "ff ff fd 00 01 08 00 55 00 a6 00 00 00 8c c0", (1, 0, b"\xa6\0\0\0")),
    (DynamixelWire, "ff ff fd 00 01 04 00 55 00 a1 0c", (1, 0, b"")),
]


@pytest.mark.parametrize(("wire", "packet", "servo_id", "code", "parameters"), INSTRUCTIONS)
def test_instructions_are_the_bytes_of_the_documents(
    wire: type[ServoWire], packet: str, servo_id: int, code: int, parameters: str
) -> None:
    meant = Instruction(servo_id, code, bytes.fromhex(parameters))
    assert wire().instruction(*meant) == bytes.fromhex(packet)
    assert wire().feed(bytes.fromhex(packet)) == [meant]


@pytest.mark.parametrize(("wire", "packet", "meant"), ANSWERS)
def test_answers_are_the_bytes_of_the_documents(
    wire: type[ServoWire], packet: str, meant: tuple[int, int, bytes]
) -> None:
    assert wire().status(*meant) == bytes.fromhex(packet)


@pytest.mark.parametrize("wire", [FeetechWire, DynamixelWire])
def test_packets_come_in_any_pieces(wire: type[ServoWire]) -> None:
    line = wire()
    packets = wire().instruction(1, READ, b"\x38\x02") + wire().instruction(2, PING)
    found = [instruction for byte in packets for instruction in line.feed(bytes([byte]))]
    assert found == [Instruction(1, READ, b"\x38\x02"), Instruction(2, PING, b"")]
    assert line.dropped == 0


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


def test_a_header_among_parameters_is_stuffed() -> None:
    wire, parameters = DynamixelWire(), b"\x74\x00\xff\xff\xfd\x00"
    packet = wire.instruction(1, WRITE, parameters)
    assert b"\xff\xff\xfd\xfd\x00" in packet
    assert wire.feed(packet) == [Instruction(1, WRITE, parameters)]


PAN = 0


@pytest.fixture(params=list(FAMILIES))
def arm_servos(request: pytest.FixtureRequest) -> ArmServos:
    return ArmServos(request.param, seed=3)


def simulate(servos: ArmServos, world: ArmWorld, seconds: float) -> None:
    for _ in range(round(seconds * world.steps_per_s / 4)):
        servos.drive(world)
        world.advance(4)


def calibration(servos: ArmServos, folder: Path) -> dict[str, Any]:
    servos.save_calibration(folder / "arm.json")
    read: dict[str, Any] = json.loads((folder / "arm.json").read_text())
    return read


def test_servos_report_the_joints_as_the_calibration_file_counts_them(
    arm_servos: ArmServos, tmp_path: Path
) -> None:
    world, arm = ArmWorld(), calibration(arm_servos, tmp_path)
    arm_servos.drive(world)
    for servo, at_rad in zip(arm_servos.bus.servos, world.sense().joint_pos, strict=True):
        row = arm[servo.name]
        assert row["homing_offset"] == servo.get("homing")
        assert (row["range_min"], row["range_max"]) == (servo.get("lowest"), servo.get("highest"))
        rad = (servo.get("position") - (row["range_min"] + row["range_max"]) / 2) * np.pi / 2048
        middle = 0.785398 if servo.name == "gripper" else 0.0
        assert rad + middle == pytest.approx(at_rad, abs=0.002)


def test_another_arm_has_another_calibration(tmp_path: Path) -> None:
    one, other = (calibration(ArmServos(seed=seed), tmp_path) for seed in (1, 2))
    assert all(one[name]["homing_offset"] != other[name]["homing_offset"] for name in one)
    assert all(one[name]["range_min"] == other[name]["range_min"] for name in one)


def test_servos_hold_the_arm_and_without_torque_it_sinks(arm_servos: ArmServos) -> None:
    world = ArmWorld()
    arm_servos.hold(world)
    simulate(arm_servos, world, 1.0)
    assert world.sense().joint_pos == pytest.approx(SO101.home_rad, abs=0.06)
    for servo in arm_servos.bus.servos:
        servo.put("torque_on", 0)
    simulate(arm_servos, world, 1.0)
    assert np.abs(world.sense().joint_pos - SO101.home_rad).max() > 0.3


def test_a_goal_moves_its_joint_and_the_servo_reports_speed_and_load(arm_servos: ArmServos) -> None:
    world = ArmWorld()
    arm_servos.hold(world)
    arm_servos.drive(world)
    pan = arm_servos.bus.servos[PAN]
    pan.put("goal", pan.get("position") + 400)
    simulate(arm_servos, world, 0.1)
    assert pan.get("velocity") > 100
    assert pan.get("load") > 20
    simulate(arm_servos, world, 1.5)
    assert world.sense().joint_pos[PAN] == pytest.approx(400 * 2 * np.pi / 4096, abs=0.02)


def test_a_servo_without_power_lets_its_joint_go(arm_servos: ArmServos) -> None:
    world = ArmWorld()
    arm_servos.hold(world)
    arm_servos.bus.plan([ServoFault.parse("restart:shoulder_lift@0.1+0.2")])
    simulate(arm_servos, world, 5.0)
    assert arm_servos.bus.servos[1].get("torque_on") == 0
    assert abs(world.sense().joint_pos[1] - SO101.home_rad[1]) > 0.2


def test_servos_that_do_not_exist_are_refused() -> None:
    with refusal(SimError):
        ArmServos("mg996r")


@pytest.fixture
def servo_port(tmp_path: Path) -> Iterator[ServoPort]:
    port = ServoPort(ArmServos().bus, tmp_path / "port")
    yield port
    port.close()


def open_serial(name: Path, rate: int) -> int:
    line = os.open(name, os.O_RDWR | os.O_NOCTTY)
    settings = termios.tcgetattr(line)
    settings[4] = settings[5] = rate
    termios.tcsetattr(line, termios.TCSANOW, settings)
    return line


def test_a_port_answers_at_its_rate_and_is_deaf_at_others(
    servo_port: ServoPort, tmp_path: Path
) -> None:
    line = open_serial(tmp_path / "port", termios.B115200)
    ping = FeetechWire().instruction(2, PING)
    os.write(line, ping)
    assert select.select([line], [], [], 0.2)[0] == []
    os.close(line)
    line = open_serial(tmp_path / "port", termios.B1000000)
    os.write(line, ping)
    answer = b""
    while len(answer) < 6:
        answer += os.read(line, 6)
    os.close(line)
    assert answer == FeetechWire().status(2, 0)
