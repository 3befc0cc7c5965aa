# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Run a Lite3Emulator in a thread and talk to it as a driver does."""

import json
import socket
import threading
import time
from collections.abc import Callable

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from lite3_driver import wire
from robot_sim.lite3_host import Address
from robot_sim.nodes.lite3_emulator import Lite3Emulator

from .harness import DEADLINE_S

HOST, DRIVER, STRANGER = "127.43.21.1", "127.43.21.2", "127.43.21.3"


class Driver:
    """The other end of the wire, and an emulator that runs in a thread."""

    node: Lite3Emulator
    listener: Node

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((DRIVER, 0))
        self.socket.settimeout(DEADLINE_S)
        self.host: Address = (HOST, 0)
        self._running: threading.Thread | None = None

    def make(self, **parameters: object) -> Lite3Emulator:
        """Make the node, which does not run yet."""
        given = {
            "host_address": HOST,
            "host_port": 0,
            "state_address": DRIVER,
            "state_port": self.socket.getsockname()[1],
            **parameters,
        }
        words = [
            word for name, value in given.items() for word in ("-p", f"{name}:={json.dumps(value)}")
        ]
        rclpy.init(args=["--ros-args", *words])
        self.listener = Node("listener", use_global_arguments=False)
        self.node = Lite3Emulator()
        self.executor = SingleThreadedExecutor()
        for node in (self.listener, self.node):
            self.executor.add_node(node)
        return self.node

    def run(self, **parameters: object) -> Lite3Emulator:
        """Make the node and let it run until its first frame."""
        node = self.make(**parameters)
        self._running = threading.Thread(target=node.run)
        self._running.start()
        return node

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

    def spin_until(self, condition: Callable[[], object], what: str) -> None:
        ends_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < ends_s, f"waited in vain for {what}"
            self.executor.spin_once(timeout_sec=0.02)

    def ends(self) -> None:
        """Stop the node and wait for its end."""
        self.node.stop()
        assert self._running is not None
        self._running.join()

    def close(self) -> None:
        self.socket.close()
        if not hasattr(self, "node"):
            rclpy.try_shutdown()
            return
        self.node.stop()
        if self._running is not None:
            self._running.join()
        self.executor.shutdown()
        self.node.destroy_node()
        self.listener.destroy_node()
        rclpy.shutdown()
