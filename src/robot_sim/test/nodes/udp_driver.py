# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Run a Lite3Emulator in a thread and talk to it as a driver does."""

import socket
import time
from collections.abc import Callable
from typing import Any

from lite3_driver import wire
from robot_sim.lite3_host import Address
from robot_sim.nodes.lite3_emulator import Lite3Emulator

from .harness import DEADLINE_S, RunningNode

HOST, DRIVER, STRANGER = "127.43.21.1", "127.43.21.2", "127.43.21.3"


class Driver(RunningNode):
    """The other end of the wire, and an emulator that runs in a thread."""

    node: Lite3Emulator
    new_node = Lite3Emulator

    def __init__(self) -> None:
        super().__init__()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((DRIVER, 0))
        self.socket.settimeout(DEADLINE_S)
        self.host: Address = (HOST, 0)

    def make(self, **parameters: object) -> Any:
        given = {"host_address": HOST, "host_port": 0, "state_address": DRIVER}
        return super().make(**{**given, "state_port": self.socket.getsockname()[1], **parameters})

    def run(self, **parameters: object) -> Lite3Emulator:
        """Make the node and let it run until its first frame."""
        self.make(**parameters)
        self.start()
        return self.node

    def receive(self) -> bytes:
        """Return the next datagram; its sender is the host."""
        data, self.host = self.socket.recvfrom(2048)
        return data

    def state(self) -> wire.Lite3State:
        state = wire.read_state(self.receive())
        assert isinstance(state, wire.Lite3State), state
        return state

    def until(
        self,
        condition: Callable[[wire.Lite3State], object],
        what: str,
        command: bytes | None = None,
    ) -> wire.Lite3State:
        """Receive until the condition holds, with a command for every second frame."""
        ends_s = time.monotonic() + DEADLINE_S
        while not condition(state := self.state()):
            assert time.monotonic() < ends_s, f"waited in vain for {what}"
            if command is not None and state.tick % 2 == 0:
                self.send(command)
        return state

    def send(self, data: bytes) -> None:
        self.socket.sendto(data, self.host)

    def ends(self) -> None:
        """Stop the node and wait for its end."""
        self.node.stop()
        super().ends()

    def close(self) -> None:
        self.socket.close()
        super().close()
