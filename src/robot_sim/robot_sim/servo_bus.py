# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Servos on a bus, with faults: request bytes in, replies out.

Faults are written as in `robot_sim.faults`: `kind:servo[@start_s][+duration_s][=value]`. The servo
is given by its joint's name, or as `all`:

====================  =============================================================================
`silent:servo`        the servo does not reply
`checksum:servo`      the servo's replies have a wrong checksum
`late:servo=seconds`  the servo's replies arrive this much later (up to 1 s)
`baud:servo=rate`     the servo is set to this rate, and receives nothing at other rates
`overload:servo`      the servo reports an overload
`voltage:servo=volt`  the servo measures this voltage
`misread:servo=rad`   this offset is added to the positions that the servo reports
`swap:servo=id`       the servo and the one with this id exchange ids
`restart:servo`       the servo loses power, then behaves as after power-on
====================  =============================================================================
"""

import math
import os
import select
import termios
import threading
import time
import tty
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, NamedTuple

from robot_sim.errors import SimError
from robot_sim.faults import Fault
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
    crc16,
)
from robot_sim.servos import OVERLOAD, TURN_TICKS, EmulatedServo

ALL: Final = "all"
_VALUED: Final = ("late", "baud", "voltage", "misread", "swap")
_LONGEST_LATE_S: Final = 1.0
_DELAY_S: Final = 2e-6
"""Unit of the register `return_delay`."""
_UNKNOWN_INSTRUCTION: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ServoFault(Fault):
    """A fault of one servo or of all; the bus checks the servo's name."""

    targets: ClassVar[Mapping[str, tuple[str, ...]]] = dict.fromkeys(
        (*_VALUED, "silent", "checksum", "overload", "restart"), ()
    )
    with_value: ClassVar[tuple[str, ...]] = _VALUED

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if self.kind == "late" and self.value > _LONGEST_LATE_S:
            raise SimError(
                f"fault late: expected at most {_LONGEST_LATE_S:g} s, found {self.value:g}"
            )


class ServoReply(NamedTuple):
    """Bytes that a servo sends, and their delay from the request."""

    delay_s: float
    data: bytes


class ServoBus:
    """Servos of one family on a bus. Two threads may use it: one replies, one moves the servos.

    Attributes:
        servos: Servos, in the order of their ids.
        wire: The protocol of the bus.
    """

    def __init__(self, servos: Sequence[EmulatedServo]) -> None:
        self.servos = tuple(servos)
        self.wire = DynamixelWire() if servos[0].model.twos_complement else FeetechWire()
        self.lock = threading.Lock()
        self._faults: list[ServoFault] = []
        self._active: list[ServoFault] = []
        self._volts = {servo.name: servo.get("voltage") for servo in servos}

    def plan(self, faults: Iterable[ServoFault]) -> None:
        planned = list(faults)
        names = (ALL, *(servo.name for servo in self.servos))
        for fault in planned:
            if fault.target not in names:
                raise SimError(
                    f"fault {fault.kind}: expected one of {', '.join(names)}, found "
                    f"'{fault.target}'"
                )
        with self.lock:
            self._faults = planned

    def pass_time(self, now_ns: int) -> None:
        """Begin and end faults at a simulated time; call before the servos advance."""
        with self.lock:
            before, self._active = self._active, [f for f in self._faults if f.active(now_ns)]
            for servo in self.servos:
                active = dict(self._read_figures(servo))
                servo.wrong = OVERLOAD if "overload" in active else 0
                volts = active.get("voltage")
                usual = self._volts[servo.name]
                servo.put("voltage", usual if volts is None else round(10.0 * volts))
                servo.misread = round(active.get("misread", 0.0) * TURN_TICKS / (2.0 * math.pi))
                was_off = any(f.kind == "restart" and f.target in (ALL, servo.name) for f in before)
                if was_off and "restart" not in active:
                    servo.lose_power()
                elif "restart" in active:
                    servo.put("torque_on", 0)

    def exchange(self, data: bytes, baud: int) -> list[ServoReply]:
        """Process bytes received at a baud rate; return the replies, in order."""
        with self.lock:
            return [
                answer
                for instruction in self.wire.feed(data)
                for answer in self._answers(instruction, baud)
            ]

    def _answers(self, asked: Instruction, baud: int) -> Iterator[ServoReply]:
        hearing = {self._number(servo): servo for servo in self.servos if self._hears(servo, baud)}
        if asked.code in (SYNC_READ, FAST_SYNC_READ):
            yield from self._sync_read(asked, hearing)
        elif asked.code == SYNC_WRITE:
            self._sync_write(asked.parameters, hearing)
        else:
            for number, servo in sorted(hearing.items()):
                if asked.servo_id in (number, BROADCAST):
                    answer = self._act(servo, asked)
                    if answer is not None and (asked.servo_id != BROADCAST or asked.code == PING):
                        # the id in the request, even if the request has just changed it
                        yield self._answer(servo, number, *answer)

    def _act(self, servo: EmulatedServo, asked: Instruction) -> tuple[int, bytes] | None:
        """Execute a request; return the reply's error and parameters, or None for no reply."""
        size, parameters = self.wire.address_bytes, asked.parameters
        address = int.from_bytes(parameters[:size], "little")
        level = servo.get("answer_level")
        # The return delay applies to reads only (Feetech) or to pings only (Dynamixel).
        reads, writes = (level >= 1, level >= 2) if servo.model.locks else (True, level >= 1)
        if asked.code == PING:
            model = b""
            if servo.model.locks:
                model = servo.read(servo.model.registers["model"][0], 2) + bytes(
                    [servo.get("firmware")]
                )
            return 0, model
        if asked.code == READ:
            count = int.from_bytes(parameters[size : 2 * size], "little")
            return (0, servo.read(address, count)) if reads else None
        error = 0
        if asked.code == WRITE:
            error = servo.write(address, parameters[size:])
        elif asked.code == REBOOT:
            servo.lose_power()
        elif servo.model.locks:
            error = _UNKNOWN_INSTRUCTION
        else:
            return None
        return (error, b"") if writes else None

    def _sync_read(
        self, asked: Instruction, hearing: Mapping[int, EmulatedServo]
    ) -> Iterator[ServoReply]:
        size = self.wire.address_bytes
        address, count = (
            int.from_bytes(asked.parameters[i * size : (i + 1) * size], "little") for i in (0, 1)
        )
        numbers = asked.parameters[2 * size :]
        if asked.code == FAST_SYNC_READ:
            yield from self._fast_sync_read(address, count, numbers, hearing)
            return
        for number in numbers:
            # Servos reply in turn: if one is silent, all later ones are too.
            if number not in hearing or "silent" in dict(self._read_figures(hearing[number])):
                return
            servo = hearing[number]
            yield self._answer(servo, number, 0, servo.read(address, count))

    def _fast_sync_read(
        self, address: int, count: int, numbers: bytes, hearing: Mapping[int, EmulatedServo]
    ) -> Iterator[ServoReply]:
        """Yield the single protocol 2.0 packet that all servos assemble together.

        Each servo adds its error, its id, its values and a CRC over the packet so far.
        """
        if not all(number in hearing for number in numbers):
            return
        length = len(numbers) * (count + 4) + 1
        packet = self.wire.head + bytes([BROADCAST]) + length.to_bytes(2, "little") + b"\x55"
        for number in numbers:
            servo = hearing[number]
            packet += bytes([self._error(servo, 0), number]) + servo.read(address, count)
            packet += crc16(packet).to_bytes(2, "little")
        yield ServoReply(_DELAY_S * hearing[numbers[0]].get("return_delay"), packet)

    def _sync_write(self, parameters: bytes, hearing: Mapping[int, EmulatedServo]) -> None:
        size = self.wire.address_bytes
        address, count = (
            int.from_bytes(parameters[i * size : (i + 1) * size], "little") for i in (0, 1)
        )
        rows = parameters[2 * size :]
        for start in range(0, len(rows), count + 1):
            if rows[start] in hearing:
                hearing[rows[start]].write(address, rows[start + 1 : start + 1 + count])

    def _answer(
        self, servo: EmulatedServo, number: int, error: int, parameters: bytes
    ) -> ServoReply:
        active = dict(self._read_figures(servo))
        data = self.wire.status(number, self._error(servo, error), parameters)
        if "silent" in active:
            data = b""
        if "checksum" in active:
            data = data[:-1] + bytes([data[-1] ^ 0x55])
        delay_s = _DELAY_S * servo.get("return_delay") + active.get("late", 0.0)
        return ServoReply(delay_s, data)

    def _error(self, servo: EmulatedServo, error: int) -> int:
        alert = servo.model.alert
        if alert:
            return error | (alert if servo.status else 0)
        return error | servo.status

    def _hears(self, servo: EmulatedServo, baud: int) -> bool:
        active = dict(self._read_figures(servo))
        own = active.get("baud", servo.model.baud.get(servo.get("baud")))
        return own == baud and "restart" not in active

    def _number(self, servo: EmulatedServo) -> int:
        """Return the id to which a servo replies."""
        own = servo.get("id")
        for fault in self._active:
            if fault.kind != "swap":
                continue
            one = next(each.get("id") for each in self.servos if each.name == fault.target)
            if own in (one, round(fault.value)):
                return round(fault.value) if own == one else one
        return own

    def _read_figures(self, servo: EmulatedServo) -> Iterator[tuple[str, float]]:
        return (
            (fault.kind, fault.value)
            for fault in self._active
            if fault.target in (ALL, servo.name) and fault.kind != "swap"
        )


_RATES: Final = {
    getattr(termios, f"B{rate}"): rate
    for rate in (9600, 38400, 57600, 115200, 500000, 1000000, 2000000, 3000000, 4000000)
}
_PACKET_S: Final = 0.02
"""Time after which an incomplete packet is dropped."""
_MOST_BYTES: Final = 4096


class ServoPort:
    """A pseudo terminal that replies, on its own thread, until it is closed.

    Attributes:
        name: Name of the terminal, which a driver opens.
    """

    def __init__(self, bus: ServoBus, link: Path | None = None) -> None:
        """Open a terminal.

        Args:
            bus: The servos.
            link: Path of a symbolic link to the terminal; an existing link to a terminal is
                replaced.
        """
        self._bus, self._link = bus, link
        self._host, self._device = os.openpty()
        tty.setraw(self._device)
        self.name = os.ttyname(self._device)
        self._end, self._ends = os.pipe()
        try:
            if link is not None:
                _lead(link, self.name)
        except SimError:
            self._close()
            raise
        self._thread = threading.Thread(target=self._run, name="servo port", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close the terminal, which looks to a driver like an unplugged cable."""
        os.write(self._ends, b"e")
        self._thread.join()
        if self._link is not None:
            with suppress(OSError):
                self._link.unlink()
        self._close()

    def _close(self) -> None:
        for descriptor in (self._host, self._device, self._end, self._ends):
            os.close(descriptor)

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self._host, self._end], [], [], _PACKET_S)
            if self._end in ready:
                return
            if not ready:
                self._bus.wire.forget()
                continue
            data = os.read(self._host, _MOST_BYTES)
            for delay_s, answer in self._bus.exchange(data, self._rate()):
                if delay_s:
                    time.sleep(delay_s)
                os.write(self._host, answer)

    def _rate(self) -> int:
        """Return the baud rate that the driver has set, bit/s; 0 if unknown."""
        return _RATES.get(termios.tcgetattr(self._device)[5], 0)


def _lead(link: Path, name: str) -> None:
    try:
        if link.is_symlink():
            link.unlink()
        link.symlink_to(name)
    except OSError as error:
        raise SimError(
            f"port: expected a path where a link to the servo bus can be made, found {link} "
            f"({error.strerror}); choose another one"
        ) from None
