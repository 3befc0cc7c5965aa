# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The host's end of a Lite3's interface, without a robot: it lies folded whatever the command."""

import select
import socket
import struct
import time
from collections.abc import Callable

import numpy as np

from lite3_driver import wire

FOLDED_RAD = np.tile([0.0, -1.35, 2.55], 4)
_PERIOD_NS = 2_000_000
_LARGEST_BYTES = 2048
_SO_TIMESTAMPNS = 35
"""Linux's asm-generic/socket.h: the kernel stamps datagrams on arrival."""
_TIMESPEC = struct.Struct("@ll")
_EFFORT = wire.COMMAND_FIELDS.index("effort")


class BenchHost:
    """Sends a state frame every 2 ms while it is called; receives command frames.

    Attributes:
        socket: The socket that it listens on.
    """

    def __init__(self) -> None:
        """Bind on loopback, and find a free port for the driver."""
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            self._client = free.getsockname()
        self._tick = 0
        self._next_ns = time.monotonic_ns()

    @property
    def parameters(self) -> dict[str, object]:
        """The parameters that the driver needs."""
        return {
            "host_address": "127.0.0.1",
            "host_port": self.socket.getsockname()[1],
            "interface_address": "127.0.0.1",
            "state_port": self._client[1],
            "angular_velocity_checked": True,
        }

    def keep_up(self) -> None:
        """Send frames that are due; call it every few ms."""
        while time.monotonic_ns() >= self._next_ns:
            self.send(self.frame(0.0))

    def keep_up_until(self, end_ns: int) -> None:
        """Send frames that are due until a time on the steady clock."""
        while (now_ns := time.monotonic_ns()) < end_ns:
            self.keep_up()
            time.sleep(max(0, min(self._next_ns, end_ns) - now_ns) * 1e-9)

    def frame(self, mark: float) -> bytes:
        """Return the next state frame; the first joint's velocity identifies it."""
        self._tick += 1
        velocity = np.zeros(12)
        velocity[0] = mark
        return wire.write_state(
            wire.Lite3State(
                tick=2 * self._tick,
                imu_stamp_ms=2 * self._tick,
                rpy=np.zeros(3),
                ang_vel=np.zeros(3),
                lin_acc=np.array([0.0, 0.0, 9.81]),
                joint_pos=FOLDED_RAD,
                joint_vel=velocity,
                joint_effort=np.zeros(12),
                temperature_c=np.full(12, 30.0),
                contact_force=np.zeros((4, 3)),
            )
        )

    def send(self, frame: bytes) -> None:
        """Send a frame; the next is due 2 ms later."""
        self._next_ns = max(self._next_ns + _PERIOD_NS, time.monotonic_ns())
        self.socket.sendto(frame, self._client)

    def hears_command(self, mark: float, timeout_ns: int) -> bool:
        """Wait for a command frame with this effort of the first joint."""

        def marked(data: bytes) -> bool:
            values = wire.read_command(data)
            return values is not None and float(values[0, _EFFORT]) == mark

        return self.hears(marked, timeout_ns)

    def hears(self, condition: Callable[[bytes], bool], timeout_ns: int) -> bool:
        """Wait for a datagram that fulfils a condition."""
        end_ns = time.monotonic_ns() + timeout_ns
        while (left_ns := end_ns - time.monotonic_ns()) > 0:
            ready, _, _ = select.select([self.socket], [], [], left_ns * 1e-9)
            if ready and condition(self.socket.recv(_LARGEST_BYTES)):
                return True
        return False

    def stamps_ns(self) -> list[int]:
        """Return the arrival times of the waiting command frames, on the kernel's clock."""
        found = []
        while select.select([self.socket], [], [], 0)[0]:
            data, ancillary, *_ = self.socket.recvmsg(_LARGEST_BYTES, 64)
            if len(data) == wire.COMMAND_BYTES:
                sec, nanosec = _TIMESPEC.unpack(ancillary[0][2])
                found.append(sec * 1_000_000_000 + nanosec)
        return found

    def close(self) -> None:
        self.socket.close()
