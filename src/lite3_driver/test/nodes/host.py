# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The motion host of a robot without physics: it lies folded.

Its frames are packed here a second time, so that no mistake of `wire` cancels out.
"""

import itertools
import os
import socket
import struct
import threading
import time

import numpy as np

from lite3_driver.figures import FIGURES
from robot_driver.testing.case import COMMANDED, GIVEN_BACK, OTHER, TAKEN, DriverCase, RobotDouble

PERIOD_S = 0.003
_CAUGHT_UP_S = 0.3
"""A busy machine loses no frames below this, so that they come at a plausible rate."""
_WATCHDOG_S = 1.0
_NUMBERS = itertools.count()
# Motors 0 to 11 of a frame, in the vendor's order, with the names of its URDF.
JOINTS = [
    f"{leg}_{part}_joint" for leg in ("FL", "FR", "HL", "HR") for part in ("HipX", "HipY", "Knee")
]
FOLDED_RAD = np.tile([0.0, -1.35, 2.55], 4)
_STATE, _STATE_BYTES = 0x0906, 336
_COMMAND, _COMMAND_BYTES = 0x0111, 240
_TAKE_CONTROL, _GIVE_BACK = 0x0114, 0x0113
_PAYLOAD = 1


class Host(RobotDouble):
    """Listens on a loopback address of its own; sends the robot's state to a client beside it."""

    def __init__(self) -> None:
        """Bind; send nothing before `start`."""
        super().__init__(JOINTS, FOLDED_RAD.copy())
        number = next(_NUMBERS)
        net = f"127.43.{os.getpid() % 250}.{2 * number % 250 + 1}"
        self.address = net
        self.client_address = f"127.43.{os.getpid() % 250}.{2 * number % 250 + 2}"
        self.temperature_c = np.arange(12.0) + 30.0
        self.contact_force = np.arange(12.0).reshape(4, 3)
        self.controller: tuple[str, int] | None = None
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((net, 0))
        self._socket.settimeout(PERIOD_S / 2)
        self.port: int = self._socket.getsockname()[1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind((self.client_address, 0))
            self.state_port: int = free.getsockname()[1]
        self._tick = 0
        self._heard_s = 0.0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @property
    def parameters(self) -> dict[str, object]:
        return {
            "host_address": self.address,
            "host_port": self.port,
            "interface_address": self.client_address,
            "state_port": self.state_port,
        }

    def start(self) -> None:
        self._thread.start()

    def restart(self) -> None:
        self._tick, self.controller = 0, None

    def close(self) -> None:
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()

    def kinds(self) -> list[str]:
        """Return what came, repetitions left out."""
        return [what for what, _ in itertools.groupby(each.what for each in self.heard)]

    def _run(self) -> None:
        next_s = time.monotonic()
        while not self._ending.is_set():
            now_s = time.monotonic()
            next_s = max(next_s, now_s - _CAUGHT_UP_S)
            # All that are due: the rate is the robot's, however busy this machine is.
            while next_s <= now_s:
                next_s += PERIOD_S
                self._send()
            try:
                data, source = self._socket.recvfrom(2048)
            except (TimeoutError, ConnectionRefusedError):
                continue
            self._take(data, source)

    def _send(self) -> None:
        self._tick += 1
        if self.controller and time.monotonic() - self._heard_s > _WATCHDOG_S:
            self.controller = None
        if (sensed := self.sense()) is None:
            return
        tick_ms = 3 * self._tick
        # Four numbers of each joint, one joint after the other; roll, pitch and yaw in degrees.
        joints = [sensed.joint_pos, sensed.joint_vel, sensed.joint_effort, self.temperature_c]
        state = struct.pack(
            "<IIIIi9f48f4x12d",
            *(_STATE, _STATE_BYTES, _PAYLOAD, tick_ms & 0xFFFFFFFF, tick_ms),
            *np.degrees(sensed.rpy),
            *sensed.ang_vel,
            *sensed.lin_acc,
            *np.stack(joints, axis=1).ravel(),
            *self.contact_force.ravel(),
        )
        self._socket.sendto(state, (self.client_address, self.state_port))

    def _take(self, data: bytes, source: tuple[str, int]) -> None:
        code, size, kind = struct.unpack_from("<III", data)
        values = None
        if len(data) == 12 + _COMMAND_BYTES and (code, size, kind & 0xFF) == (
            _COMMAND,
            _COMMAND_BYTES,
            _PAYLOAD,
        ):
            # Position, velocity, torque, stiffness, damping of each joint, in SI units.
            values = np.array(struct.unpack_from("<60f", data, 12)).reshape(12, 5)
        request = code if len(data) == 12 else None
        what = OTHER
        if request == _TAKE_CONTROL and self.controller in (None, source):
            self.controller, what = source, TAKEN
        elif source == self.controller and request == _GIVE_BACK:
            self.controller, what = None, GIVEN_BACK
        elif source == self.controller and values is not None:
            what = COMMANDED
        self._heard_s = time.monotonic()
        self.hear(what, values)


CASE = DriverCase(
    lost_counter="missed",
    command=["lite3_driver"],
    node="lite3_driver",
    robot=Host,
    figures=FIGURES,
    # The unit of the rates is known, and a host that a busy machine holds up is waited for.
    parameters={"angular_velocity_checked": True, "state_timeout_s": 0.5},
    joint_state_rate_hz=1.0 / PERIOD_S,
)
