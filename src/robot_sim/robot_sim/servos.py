# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Position servos as seen from their bus: a register table, and its effect on the servo.

Sources: Feetech, memory table of the magnetic-encoder STS servos; ROBOTIS e-Manual, XL430-W250 and
XL330-M288. Registers that no LeRobot arm uses are plain memory.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

TURN_TICKS: Final = 4096
MIDDLE: Final = 2048
VOLTAGE, OVERLOAD = 1 << 0, 1 << 5
"""Error bits, which are the same in both families."""
_FULL: Final = 1000
"""Register value that means full load or full torque."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServoModel:
    """A servo model.

    Attributes:
        name: Name under which the servo is sold.
        registers: Address and size in bytes, by name; the names are the same here for both
            families.
        initial: Initial values other than 0.
        eeprom_end: Registers below this address keep their values without power.
        read_only: Registers that a packet cannot change.
        signed: Sign bit of each register that is stored as sign and magnitude.
        twos_complement: True if the signed registers are stored as two's complement instead.
        position_mode: Operating mode in which the position limits clip goals.
        homing_sign: Sign with which the homing offset enters the reported position.
        baud: Baud rate by register value.
        locks: True if EEPROM writes are refused while torque is on; if not, the register `lock`
            decides whether writes are permanent.
        alert: Bit of a reply's error that reports any hardware error; 0 if all error bits are sent.
        gain: Register of the proportional gain.
        nominal_gain: Gain at which `EmulatedServo.stiffness` is 1.
    """

    name: str
    registers: Mapping[str, tuple[int, int]]
    initial: Mapping[str, int]
    eeprom_end: int
    read_only: frozenset[str]
    signed: Mapping[str, int]
    twos_complement: bool
    position_mode: int
    homing_sign: int
    baud: Mapping[int, int]
    locks: bool
    alert: int
    gain: str
    nominal_gain: int


_PRESENT: Final = frozenset(
    {"position", "velocity", "load", "voltage", "temperature", "status", "moving", "model"}
)
STS3215: Final = ServoModel(
    name="STS3215",
    registers={
        "firmware": (0, 2),
        "model": (3, 2),
        "id": (5, 1),
        "baud": (6, 1),
        "return_delay": (7, 1),
        "answer_level": (8, 1),
        "lowest": (9, 2),
        "highest": (11, 2),
        "voltage_max": (14, 1),
        "voltage_min": (15, 1),
        "torque_max": (16, 2),
        "p_gain": (21, 1),
        "d_gain": (22, 1),
        "i_gain": (23, 1),
        "homing": (31, 2),
        "mode": (33, 1),
        "protective_torque": (34, 1),
        "protection_time": (35, 1),
        "overload_torque": (36, 1),
        "torque_on": (40, 1),
        "acceleration": (41, 1),
        "goal": (42, 2),
        "goal_velocity": (46, 2),
        "torque_limit": (48, 2),
        "lock": (55, 1),
        "position": (56, 2),
        "velocity": (58, 2),
        "load": (60, 2),
        "voltage": (62, 1),
        "temperature": (63, 1),
        "status": (65, 1),
        "moving": (66, 1),
        "current": (69, 2),
    },
    initial={
        "firmware": 3 | 9 << 8,
        "model": 777,
        "id": 1,
        "return_delay": 250,
        "answer_level": 1,
        "highest": TURN_TICKS - 1,
        "voltage_max": 80,
        "voltage_min": 40,
        "torque_max": _FULL,
        "p_gain": 32,
        "d_gain": 32,
        "protective_torque": 20,
        "protection_time": 200,
        "overload_torque": 80,
        "torque_limit": _FULL,
        "lock": 1,
        "voltage": 74,
        "temperature": 30,
    },
    eeprom_end=40,
    read_only=_PRESENT | {"firmware", "current"},
    signed={"homing": 11, "goal": 15, "position": 15, "velocity": 15, "load": 10},
    twos_complement=False,
    position_mode=0,
    homing_sign=-1,
    baud={
        0: 1_000_000,
        1: 500_000,
        2: 250_000,
        3: 128_000,
        4: 115_200,
        5: 76_800,
        6: 57_600,
        7: 38_400,
    },
    locks=False,
    alert=0,
    gain="p_gain",
    nominal_gain=16,
)
_X_REGISTERS: Final = {
    "model": (0, 2),
    "firmware": (6, 1),
    "id": (7, 1),
    "baud": (8, 1),
    "return_delay": (9, 1),
    "drive_mode": (10, 1),
    "mode": (11, 1),
    "homing": (20, 4),
    "voltage_max": (32, 2),
    "voltage_min": (34, 2),
    "highest": (48, 4),
    "lowest": (52, 4),
    "shutdown": (63, 1),
    "torque_on": (64, 1),
    "answer_level": (68, 1),
    "status": (70, 1),
    "d_gain": (80, 2),
    "i_gain": (82, 2),
    "p_gain": (84, 2),
    "goal_current": (102, 2),
    "goal": (116, 4),
    "moving": (122, 1),
    "load": (126, 2),
    "velocity": (128, 4),
    "position": (132, 4),
    "voltage": (144, 2),
    "temperature": (146, 1),
}


def _x_series(name: str, number: int, p_gain: int, volts: tuple[int, int, int]) -> ServoModel:
    lowest, usual, highest = volts
    return ServoModel(
        name=name,
        registers=_X_REGISTERS,
        initial={
            "model": number,
            "firmware": 46,
            "id": 1,
            "baud": 1,
            "return_delay": 250,
            "mode": 3,
            "voltage_max": highest,
            "voltage_min": lowest,
            "highest": TURN_TICKS - 1,
            "shutdown": 52,
            "answer_level": 2,
            "p_gain": p_gain,
            "voltage": usual,
            "temperature": 30,
        },
        eeprom_end=64,
        read_only=_PRESENT | {"firmware"},
        signed=dict.fromkeys(("homing", "goal", "position", "velocity", "load"), 0),
        twos_complement=True,
        position_mode=3,
        homing_sign=1,
        baud={0: 9600, 1: 57_600, 2: 115_200, 3: 1_000_000, 4: 2_000_000, 5: 3_000_000},
        locks=True,
        alert=0x80,
        gain="p_gain",
        nominal_gain=p_gain,
    )


XL430: Final = _x_series("XL430-W250", 1060, 640, (60, 120, 140))
XL330: Final = _x_series("XL330-M288", 1200, 400, (35, 50, 70))


class EmulatedServo:
    """One servo. The world reads `target` and `limit`, and reports the motion through `sense`.

    Attributes:
        model: The servo's model.
        name: Name of the joint that the servo turns.
        wrong: Error bits that the world adds.
        misread: Offset of the reported position, ticks; the servo itself uses the true position.
    """

    def __init__(self, model: ServoModel, servo_id: int, *, name: str = "") -> None:
        """Create a servo as delivered, but with this id and 1 Mbit/s.

        Args:
            model: The servo's model.
            servo_id: The servo's id on the bus.
            name: Name of the joint that the servo turns.
        """
        self.model, self.name = model, name
        self._memory = bytearray(256)
        self._overloaded_s = 0.0
        self._protects = False
        self.wrong = self.misread = 0
        self._absolute = float(MIDDLE)
        for register, value in model.initial.items():
            self.put(register, value)
        self.put("id", servo_id)
        self.put("baud", next(value for value, rate in model.baud.items() if rate == 1_000_000))
        self.keep()
        self.put("goal", self.get("position"))

    def get(self, register: str) -> int:
        address, size = self.model.registers[register]
        value = int.from_bytes(self._memory[address : address + size], "little")
        if register not in self.model.signed:
            return value
        if self.model.twos_complement:
            return value - (1 << 8 * size) if value >> (8 * size - 1) else value
        sign = 1 << self.model.signed[register]
        return -(value & ~sign) if value & sign else value

    def put(self, register: str, value: int) -> None:
        """Set a register, including registers that are read-only on the bus."""
        address, size = self.model.registers[register]
        if register in self.model.signed and not self.model.twos_complement and value < 0:
            value = -value | 1 << self.model.signed[register]
        mask = (1 << 8 * size) - 1
        self._memory[address : address + size] = (value & mask).to_bytes(size, "little")

    def read(self, address: int, count: int) -> bytes:
        """Read memory, as a request on the bus does."""
        if not self.misread:
            return bytes(self._memory[address : address + count])
        memory, position = bytes(self._memory), self.get("position")
        self.put("position", position + self.misread)
        answer = bytes(self._memory[address : address + count])
        self._memory[:] = memory
        return answer

    def write(self, address: int, data: bytes) -> int:
        """Write memory, as a request on the bus does; return an error number, or 0."""
        model = self.model
        if model.locks and self.get("torque_on") and address < model.eeprom_end:
            return _ACCESS
        read_only = {
            place
            for name in model.read_only
            for place in range(model.registers[name][0], sum(model.registers[name]))
        }
        if read_only & set(range(address, address + len(data))):
            return _ACCESS if model.locks else 0
        had_torque, position = self.get("torque_on"), self.get("position")
        before = bytes(self._memory)
        self._memory[address : address + len(data)] = data
        goes = address <= model.registers["goal"][0] < address + len(data)
        if model.locks and goes and self._within_limits() != self.get("goal"):
            self._memory[:] = before
            return _LIMIT
        if model.locks or not self.get("lock"):
            self.keep()
        if self.get("torque_on") and not had_torque:
            self._overloaded_s, self._protects = 0.0, False
            if model.locks:
                self.put("goal", position)
        self.sense(self._absolute)
        return 0

    @property
    def stiffness(self) -> float:
        """Fraction of the nominal stiffness; 0 while torque is off."""
        limp = not self.get("torque_on") or (self.model.locks and self.status & OVERLOAD)
        return 0.0 if limp else self.get(self.model.gain) / self.model.nominal_gain

    @property
    def limit(self) -> float:
        """Fraction of its maximum torque that the servo may exert."""
        if self.model.locks:
            return 1.0
        share = min(self.get("torque_limit"), self.get("torque_max")) / _FULL
        return min(share, self.get("protective_torque") / 100.0) if self._protects else share

    @property
    def target(self) -> float:
        """Goal position in ticks of the shaft, independent of homing."""
        return float(self._within_limits() - self.model.homing_sign * self.get("homing"))

    @property
    def status(self) -> int:
        low = self.get("voltage") < self.get("voltage_min")
        high = self.get("voltage") > self.get("voltage_max")
        return self.wrong | (VOLTAGE if low or high else 0) | (OVERLOAD if self._protects else 0)

    def sense(
        self, absolute: float, velocity: float = 0.0, load: float = 0.0, passed_s: float = 0.0
    ) -> None:
        """Update the measured state of the shaft.

        Args:
            absolute: Position of the shaft, ticks, independent of homing.
            velocity: Ticks per second.
            load: Signed fraction of the servo's maximum torque.
            passed_s: Time since the last call.
        """
        self._absolute = absolute
        position = round(absolute + self.model.homing_sign * self.get("homing"))
        self.put("position", position if self.model.twos_complement else position % TURN_TICKS)
        self.put("velocity", round(velocity))
        self.put("load", round(_FULL * load))
        if not self.model.locks:
            self._protect(abs(load), passed_s)
        self.put("status", self.status)

    def keep(self) -> None:
        """Make the current content of the EEPROM permanent."""
        self._kept = bytes(self._memory[: self.model.eeprom_end])
        self.sense(self._absolute)

    def lose_power(self) -> None:
        """Reset all memory but the EEPROM, as a loss of power does."""
        kept, model = self._kept, self.model
        self._memory[model.eeprom_end :] = bytes(len(self._memory) - model.eeprom_end)
        for register, value in model.initial.items():
            if model.registers[register][0] >= model.eeprom_end:
                self.put(register, value)
        self._memory[: model.eeprom_end] = kept
        self._overloaded_s, self._protects = 0.0, False
        self.sense(self._absolute)
        self.put("goal", self.get("position"))

    def _protect(self, load: float, passed_s: float) -> None:
        """Reduce the torque after a long overload."""
        if load <= self.get("overload_torque") / 100.0:
            self._overloaded_s = 0.0
        else:
            self._overloaded_s += passed_s
        if self._overloaded_s > 0.01 * self.get("protection_time"):
            self._protects = True

    def _within_limits(self) -> int:
        """Return the goal, clipped to the position limits in the mode that uses them."""
        goal = self.get("goal")
        if self.get("mode") != self.model.position_mode:
            return goal
        return min(max(goal, self.get("lowest")), self.get("highest"))


_LIMIT: Final = 6
_ACCESS: Final = 7
"""Error codes of protocol 2.0: data limit, access."""
