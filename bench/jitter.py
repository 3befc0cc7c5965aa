# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Regularity of a policy's ticks at 1 kHz, compared with a C loop of the same priority."""

import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from policy_msgs.msg import JointCommand

from bench.c_baselines import c_baseline
from bench.effort import Effort
from bench.figures import Figure, Summary
from bench.nodes import stream_sensors
from bench.processes import (
    BenchError,
    baseline,
    copied_bundle,
    in_namespace,
    policy_node,
    running,
)
from bench.robot import real_time_robot, upright_robot

_RATE_HZ = 1000
_PERIOD_NS = 1_000_000_000 // _RATE_HZ
_CHANGED = {"rate_hz": _RATE_HZ, "safety": {"on_fault": "damp", "state_timeout_s": 0.1}}
"""By default, a state may be two periods old, but sensor messages arrive less often than that."""
_WARM_UP_S = 2.0
_PRIORITY = 20
"""Of the node's control thread and the C loop."""


def measure(effort: Effort) -> list[Figure]:
    """Measure without other work and under load."""
    return [*_measure("quiet", effort), *_measure("load", effort, loaded=True)]


def _measure(name: str, effort: Effort, *, loaded: bool = False) -> list[Figure]:
    """Run the node and the loop side by side."""
    duration_s = effort.jitter_s
    # a little longer than the measurement, which the robot's clock stretches
    turns = round(1.01 * (_WARM_UP_S + duration_s) * _RATE_HZ)
    sleeping = c_baseline("sleep", _PERIOD_NS, turns, _PRIORITY)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = {
            "bundle": str(copied_bundle(folder / "bundle", _CHANGED)),
            "realtime.priority": str(_PRIORITY),
        }
        command = in_namespace(policy_node(**settings), f"/jitter_{name}")
        robot = stack.enter_context(upright_robot(f"/jitter_{name}"))
        stack.enter_context(real_time_robot())
        for _ in range(os.cpu_count() or 1 if loaded else 0):
            stack.enter_context(running(baseline("load")))
        node = stack.enter_context(running(command))
        robot.bring_to_run(node)
        if f"the machine grants realtime.priority {_PRIORITY}" not in node.output():
            raise BenchError(
                f"expected the node to be granted realtime.priority {_PRIORITY}, like the robot"
            )
        missed = -robot.await_status(node).ticks_missed
        loop = stack.enter_context(running(sleeping))
        stream_sensors([robot], _WARM_UP_S, effort)
        (commands,) = stream_sensors([robot], duration_s, effort)
        missed += robot.await_status(node).ticks_missed
        if commands[-1].mode not in (JointCommand.MODE_RUN, JointCommand.MODE_HOLD):
            raise BenchError("the node damped: its inputs or its ticks were too late")
        bare_missed, *turns_ns = map(int, loop.wait(_WARM_UP_S + duration_s).split())
    ours = _off_us([each.stamp_ns for each in commands], [each.sequence for each in commands])
    bare = _off_us(turns_ns[round(_WARM_UP_S * _RATE_HZ) :], range(len(turns_ns)))
    return [
        Figure(
            name=f"jitter_{name}_p999_ratio", unit="us", ours=[ours], baseline=[bare], wanted=2.0
        ),
        Figure(
            name=f"jitter_{name}_missed",
            unit="ticks",
            ours=[Summary(value=missed)],
            baseline=[Summary(value=bare_missed)],
            wanted=0.0,
        ),
    ]


def _off_us(times_ns: Sequence[int], numbers: Sequence[int]) -> Summary:
    """Return the 99.9th percentile of the deviation of intervals from the period, us.

    Args:
        times_ns: Start times of cycles.
        numbers: Numbers of these cycles, since some may have been missed.
    """
    number, time_ns = np.array(numbers[: len(times_ns)], np.int64), np.array(times_ns, np.int64)
    in_a_row = np.diff(number) == 1
    off_ns = np.abs(np.diff(time_ns)[in_a_row] - _PERIOD_NS)
    return Summary(value=float(np.percentile(off_ns, 99.9)) * 1e-3)
