# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated legged robot in a process without ROS, stepped in lockstep by its only client.

    python3 -m robot_sim.sim_server --channel 3 --robot go2

The client starts this process and keeps one end of a pair of Unix sockets (SOCK_SEQPACKET, which
preserves message boundaries); `--channel` is the file descriptor of the other end. The process
exits when the client's end closes. Time advances only on the client's request.

Integers have 64 bits and other numbers are float64, both in the machine's byte order; n is the
number of joints, which are in the order of the greeting.

==========  =====================================================================================
greeting    `ROBOTSIM`, version (1), n, physics step in ns, the names of the joints, each with a
            NUL at its end; then, as after each request, an answer
request     time to step in ns, a multiple of the physics step; then position [n] rad, velocity
            [n] rad/s, effort [n] N m, stiffness [n] N m/rad, damping [n] N m s/rad. A request
            with nothing after the time makes the drives damp, as before the first command
answer      simulated time in ns, number of joint samples so far, number of IMU samples so far;
            position [n] rad, velocity [n] rad/s, effort [n] N m, orientation [4] x y z w, angular
            velocity [3] rad/s, linear acceleration [3] m/s^2, the last two in the base frame
refusal     -1 instead of a time, then the reason, as UTF-8; the robot exits
==========  =====================================================================================

Faults have the same effects as in `sim_node`. A silenced stream keeps its last values and its
number of samples; values are NaN before the first sample.
"""
# run: {skip: only its client can start it}

import argparse
import logging
import signal
import socket
import struct
import sys
from collections.abc import Sequence

import numpy as np

from robot_sim.driven import NS_PER_S
from robot_sim.drives import DriveCommand
from robot_sim.errors import SimError
from robot_sim.faults import FaultFile, FaultPlan
from robot_sim.figures import load_robot
from robot_sim.ground import Ground
from robot_sim.trace import WalkRecord
from robot_sim.viewer import Viewer
from robot_sim.world import Sensors, World

MAGIC, VERSION = b"ROBOTSIM", 1
VALID_FOR_NS = 100_000_000
"""Validity of a command; matters only when latency grows, as each request repeats the command."""
_ROW_NS = 20_000_000
_LARGEST_BYTES = 1 << 16
_COMMAND = ("position", "velocity", "effort", "stiffness", "damping")
_JOINTS = ("joint_pos", "joint_vel", "joint_effort")
_IMU = ("quat_xyzw", "ang_vel_body", "lin_acc_body")
_log = logging.getLogger("sim_server")


class SimServer:
    """A robot that answers requests; the module docstring defines the messages."""

    def __init__(self, world: World, given: argparse.Namespace) -> None:
        self._world, self._given = world, given
        self._faults = FaultFile(given.fault_file, self._change_faults)
        self._record = WalkRecord(given.trace_file)
        self._change_faults(given.faults.split())
        self._shown: dict[str, Sensors] = {}
        self._samples = {"joint_states": 0, "imu": 0}
        self._held_ns = round(given.hoist_s * NS_PER_S)
        if self._held_ns:
            world.hang()

    def greeting(self) -> bytes:
        names = self._world.joint_names
        step_ns = NS_PER_S // self._world.steps_per_s
        head = struct.pack("=8s3q", MAGIC, VERSION, len(names), step_ns)
        return head + b"".join(name.encode() + b"\0" for name in names)

    def sensed(self) -> bytes:
        """Return the current sensor output, as modified by the faults."""
        world, truth = self._world, self._world.sense()
        if truth.time_ns % _ROW_NS == 0:
            self._record.append(truth)
        streams = self._plan.apply(truth)
        for name, seen in (("joint_states", streams.joint_states), ("imu", streams.imu)):
            # a frozen stream repeats its last sample
            if seen is not None and seen is not self._shown.get(name):
                self._shown[name] = seen
                self._samples[name] += 1
        n = len(world.joint_names)
        joints, imu = self._shown.get("joint_states"), self._shown.get("imu")
        values = [getattr(joints, name) if joints else np.full(n, np.nan) for name in _JOINTS]
        values += [
            getattr(imu, name) if imu else np.full(size, np.nan)
            for name, size in zip(_IMU, (4, 3, 3), strict=True)
        ]
        head = struct.pack("=3q", truth.time_ns, *self._samples.values())
        return head + np.concatenate(values).tobytes()

    def answer(self, request: bytes) -> bytes:
        """Apply a command, advance time, and return the sensor output.

        Raises:
            SimError: The request is not valid for this robot.
        """
        world, expected = self._world, 8 * (1 + len(_COMMAND) * len(self._world.joint_names))
        if len(request) not in (8, expected):
            raise SimError(f"request: expected 8 or {expected} bytes, found {len(request)}")
        steps = world.whole_steps(int.from_bytes(request[:8], sys.byteorder, signed=True))
        self._faults.look()
        if len(request) == 8:
            world.expire()
        else:
            self._command(np.frombuffer(request, offset=8))
        if self._held_ns and world.time_ns >= self._held_ns:
            self._held_ns = 0
            world.let_down()
        self._plan.act(world)
        world.advance(steps)
        return self.sensed()

    def serve(self, client: socket.socket) -> int:
        """Serve a client until its end closes.

        Returns:
            0, or 2 after an invalid request.
        """
        viewer = Viewer(self._world) if self._given.viewer == "true" else None
        try:
            client.sendall(self.greeting())
            client.sendall(self.sensed())
            while request := client.recv(_LARGEST_BYTES):
                client.sendall(self.answer(request))
                if viewer is not None:
                    viewer.show()
        except SimError as error:
            client.sendall(struct.pack("=q", -1) + str(error).encode())
            return 2
        except ConnectionError:
            pass  # treated like any exit of the client
        finally:
            if viewer is not None:
                viewer.close()
            self._record.save()
        return 0

    def _command(self, numbers: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
        """Send a command [5 n] to the drives."""
        rows = dict(zip(_COMMAND, numbers.reshape(len(_COMMAND), -1), strict=True))
        self._world.apply(
            DriveCommand(
                joint_names=self._world.joint_names,
                effort_limit=self._world.effort_limit_nm,
                valid_for_ns=VALID_FOR_NS,
                **rows,
            )
        )
        self._record.target = rows["position"]

    def _change_faults(self, texts: Sequence[str]) -> None:
        """Replace all faults; motors and latency are reset."""
        world = self._world
        self._plan = FaultPlan.parse(
            texts, seed=self._given.seed, now_ns=world.time_ns, joint_names=world.joint_names
        )
        world.motors_on()
        world.latency_ns = round(self._given.latency_s * NS_PER_S)


def main(args: Sequence[str] | None = None) -> int:
    """Serve one client.

    Returns:
        0, or 2 if an argument or a request is invalid.
    """
    logging.basicConfig(
        level=logging.INFO, format="[%(levelname)s] [%(name)s]: %(message)s", stream=sys.stderr
    )
    given = parse_arguments(args)
    # Ctrl-C in a terminal also reaches the client; the robot exits when the client's end closes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        server = SimServer(simulated_world(given), given)
        with socket.socket(fileno=given.channel) as client:
            return server.serve(client)
    except (SimError, OSError) as error:
        _log.error("%s", error)
        return 2


def simulated_world(given: argparse.Namespace) -> World:
    return World(
        load_robot(given.robot),
        friction=given.friction,
        ground=Ground(slope_rad=given.slope_rad, step_m=given.step_m, seed=given.seed),
        payload_kg=given.payload_kg,
        seed=given.seed,
        pose=given.pose or None,
    )


def parse_arguments(args: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "sim_server",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--channel", type=int, required=True, metavar="FD", help="inherited end of a socket pair")
    add("--robot", default="lite3", help="lite3, go2, g1, or a folder of figures (%(default)s)")
    add("--pose", default="", help="start pose: lying or standing")
    add("--seed", type=int, default=0, help="seed of start pose, ground and noise; 0: exact pose")
    add("--friction", type=float, default=1.0, help="between feet and floor (%(default)s)")
    add("--payload-kg", type=float, default=0.0, help="mass added at the center of the base, kg")
    add("--slope-rad", type=float, default=0.0, help="angle of the ground, which rises along x")
    add("--step-m", type=float, default=0.0, help="largest height of tiles on the ground, m")
    add(
        "--hoist-s",
        type=float,
        default=0.0,
        help="simulated time at which the held base is released",
    )
    add(
        "--latency-s", type=float, default=0.0, help="delay of commands to the drives, up to 0.04 s"
    )
    add("--faults", default="", help="faults, separated by spaces; see robot_sim.faults")
    add("--fault-file", default="", help="file with one fault per line; read whenever it changes")
    add("--trace-file", default="", help="file to write the trace to at the end (.npz)")
    add("--viewer", choices=["true", "false"], default="false", help="open MuJoCo's viewer")
    return parser.parse_args(args)


if __name__ == "__main__":
    sys.exit(main())
