# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Measure the delay until a walking robot damps after an e-stop, while every core is busy.

    python -m tools.estop_delay --busy 4 --priority 20 --output out/estop

An emulated Go2 walks under its policy, through the driver, in real processes. `estop` has a
publisher that its subscribers discovered long before the e-stop. The measured time runs from just
before the publication until the emulated robot follows the first LowCmd without stiffness. The busy
programs start one second before the e-stop. The emulated robot and the button, which in reality
would be outside the computer that runs the policy and driver, have the highest priority, which the
kernel must allow. docs/safety.md gives two results.
"""
# run: {short: --tries 1, real_time: yes}

from __future__ import annotations

import argparse
import logging
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from std_msgs.msg import Bool

from examples.demos.runner import own_domain
from robot_operator.requests import OperatorError
from robot_sim.errors import SimError
from tools.robot_faults.go2 import Go2Stack
from tools.robot_faults.stack import prefer

_WALKED_S, _LOADED_S, _WATCHED_S = 1.5, 1.0, 3.0
_NS_PER_MS = 1_000_000
_BUSY = "while True: pass"
_log = logging.getLogger("estop_delay")


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    given = _parser().parse_args(args)
    os.environ.update(own_domain(seed=os.getpid()))
    given.output.mkdir(parents=True, exist_ok=True)
    try:
        with Go2Stack(given.output, priority=given.priority) as robot:
            robot.operator.wait_for_robot()
            for process in (os.getpid(), robot.emulator.pid):
                if refused := prefer(process):
                    raise OperatorError(refused[0])
            robot.take_control()
            delays_ms = measure(robot, given.tries, busy=given.busy)
    except (OperatorError, SimError) as error:
        _log.error("estop_delay: %s", error)
        return 1
    _log.info(
        "| %d | %d | %d | %.1f | %.1f |",
        given.busy,
        given.priority,
        len(delays_ms),
        statistics.median(delays_ms),
        max(delays_ms),
    )
    return 0


def measure(robot: Go2Stack, tries: int, *, busy: int) -> list[float]:
    """Press the e-stop of a walking robot repeatedly.

    If the robot stops on its own because the machine is busy, as it must when inputs are stale, it
    is made to walk again; this does not count as a try.

    Args:
        robot: The robot, under control.
        tries: Number of tries.
        busy: Number of programs that keep a core busy.

    Returns:
        Delays, ms, one for each try.
    """
    delays_ms: list[float] = []
    stopped = 0
    button = robot.operator.node.create_publisher(Bool, "estop", 1)
    while len(delays_ms) < tries:
        robot.operator.stand_up()
        robot.operator.move(0.5)
        robot.operator.wait(_WALKED_S)
        with _other_programs(busy):
            # vary the phase within a step of the gait, and within all periods
            robot.operator.wait(_LOADED_S + 0.013 * len(delays_ms))
            began_ns = time.time_ns()
            button.publish(Bool(data=True))
            damped_ns = _damped_ns(robot)
        if damped_ns >= began_ns:
            delays_ms.append((damped_ns - began_ns) / _NS_PER_MS)
            _log.info("%.1f ms", delays_ms[-1])
        else:
            stopped += 1
            _log.info("stopped before: %s", robot.operator.status.reason)
            if stopped > tries:
                raise OperatorError(f"the robot stopped {stopped} times before the e-stop")
        robot.operator.let_go()
        _release(robot)
    return delays_ms


def _damped_ns(robot: Go2Stack) -> int:
    """Wait until the robot is damped; return the time of the event, ns on the system clock."""
    ends_s = time.monotonic() + _WATCHED_S
    while time.monotonic() < ends_s:
        robot.operator.wait(0.05)
        newest = [each for each in robot.events() if each.event in ("following", "damped")][-1]
        if newest.event == "damped":
            return newest.unix_ns
    raise OperatorError(f"the robot is not damped {_WATCHED_S:g} s after the e-stop")


def _release(robot: Go2Stack) -> None:
    """Release both e-stops of a robot once it is lying down."""
    robot.operator.wait(1.0)
    robot.operator.demand("reset")
    released, message = robot.ask_driver("reset")
    if not released:
        raise OperatorError(f"reset: {message}")
    robot.wait_until(lambda: robot.phase == "FOLLOWING", "the driver to follow again")


@contextmanager
def _other_programs(count: int) -> Iterator[None]:
    """Run busy programs within the context."""
    programs = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="estop_delay",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for logs and events")
    parser.add_argument(
        "--tries", type=int, default=20, help="number of tries (default %(default)d)"
    )
    parser.add_argument(
        "--busy", type=int, default=0, help="number of busy programs (default %(default)d)"
    )
    parser.add_argument(
        "--priority",
        type=int,
        default=0,
        help="realtime.priority of the driver and the policy node (default %(default)d: none)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
