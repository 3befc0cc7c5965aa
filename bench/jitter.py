# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""How regular the ticks of the node are, beside a bare loop at the same time, also under load.

`python -m bench.jitter --seconds 600` measures these rows alone.
"""

import argparse
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import numpy as np
from policy_msgs.msg import JointCommand

from bench.baselines import PERIOD_NS
from bench.figures import Figure, Summary, table
from bench.nodes import stream_sensors
from bench.processes import (
    BenchError,
    baseline,
    in_namespace,
    keep_to_machine,
    policy_node,
    running,
)
from bench.robot import upright_robot
from policy_inference.machine.scheduling import set_realtime_priority, threads_of

SECONDS = 60.0
_WARM_UP_S = 3.0
_PRIORITY, _ROBOT_PRIORITY = 20, 30
"""Of the node's control thread and the bare loop; and of what stands for the robot."""
_log = logging.getLogger("bench")


def rows(duration_s: float) -> list[tuple[str, Callable[[], list[Figure]]]]:
    """Return what can be measured, each for so long: what it is called, and what does it."""
    return [
        (
            f"jitter without other work, {duration_s:g} s",
            lambda: _measure("quiet", duration_s, loaded=False, priority=0),
        ),
        (
            f"jitter under load, {duration_s:g} s",
            lambda: _measure("load", duration_s, loaded=True, priority=0),
        ),
        (
            f"jitter under load with real-time priority, {duration_s:g} s",
            lambda: _measure("load_priority", duration_s, loaded=True, priority=_PRIORITY),
        ),
    ]


def _measure(name: str, duration_s: float, *, loaded: bool, priority: int) -> list[Figure]:
    """Run the node and the bare loop side by side."""
    command = policy_node(**{"realtime.priority": str(priority)} if priority else {})
    with (
        upright_robot(f"/jitter_{name}") as robot,
        running(in_namespace(command, f"/jitter_{name}")) as node,
    ):
        robot.bring_to_run(node)
        if priority and f"the machine grants realtime.priority {priority}" not in node.output():
            raise BenchError(
                "the kernel refuses real-time priority; run as root, or see docs/performance.md"
            )
        with _other_work() if loaded else nullcontext():
            # The robot's clock is a little slower.
            bare_s = 1.01 * (_WARM_UP_S + duration_s)
            with running(baseline("sleep", str(bare_s), str(priority))) as loop:
                stream_sensors(robot, _WARM_UP_S)
                began_ns = time.monotonic_ns()
                commands = stream_sensors(robot, duration_s)
                turns_ns = [
                    turn_ns
                    for word in loop.wait(_WARM_UP_S + 0.1 * duration_s).split()
                    if (turn_ns := int(word)) >= began_ns
                ]
    if commands[-1].mode not in (JointCommand.MODE_RUN, JointCommand.MODE_HOLD):
        raise BenchError("the node damped: its inputs or its ticks came too late")
    ours = _regularity(
        [each.stamp.sec * 1_000_000_000 + each.stamp.nanosec for each in commands],
        [each.sequence for each in commands],
    )
    bare = _regularity(turns_ns, range(len(turns_ns)))
    p99, p999, missed = (
        [[Summary(value=value)] for value in pair] for pair in zip(ours, bare, strict=True)
    )
    wanted = 2.0 if priority or not loaded else None
    return [
        Figure(
            name=f"jitter_{name}_p99_{'ratio' if wanted else 'us'}",
            unit="us",
            ours=p99[0],
            baseline=p99[1],
            wanted=wanted,
        ),
        Figure(name=f"jitter_{name}_p999_us", unit="us", ours=p999[0], baseline=p999[1]),
        Figure(name=f"jitter_{name}_missed", unit="ticks", ours=missed[0], baseline=missed[1]),
    ]


def _regularity(times_ns: Sequence[int], numbers: Sequence[int]) -> tuple[float, float, float]:
    """Return how far times between turns are from the period, and how many turns are missing.

    Args:
        times_ns: When turns began.
        numbers: Of the turns, since some may not have been seen.

    Returns:
        99th and 99.9th percentile, us; and the number of periods without a turn.
    """
    number, time_ns = np.array(numbers, np.int64), np.array(times_ns, np.int64)
    steps = number[1:] - number[:-1]
    off_ns = time_ns[1:] - time_ns[:-1] - PERIOD_NS * steps
    p99, p999 = np.percentile(np.abs(off_ns[steps == 1]) * 1e-3, (99, 99.9)).tolist()
    missed = np.maximum(0, np.round(off_ns / PERIOD_NS)).sum()
    return p99, p999, float(missed)


@contextmanager
def _other_work() -> Iterator[None]:
    """Load every core and the disk, but not the simulated robot."""
    if shutil.which("stress-ng") is None:
        raise BenchError("stress-ng is not there: apt install stress-ng")
    threads = threads_of(os.getpid())
    with (
        tempfile.TemporaryDirectory() as folder,
        running(
            [
                "stress-ng",
                "--cpu",
                "0",
                "--hdd",
                "1",
                "--hdd-bytes",
                "128M",
                "--temp-path",
                folder,
                "--quiet",
            ]
        ),
    ):
        if refused := set_realtime_priority(_ROBOT_PRIORITY, "bench: priority", threads):
            raise BenchError(refused[0])
        try:
            yield
        finally:
            set_realtime_priority(0, "bench: priority", threads)


def main() -> None:
    """Measure these rows alone."""
    parser = argparse.ArgumentParser(prog="python -m bench.jitter", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="of each row (default %(default)g)"
    )
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    keep_to_machine()
    figures = list[Figure]()
    for what, measure in rows(given.seconds):
        _log.info("measuring %s ...", what)
        try:
            figures += measure()
        except BenchError as error:
            _log.error("bench: %s: %s", what, error)
    _log.info("\n%s", table(figures))


if __name__ == "__main__":
    main()
