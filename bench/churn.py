# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Gaps between commands while other participants join and leave."""

import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import rclpy
from policy_msgs.msg import JointCommand
from rclpy.node import Node
from rclpy.qos import QoSProfile

from bench.effort import Effort
from bench.figures import Figure, Summary
from bench.nodes import stream_sensors
from bench.processes import (
    BUNDLE,
    BenchError,
    baseline,
    in_namespace,
    policy_node,
    running,
)
from bench.robot import UprightRobot, real_time_robot, upright_robot
from policy_inference.nodes.rclpy_gaps import SampleGroup, never_called, take_message

_PARTICIPANTS, _AT_ONCE, _INTERVAL_S = 50, 10, 0.4
_START_S, _END_S = 1.0, 10.0
"""Time until the first participant joins, and longest wait for the last one to leave."""
_PRIORITY = 20
_log = logging.getLogger("bench")


def measure(effort: Effort) -> list[Figure]:
    """Return the longest interval between two commands at two rates, with and without churn."""
    return [_measure(rate_hz, effort) for rate_hz in (50, 200)]


def _measure(rate_hz: int, effort: Effort) -> Figure:
    namespace, participants = f"/churn_{rate_hz}", effort.count(_PARTICIPANTS)
    # present for long enough to receive a command
    at_once = min(_AT_ONCE, 2 * participants)
    longest_gap_ms = partial(
        _longest_gap_ms,
        duration_s=_START_S + (participants + at_once) * _INTERVAL_S,
        effort=effort,
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        upright_robot(namespace) as robot,
        _commands(namespace) as commands,
        running(in_namespace(_node(rate_hz, Path(folder)), namespace)) as node,
    ):
        robot.bring_to_run(node)
        with real_time_robot():
            alone_ms = longest_gap_ms(robot, commands)
            joining = baseline("join", str(participants), str(at_once), str(_INTERVAL_S))
            with running(in_namespace(joining, namespace)) as others:
                beside_ms = longest_gap_ms(robot, commands)
                heard = int(others.wait(_END_S).split()[-1])
    if not heard:
        raise BenchError("no participant received a command, so none has joined")
    if heard < participants:
        _log.info("%s of %s participants received a command", heard, participants)
    return Figure(
        name=f"churn_{rate_hz}_gap_ms",
        unit="ms",
        wanted=2000.0 / rate_hz,
        ours=[Summary(value=beside_ms)],
        baseline=[Summary(value=alone_ms)],
    )


def _node(rate_hz: int, folder: Path) -> list[str]:
    """Return the command that starts a node with the bundle at this rate."""
    bundle = Path(copytree(BUNDLE, folder / "bundle"))
    contract = bundle / "policy.yaml"
    contract.write_text(contract.read_text().replace("rate_hz: 50", f"rate_hz: {rate_hz}"))
    return policy_node(bundle=str(bundle), **{"realtime.priority": str(_PRIORITY)})


@contextmanager
def _commands(namespace: str) -> Iterator[Any]:
    """Subscribe to all commands; they stay in the middleware until `_longest_gap_ms` takes them."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = Node("listener", namespace=namespace, context=context, enable_rosout=False)
    profile, group = QoSProfile(depth=10_000), SampleGroup()
    try:
        yield node.create_subscription(
            JointCommand, "joint_command", never_called, profile, callback_group=group
        ).handle
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


def _longest_gap_ms(
    robot: UprightRobot, commands: Any, *, duration_s: float, effort: Effort
) -> float:
    """Return the longest interval between two commands that arrive while sensors stream, ms."""
    while take_message(commands, JointCommand):
        pass
    stream_sensors([robot], duration_s, effort)
    # later commands were sent after the sensor stream had ended
    ended_ns, arrived_ns = time.time_ns(), list[int]()
    while taken := take_message(commands, JointCommand):
        if taken[1]["received_timestamp"] <= ended_ns:
            arrived_ns.append(taken[1]["received_timestamp"])
    return float(np.diff(arrived_ns).max()) * 1e-6
