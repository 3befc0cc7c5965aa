# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A robot that is unlike any other here: three joints that hold instead of damping, on a bus.

The bus answers only when it is asked, so the transport asks on a thread of its own; nothing of it
is handed from one process to the other. `Arm` is the robot's end of it.
"""

from __future__ import annotations

import itertools
import os
import queue
import socket
import struct
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns, time_ns
from typing import NamedTuple

import numpy as np

from robot_driver.interfaces import (
    F64,
    MODE_HOLD_MEASURED,
    NS_PER_S,
    POSITION,
    STIFFNESS,
    DriveFigures,
    DriverError,
    DriverSettings,
)
from robot_driver.reception import Source, StateBounds, StateReception
from robot_driver.robot import Datagram, RobotInterface, RobotTransport

JOINTS = ("shoulder", "elbow", "gripper")
RELAX = b"relax"
ASK, _GOAL = b"?", b"g"
_STATE = struct.Struct("<I3d")
_COUNT = itertools.count()
_PERIOD_S = 0.004


class ArmState(NamedTuple):
    """Position [3], rad; the servos tell nothing else."""

    tick: int
    joint_pos: F64
    joint_vel: F64 = np.zeros(3)
    joint_effort: F64 = np.zeros(3)
    temperature_c: F64 = np.full(3, 30.0)


def state_frame(position: F64, tick: int) -> bytes:
    return _STATE.pack(tick & 0xFFFFFFFF, *position)


def goal(frame: bytes) -> F64:
    """Return the position [3] that a command frame asks for."""
    assert frame[:1] == _GOAL
    return np.frombuffer(frame, "<f8", offset=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSettings(DriverSettings):
    """Where the bus is; the servos tell no torques that could be judged."""

    bus: str = ""
    obeyed_torque_nm: float = 0.0


FIGURES = DriveFigures(
    joint_names=JOINTS,
    lowest_rad=np.full(3, -2.0),
    highest_rad=np.full(3, 2.0),
    position_margin_rad=0.05,
    fastest_rad_s=np.full(3, 5.0),
    largest_torque_nm=np.full(3, 3.0),
    largest_stiffness=17.0,
    largest_damping=2.0,
    first_torque_nm=0.5,
    demand_nm=1.0,
    foreign_nm=1.0,
    state_rate_hz=(20.0, 1000.0),
    watchdog_s=float("inf"),
    rest_mode=MODE_HOLD_MEASURED,
    rest_s=0.3,
)


class ArmReception(StateReception[ArmState]):
    """Believes each frame of the right size."""

    def __init__(self, settings: ArmSettings) -> None:
        super().__init__(settings, ["wrong_size", "implausible"])
        self._bounds = StateBounds(FIGURES)

    def receive(self, data: bytes, source: Source, now_ns: int) -> ArmState | None:
        if len(data) != _STATE.size:
            return self.reject("wrong_size")
        tick, *position = _STATE.unpack(data)
        state = ArmState(tick, np.array(position))
        if problem := self._bounds.implausible(state):
            return self.reject("implausible", problem)
        return self.accept(state, now_ns)

    def silence(self, now_ns: int) -> str:
        return "no servo answers"


class HoldingArm(RobotInterface[ArmState]):
    """Is in control as soon as that is asked for; limp after it was given back."""

    name = "Arm"
    figures = FIGURES
    settings_type = ArmSettings
    settings: ArmSettings

    def __init__(self, settings: ArmSettings) -> None:
        super().__init__(settings)
        self.reception = ArmReception(settings)

    @property
    def place(self) -> str:
        return self.settings.bus

    def open(self) -> Bus:
        return Bus(self.settings, asks=False)

    def adopt(self, descriptors: Sequence[int]) -> Bus:
        assert descriptors == []
        return Bus(self.settings, asks=True)

    def decode(self, data: bytes) -> ArmState:
        tick, *position = _STATE.unpack(data)
        return ArmState(tick, np.array(position))

    def encode(self, values: F64) -> bytes:
        return _GOAL + values[:, POSITION].astype("<f8").tobytes()

    def rest(self, state: ArmState | None) -> F64:
        values = super().rest(state)
        if state is not None:
            values[:, POSITION] = state.joint_pos
            values[:, STIFFNESS] = FIGURES.largest_stiffness
        return values

    def give_back(self) -> list[bytes]:
        return [RELAX]


class Bus(RobotTransport):
    """A socket on which the arm answers; each process has one of its own."""

    def __init__(self, settings: ArmSettings, *, asks: bool) -> None:
        self.counts: dict[str, int] = {}
        if not Path(settings.bus).exists():
            raise DriverError(f"bus: expected the arm at {settings.bus}, found nothing there")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"{settings.bus}.{os.getpid()}.{next(_COUNT)}")
        self._socket.connect(settings.bus)
        self._socket.settimeout(1.0)
        self._heard: queue.SimpleQueue[Datagram] = queue.SimpleQueue()
        self._signal = os.eventfd(0)
        self._end = threading.Event()
        if asks:
            threading.Thread(target=self._ask, daemon=True).start()

    @property
    def descriptors(self) -> Sequence[int]:
        return ()

    def watched(self) -> Sequence[int]:
        return (self._signal,)

    def receive(self, ready: Collection[int]) -> Iterator[Datagram]:
        if self._signal in ready:
            os.eventfd_read(self._signal)
        while not self._heard.empty():
            yield self._heard.get()

    def send(self, data: bytes) -> None:
        try:
            self._socket.send(data)
        except OSError as error:
            raise DriverError(f"the bus: {error.strerror}") from None

    def keep_sending_half(self) -> None:
        pass

    def close(self) -> None:
        self._end.set()
        self._socket.close()

    def _ask(self) -> None:
        while not self._end.wait(_PERIOD_S):
            try:
                self._socket.send(ASK)
                data = self._socket.recv(100)
            except OSError:
                continue
            self._heard.put(Datagram(data, ("bus", 0), time_ns()))
            os.eventfd_write(self._signal, 1)


class Arm:
    """The robot's end of the bus: it is where it was last sent.

    Attributes:
        position: Of the joints [3], rad.
        heard: What came beside questions.
    """

    def __init__(self, folder: Path) -> None:
        self.settings = ArmSettings(
            bus=str(folder / "bus"), command_rate_hz=100.0, state_timeout_s=5.0
        )
        self.position = np.array([0.1, 0.2, 0.3])
        self.heard: list[bytes] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.settings.bus)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            data, source = self._socket.recvfrom(100)
            if data == b"":
                return
            if data == ASK:
                frame = state_frame(self.position, 1000 * monotonic_ns() // NS_PER_S)
                with suppress(OSError):  # the process that asked may have ended since
                    self._socket.sendto(frame, source)
                continue
            if data[:1] == _GOAL:
                self.position = goal(data)
            self.heard.append(data)

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self.settings.bus)
        self._thread.join()
        self._socket.close()
