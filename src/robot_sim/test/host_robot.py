# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""An emulated motion host in lockstep, and the datagrams of its driver."""

from typing import Any

import numpy as np

from lite3_driver import wire
from robot_sim.lite3_host import Address, MotionHost
from robot_sim.robot_host import HostEvent
from robot_sim.world import Pose, World

DRIVER: Address = ("127.0.0.1", 43897)
INTRUDER: Address = ("127.0.0.2", 43897)


def holding_frame(pose: np.ndarray, *, stiffness: float = 100.0, damping: float = 2.5) -> bytes:
    values = np.zeros((12, 5))
    values[:, 0], values[:, 3], values[:, 4] = pose, stiffness, damping
    return wire.command(values)


class Robot:
    """A motion host and its events."""

    def __init__(self, *, pose: Pose = "lying", **options: Any) -> None:
        self.events: list[HostEvent] = []
        self.host = MotionHost(World(pose=pose), **options)
        self.host.on_event = self.events.append

    @property
    def happened(self) -> list[str]:
        """The events so far, without ignored datagrams."""
        return [event.what for event in self.events if event.what != "ignored"]

    def send(self, data: bytes, source: Address = DRIVER) -> None:
        self.host.receive(data, source)

    def run(self, seconds: float, command: bytes | None = None) -> wire.Lite3State:
        """Step the host, with a command every 2 ms if given; return the last state."""
        for step in range(round(seconds * 1000)):
            if command is not None and step % 2 == 0:
                self.send(command)
            frame = self.host.step()
        assert frame is not None
        state = wire.read_state(frame)
        assert isinstance(state, wire.Lite3State), state
        return state
