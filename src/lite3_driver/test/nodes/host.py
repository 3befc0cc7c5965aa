# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The motion host of a robot without physics: it lies folded, or its joints follow at once."""

import itertools
import os
import socket
import threading
import time
from typing import NamedTuple

import numpy as np

from lite3_driver import wire

_PERIOD_S = 0.003
_CAUGHT_UP_S = 0.3
"""A busy machine loses no frames below this, so that they come at a plausible rate."""
_WATCHDOG_S = 1.0
_NUMBERS = itertools.count()
FOLDED_RAD = np.tile([0.0, -1.35, 2.55], 4)


class Received(NamedTuple):
    """A datagram and when it came, s on the steady clock."""

    data: bytes
    at_s: float

    @property
    def code(self) -> int | None:
        return wire.code_of(self.data)

    @property
    def values(self) -> wire.F32:
        """A command's values [12, 5], in the columns of the wire."""
        found = wire.read_command(self.data)
        assert found is not None, self.data
        return found

    @property
    def damps(self) -> bool:
        """Whether it is a command without stiffness, and with damping for each joint."""
        values = wire.read_command(self.data)
        return values is not None and not values[:, 3].any() and bool((values[:, 4] > 0.0).all())

    @property
    def follows(self) -> bool:
        """Whether it is a command with stiffness."""
        return self.code == wire.COMMAND and bool(self.values[:, 3].any())


class Host:
    """Listens on a loopback address of its own; sends the robot's state to a client beside it."""

    def __init__(self) -> None:
        """Bind; send nothing before `start`."""
        number = next(_NUMBERS)
        net = f"127.43.{os.getpid() % 250}.{2 * number % 250 + 1}"
        self.address = net
        self.client_address = f"127.43.{os.getpid() % 250}.{2 * number % 250 + 2}"
        self.position, self.velocity = FOLDED_RAD.copy(), np.zeros(12)
        self.rpy = np.zeros(3)
        self.ang_vel = np.array([0.01, -0.02, 0.03])
        self.temperature_c = np.arange(12.0) + 30.0
        self.contact_force = np.arange(12.0).reshape(4, 3)
        self.received: list[Received] = []
        self.controller: tuple[str, int] | None = None
        self.silent = False
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((net, 0))
        self._socket.settimeout(_PERIOD_S / 2)
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
        """What a driver has to be told."""
        return {
            "host_address": self.address,
            "host_port": self.port,
            "interface_address": self.client_address,
            "state_port": self.state_port,
        }

    def start(self) -> "Host":
        self._thread.start()
        return self

    def close(self) -> None:
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()

    def codes(self) -> list[int | None]:
        """Return the codes of all that came, repetitions left out."""
        return [code for code, _ in itertools.groupby(each.code for each in self.received)]

    def _run(self) -> None:
        next_s = time.monotonic()
        while not self._ending.is_set():
            now_s = time.monotonic()
            if now_s >= next_s:
                self._send()
                next_s = max(next_s + _PERIOD_S, now_s - _CAUGHT_UP_S)
            try:
                data, source = self._socket.recvfrom(2048)
            except (TimeoutError, ConnectionRefusedError):
                continue
            self._take(Received(data, time.monotonic()), source)

    def _send(self) -> None:
        self._tick += 1
        if self.controller and time.monotonic() - self._heard_s > _WATCHDOG_S:
            self.controller = None
        if self.silent:
            return
        state = wire.Lite3State(
            tick=3 * self._tick,
            imu_stamp_ms=3 * self._tick,
            rpy=self.rpy,
            ang_vel=self.ang_vel,
            lin_acc=np.array([0.0, 0.0, 9.81]),
            joint_pos=self.position,
            joint_vel=self.velocity,
            joint_effort=np.zeros(12),
            temperature_c=self.temperature_c,
            contact_force=self.contact_force,
        )
        self._socket.sendto(wire.write_state(state), (self.client_address, self.state_port))

    def _take(self, received: Received, source: tuple[str, int]) -> None:
        self.received.append(received)
        values = wire.read_command(received.data)
        if values is not None and source == self.controller:
            self._heard_s = received.at_s
            moved = values[:, 3] > 0.0
            self.position = np.where(moved, values[:, 0], self.position).astype(np.float64)
        request = wire.read_request(received.data)
        if request == wire.TAKE_CONTROL and self.controller is None:
            self.controller, self._heard_s = source, received.at_s
        elif request == wire.GIVE_BACK and source == self.controller:
            self.controller = None
