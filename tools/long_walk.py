# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Measure command gaps, missed ticks and memory in a walk of several hours, in real time.

    python -m tools.long_walk --hours 2 --output out/long_walk

An emulated Lite3 walks under its policy, through the driver, in real processes. The policy node
ticks in its native loop. Every few seconds, the robot receives a new random velocity; every ten
minutes, a fault, after which it must walk again. Prints the largest gaps between joint commands,
the missed ticks, and how the memory of each process grows.
"""
# run: short: --hours 0.002

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from array import array
from collections.abc import Sequence
from pathlib import Path
from random import Random
from struct import unpack_from

import numpy as np
import psutil
from policy_msgs.msg import JointCommand
from rclpy.qos import QoSProfile

from examples.demos.runner import own_domain
from robot_operator.requests import OperatorError
from robot_sim.errors import SimError
from tools.arguments import positive_number
from tools.robot_faults.lite3 import Lite3Stack
from tools.robot_faults.stack import prefer

_FAULTS = (
    "drop:imu+0.3",
    "drop:joint_states+0.3",
    "freeze:imu+1",
    "loss:command+2=0.3",
    "push:left+0.1=100",
)
_NEW_VELOCITY_S, _NEW_FAULT_S, _FAULT_S, _SHOWN_S = (2.0, 8.0), 600.0, 5.0, 1800.0
_FASTEST = 0.8, 0.4, 0.8
"""Largest velocities commanded: vx and vy, m/s, and yaw rate, rad/s."""
_TRIES = 5
_STATE_RATE_HZ = 200.0
"""Rate of the driver's joint states; low, since the computer also simulates the robot."""
_MIB = 2**20
_log = logging.getLogger("long_walk")


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    given = _parser().parse_args(args)
    os.environ.update(own_domain(seed=os.getpid()))
    try:
        given.output.mkdir(parents=True)
    except OSError as error:
        _log.error("long_walk: --output: expected a new folder: %s", error)
        return 2
    policy = {"flight.duration_s": 30.0, "flight.folder": str(given.output / "flights")}
    try:
        with Lite3Stack(
            given.output,
            emulator={"trace_file": ""},
            driver={"joint_state_rate_hz": _STATE_RATE_HZ},
            policy=policy,
        ) as robot:
            prefer(os.getpid())
            walk = LongWalk(robot, given.seed)
            try:
                walk.run(3600.0 * given.hours)
            finally:
                walk.show()
    except (OperatorError, SimError) as error:
        _log.error("long_walk: %s", error)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


class LongWalk:
    """The walk and its measurements."""

    def __init__(self, robot: Lite3Stack, seed: int) -> None:
        """Subscribe to a robot's commands; the robot must not be under control yet."""
        self._robot, self._chance = robot, Random(seed)
        self._stamps_ns, self._memory = array("q"), list[list[float]]()
        self._stops = list[str]()
        self._missed = self._faults = 0
        robot.operator.node.create_subscription(
            JointCommand, "joint_command", self._hear, QoSProfile(depth=50), raw=True
        )

    def _hear(self, data: bytes) -> None:
        stamp_s, stamp_ns = unpack_from("<iI", data, 4)
        self._stamps_ns.append(stamp_s * 1_000_000_000 + stamp_ns)

    def run(self, duration_s: float) -> None:
        """Walk, and print the figures every half hour."""
        robot, chance = self._robot, self._chance
        robot.walk()
        self._stamps_ns = array("q")
        self._missed = robot.operator.status.ticks_missed
        began_s = show_s = time.monotonic()
        fault_s = began_s + 0.5 * _NEW_FAULT_S
        while (now_s := time.monotonic()) < began_s + duration_s:
            self._look(now_s - began_s)
            if now_s >= show_s + _SHOWN_S:
                show_s += _SHOWN_S
                self.show()
            if robot.operator.mode not in ("RUN", "HOLD"):
                self._stops.append(robot.operator.status.reason)
                self._walk_again()
            elif now_s >= fault_s:
                fault_s += _NEW_FAULT_S
                self._faults += 1
                robot.fail(chance.choice(_FAULTS))
                robot.operator.wait(_FAULT_S)
                if robot.operator.mode not in ("RUN", "HOLD"):
                    self._walk_again()
            vx, vy, wz = (chance.uniform(-most, most) for most in _FASTEST)
            robot.operator.move(vx, vy, wz)
            robot.operator.wait(chance.uniform(*_NEW_VELOCITY_S))

    def _walk_again(self) -> None:
        """Stand up and run; if that fails because the robot stops again, retry."""
        _log.info("%s", self._robot.operator.status.reason)
        for tries_left in reversed(range(_TRIES)):
            try:
                self._robot.set_off_again()
            except OperatorError as error:
                if not tries_left:
                    raise
                self._stops.append(str(error))
                _log.info("%s", error)
            else:
                return

    def _look(self, time_s: float) -> None:
        """Record the resident memory (MiB) and the number of open files of each process."""
        robot = self._robot
        row = [time_s]
        for process in (robot.policy.pid, robot.driver.pid, robot.link_pid(), robot.emulator.pid):
            watched = psutil.Process(process)
            row += [watched.memory_info().rss / _MIB, watched.num_fds()]
        self._memory.append(row)

    def show(self) -> None:
        """Print the figures so far, if the robot has walked."""
        if len(self._stamps_ns) < 2 or not self._memory:
            return
        status = self._robot.operator.status
        _log.info("%d ticks, %d missed", status.ticks, status.ticks_missed - self._missed)
        _log.info(
            "%d faults injected; stopped without a fault: %s", self._faults, self._stops or "never"
        )
        gaps_ms = np.diff(np.array(self._stamps_ns)) * 1e-6
        _log.info(
            "%d commands; gaps, ms: median %.2f, 99.9 %% %.2f, largest %s",
            len(self._stamps_ns),
            np.median(gaps_ms),
            np.percentile(gaps_ms, 99.9),
            np.sort(gaps_ms)[-5:].round(2),
        )
        rows = np.array(self._memory)
        half = rows[len(rows) // 2 :]
        for at, name in enumerate(("policy", "driver", "link", "emulator")):
            memory, files = half[:, 1 + 2 * at], half[:, 2 + 2 * at]
            slope = np.polyfit(half[:, 0] / 3600.0, memory, 1)[0]
            _log.info(
                "%s: %.1f to %.1f MiB in the second half (%+.3f MiB/h), %d to %d open files",
                *(name, memory[0], memory[-1], slope, files[0], files[-1]),
            )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="long_walk",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--hours", type=positive_number, default=2.0, help="duration (default %(default)g)"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of velocities and faults")
    parser.add_argument(
        "--output", type=Path, required=True, help="new folder for logs and recordings"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
