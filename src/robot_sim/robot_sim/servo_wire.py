# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Packets of the two servo protocols of LeRobot's arms, as a servo sees them.

Feetech, protocol 0 (communication protocol manual of the STS and SMS servos)::

    FF FF  id  length  instruction  parameters...  checksum      length: parameters + 2
    FF FF  id  length  error        parameters...  checksum      checksum: ~(id + ... ) & FF

Dynamixel, protocol 2.0 (ROBOTIS e-Manual)::

    FF FF FD 00  id  length  instruction       parameters...  CRC-16    length: parameters + 3
    FF FF FD 00  id  length  55         error  parameters...  CRC-16    length: parameters + 4

In protocol 2.0, length and CRC have two bytes, the low one first. The CRC has the polynomial 8005
and covers all bytes before it. FF FF FD within the instruction and parameters is followed by an
extra FD.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Final, NamedTuple

BROADCAST: Final = 0xFE
PING, READ, WRITE, REBOOT = 0x01, 0x02, 0x03, 0x08
SYNC_READ, SYNC_WRITE, FAST_SYNC_READ = 0x82, 0x83, 0x8A
_STATUS: Final = 0x55
_HEADER: Final = b"\xff\xff\xfd"


class Instruction(NamedTuple):
    """The request in a packet, to one servo or to all."""

    servo_id: int
    code: int
    parameters: bytes


class ServoWire(ABC):
    """Finds packets in a byte stream; drops other bytes.

    Attributes:
        dropped: Number of bytes outside packets.
        address_bytes: Size in bytes of an address, and of a byte count, in parameters.
    """

    head: ClassVar[bytes]
    address_bytes: ClassVar[int]

    def __init__(self) -> None:
        self._heard = bytearray()
        self.dropped = 0

    def feed(self, data: bytes) -> list[Instruction]:
        """Add received bytes; return the instructions that they complete."""
        heard = self._heard
        heard += data
        found: list[Instruction] = []
        while (start := heard.find(self.head)) >= 0:
            self._drop(start)
            size = self._size(heard)
            if size is None or len(heard) < size:
                return found
            instruction = self._read(bytes(heard[:size]))
            if instruction is None:
                self._drop(1)  # an apparent packet may contain a real one
            else:
                del heard[:size]
                found.append(instruction)
        # the header may be incomplete
        self._drop(max(0, len(heard) - len(self.head) + 1))
        return found

    def forget(self) -> None:
        """Drop an incomplete packet, the rest of which is overdue."""
        self._drop(len(self._heard))

    @abstractmethod
    def instruction(self, servo_id: int, code: int, parameters: bytes = b"") -> bytes:
        """Return the packet that carries an instruction."""

    @abstractmethod
    def status(self, servo_id: int, error: int, parameters: bytes = b"") -> bytes:
        """Return the packet that carries a reply."""

    @abstractmethod
    def _size(self, packet: bytearray) -> int | None:
        """Return the length of the packet that begins here; None if that is not known yet."""

    @abstractmethod
    def _read(self, packet: bytes) -> Instruction | None:
        """Return the instruction in a packet; None if the packet is damaged."""

    def _drop(self, count: int) -> None:
        self.dropped += count
        del self._heard[:count]


class FeetechWire(ServoWire):
    """Feetech's protocol 0."""

    head = b"\xff\xff"
    address_bytes = 1

    def instruction(self, servo_id: int, code: int, parameters: bytes = b"") -> bytes:
        content = bytes([servo_id, len(parameters) + 2, code]) + parameters
        return self.head + content + bytes([_checksum(content)])

    def status(self, servo_id: int, error: int, parameters: bytes = b"") -> bytes:
        """Return a reply's packet, in which the error replaces the instruction code."""
        return self.instruction(servo_id, error, parameters)

    def _size(self, packet: bytearray) -> int | None:
        if len(packet) > 2 and packet[2] == 0xFF:
            return 3  # the packet starts later
        return 4 + packet[3] if len(packet) > 3 else None

    def _read(self, packet: bytes) -> Instruction | None:
        if len(packet) < 6 or _checksum(packet[2:-1]) != packet[-1]:
            return None
        return Instruction(packet[2], packet[4], packet[5:-1])


class DynamixelWire(ServoWire):
    """ROBOTIS's protocol 2.0."""

    head = _HEADER + b"\x00"
    address_bytes = 2

    def instruction(self, servo_id: int, code: int, parameters: bytes = b"") -> bytes:
        content = (bytes([code]) + parameters).replace(_HEADER, _HEADER + b"\xfd")
        packet = self.head + bytes([servo_id]) + (len(content) + 2).to_bytes(2, "little") + content
        return packet + crc16(packet).to_bytes(2, "little")

    def status(self, servo_id: int, error: int, parameters: bytes = b"") -> bytes:
        return self.instruction(servo_id, _STATUS, bytes([error]) + parameters)

    def _size(self, packet: bytearray) -> int | None:
        return 7 + int.from_bytes(packet[5:7], "little") if len(packet) > 6 else None

    def _read(self, packet: bytes) -> Instruction | None:
        if len(packet) < 10 or crc16(packet[:-2]) != int.from_bytes(packet[-2:], "little"):
            return None
        content = packet[7:-2].replace(_HEADER + b"\xfd", _HEADER)
        return Instruction(packet[4], content[0], content[1:])


def _checksum(content: bytes) -> int:
    return ~sum(content) & 0xFF


def crc16(data: bytes) -> int:
    value = 0
    for byte in data:
        value = (value << 8 & 0xFFFF) ^ _CRC[value >> 8 ^ byte]
    return value


def _crc_step(byte: int) -> int:
    value = byte << 8
    for _ in range(8):
        value = (value << 1 ^ 0x8005) if value & 0x8000 else value << 1
    return value & 0xFFFF


_CRC: Final = tuple(_crc_step(byte) for byte in range(256))
