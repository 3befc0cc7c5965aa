# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Gaps between commands while other participants join and leave."""

import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import rclpy
from policy_msgs.msg import JointCommand
from rclpy.node import Node
from rclpy.qos import QoSProfile

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
from bench.robot import UprightRobot, upright_robot
from policy_inference.machine.scheduling import list_threads, set_realtime_priority
from policy_inference.nodes.rclpy_gaps import SampleGroup, never_called, take_message

_PARTICIPANTS, _SECONDS = 50, 20
_LEAVE_S = 5.0
"""Time between the last participant's arrival and the departure of all."""
_PRIORITY, _ROBOT_PRIORITY = 20, 30
_log = logging.getLogger("bench")


def measure() -> list[Figure]:
    """Return the longest interval between two commands at two rates, with and without churn."""
    return [_measure(rate_hz) for rate_hz in (50, 200)]


def _measure(rate_hz: int) -> Figure:
    namespace = f"/churn_{rate_hz}"
    with (
        tempfile.TemporaryDirectory() as folder,
        upright_robot(namespace) as robot,
        _commands(namespace) as commands,
        running(in_namespace(_node(rate_hz, Path(folder)), namespace)) as node,
    ):
        robot.bring_to_run(node)
        threads = list_threads(os.getpid())
        if refused := set_realtime_priority(_ROBOT_PRIORITY, "bench: priority", threads):
            raise BenchError(refused[0])
        try:
            alone_ms = _longest_gap_ms(robot, commands)
            joining = baseline("join", str(_PARTICIPANTS), str(_SECONDS))
            with running(in_namespace(joining, namespace)) as others:
                beside_ms = _longest_gap_ms(robot, commands)
                heard = int(others.wait(_LEAVE_S).split()[-1])
        finally:
            set_realtime_priority(0, "bench: priority", threads)
    if heard < _PARTICIPANTS:
        _log.info("%s of %s participants received a command", heard, _PARTICIPANTS)
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


def _longest_gap_ms(robot: UprightRobot, commands: Any) -> float:
    """Return the longest interval between two commands that arrive while sensors stream, ms."""
    while take_message(commands, JointCommand):
        pass
    stream_sensors([robot], _SECONDS + _LEAVE_S)
    # later commands were sent after the sensor stream had ended
    ended_ns, arrived_ns = time.time_ns(), list[int]()
    while taken := take_message(commands, JointCommand):
        if taken[1]["received_timestamp"] <= ended_ns:
            arrived_ns.append(taken[1]["received_timestamp"])
    return float(np.diff(arrived_ns).max()) * 1e-6
