# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated robot on legs for one other program, in lockstep: `python3 -m robot_sim.sim_server`.

The program, which robot_sim/SimSystem of ros2_control is, starts it with one end of a socket pair
(`--channel`), and ends it by closing its own. All numbers are little-endian.

- First the server sends `SIMLINK1`, the number of joints (uint32), the name of each (uint32 length,
  UTF-8), and the time of a physics step (int64, ns).
- A request: for how long to step (int64, ns; 0 steps not), whether to command the drives (int64,
  else they damp), and float64 [5, joints]: position (rad), velocity (rad/s), effort (N m),
  stiffness (N m/rad), damping (N m s/rad).
- Its answer: simulated time (int64, ns), how many samples of the joints and of the IMU there were
  (int64 each: a source that is silent counts no more), and float64: joint position, velocity,
  effort [3, joints], orientation x y z w, angular velocity (rad/s, body), linear acceleration
  (m/s^2, body, with gravity's reaction).
"""

from __future__ import annotations

import argparse
import signal
import socket
import struct
import sys
from collections.abc import Sequence

import numpy as np

from robot_sim.drives import DriveCommand
from robot_sim.errors import SimError
from robot_sim.faults import FaultPlan
from robot_sim.figures import Array, load_robot
from robot_sim.trace import WalkRecord
from robot_sim.world import Sensors, World

MAGIC = b"SIMLINK1"
_ROWS = 5
_VALID_FOR_NS = 200_000_000
_TRACE_NS = 20_000_000


class SimServer:
    """Steps a world as its client asks."""

    def __init__(self, world: World, faults: FaultPlan, record: WalkRecord) -> None:
        """Serve this world.

        Args:
            world: It.
            faults: What goes wrong, in simulated time.
            record: Where a row is kept every 20 ms.
        """
        self._world, self._faults, self._record = world, faults, record
        self._joints = len(world.joint_names)
        self._counts = {"joint_states": 0, "imu": 0}
        self._shown: dict[str, Sensors] = {}
        self._traced_ns = -_TRACE_NS

    def serve(self, channel: socket.socket) -> None:
        """Answer until the client closes its end.

        Raises:
            SimError: A request cannot be followed.
        """
        channel.sendall(self._greeting())
        request = struct.Struct(f"<qq{_ROWS * self._joints}d")
        while data := _received(channel, request.size):
            duration_ns, commands, *numbers = request.unpack(data)
            self._step(duration_ns, np.array(numbers).reshape(_ROWS, -1) if commands else None)
            channel.sendall(self._answer())

    def _greeting(self) -> bytes:
        names = [name.encode() for name in self._world.joint_names]
        parts = [MAGIC, struct.pack("<I", len(names))]
        parts += [struct.pack("<I", len(name)) + name for name in names]
        return b"".join([*parts, struct.pack("<q", round(1e9 / self._world.steps_per_s))])

    def _step(self, duration_ns: int, rows: Array | None) -> None:
        world = self._world
        if rows is not None:
            position, velocity, effort, stiffness, damping = rows
            world.apply(
                DriveCommand(
                    joint_names=world.joint_names,
                    position=position,
                    velocity=velocity,
                    effort=effort,
                    stiffness=stiffness,
                    damping=damping,
                    effort_limit=world.effort_limit_nm,
                    valid_for_ns=_VALID_FOR_NS,
                )
            )
        self._faults.act(world)
        if duration_ns:
            world.step(duration_ns)
        if world.time_ns - self._traced_ns >= _TRACE_NS:
            self._traced_ns = world.time_ns
            self._record.append(world.sense())

    def _answer(self) -> bytes:
        streams = self._faults.apply(self._world.sense())
        for name in self._counts:
            seen: Sensors | None = getattr(streams, name)
            if seen is not None and seen is not self._shown.get(name):
                self._counts[name] += 1
                self._shown[name] = seen
        joints, imu = (self._shown.get(name) or self._world.sense() for name in self._counts)
        values = (
            joints.joint_pos,
            joints.joint_vel,
            joints.joint_effort,
            imu.quat_xyzw,
            imu.ang_vel_body,
            imu.lin_acc_body,
        )
        head = struct.pack("<qqq", self._world.time_ns, *self._counts.values())
        return head + np.concatenate(values).astype("<f8").tobytes()


def _received(channel: socket.socket, size: int) -> bytes:
    """Return so many bytes; nothing where the other end is closed."""
    parts, left = list[bytes](), size
    while left:
        try:
            part = channel.recv(left)
        except ConnectionError:
            part = b""
        if not part:
            return b""
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def main(args: Sequence[str] | None = None) -> int:
    """Serve; return the exit status, 2 where an argument or a request is wrong."""
    parser = argparse.ArgumentParser(
        prog="sim_server", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--channel", type=int, required=True, help="descriptor of the socket")
    parser.add_argument("--robot", default="lite3", help="lite3, go2, g1, or a folder of figures")
    parser.add_argument("--pose", default="", help="how it starts: lying or standing")
    parser.add_argument("--faults", default="", help="see robot_sim.faults; several with spaces")
    parser.add_argument("--friction", type=float, default=1.0, help="of feet and floor")
    parser.add_argument("--seed", type=int, default=0, help="varies start and noise; 0: exact")
    parser.add_argument("--trace-file", default="", help="where the walk is written (.npz)")
    given = parser.parse_args(args)
    # Its client ends it: a Ctrl-C in a terminal reaches both.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        world = World(
            load_robot(given.robot),
            friction=given.friction,
            seed=given.seed,
            pose=given.pose or None,
        )
        faults = FaultPlan.parse(
            given.faults.split(), seed=given.seed, joint_names=world.joint_names
        )
        record = WalkRecord(given.trace_file)
        with socket.socket(fileno=given.channel) as channel:
            try:
                SimServer(world, faults, record).serve(channel)
            finally:
                record.save()
    except SimError as error:
        sys.stderr.write(f"sim_server: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
