# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The flight recorder of a node: what its recordings have, when they come, what is told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from policy_msgs.msg import JointCommand
from rosbags.highlevel import AnyReader

from policy_inference.nodes.joint_policy_node import JointPolicyNode

from .bundles import PERIOD_NS
from .harness import NAN, Robot, ns

pytestmark = pytest.mark.ros

AFTER_S, AFTER_TICKS = 0.2, 10


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "flights"


@pytest.fixture
def start(active: Callable[..., JointPolicyNode], folder: Path) -> Callable[..., JointPolicyNode]:
    """Start a node that records, in simulated time."""

    def start_node(**parameters: object) -> JointPolicyNode:
        return active(**{"use_sim_time": True, "flight__folder": str(folder),
                         "flight__after_s": AFTER_S, "flight__min_free_mb": 0.0, **parameters})

    return start_node


@pytest.fixture
def runner(start: Callable[..., JointPolicyNode], robot: Robot) -> Robot:
    """A robot in RUN, whose node records."""
    start()
    return robot.runs()


def recordings(folder: Path) -> list[Path]:
    """Return what is there and not hidden, oldest first."""
    return sorted(path for path in folder.glob("*") if not path.name.startswith("."))


def read(path: Path) -> dict[str, list[tuple[int, Any, bytes]]]:
    """Return log time, message and bytes of all messages by topic."""
    found: dict[str, list[tuple[int, Any, bytes]]] = {}
    with AnyReader([path]) as reader:
        for connection, log_ns, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            found.setdefault(connection.topic, []).append((log_ns, message, bytes(data)))
    return found


def recorded(robot: Robot, folder: Path, count: int = 1) -> dict[str, list[tuple[int, Any, bytes]]]:
    """Let time pass until there are so many recordings; return the newest."""
    robot.until(lambda: robot.tick() and len(recordings(folder)) == count, "a recording")
    return read(recordings(folder)[-1])


def test_fault_is_recorded_with_what_came_before_and_after(runner: Robot, folder: Path) -> None:
    runner.velocity = (NAN, 0.0)
    fault_ns = ns(runner.tick().stamp)
    runner.velocity = (0.0, 0.0)
    found = recorded(runner, folder)
    (path,) = recordings(folder)
    assert path.name.startswith("two_joints-2")
    assert path.name.endswith("Z-not_finite")
    (_, info, _), *others = found["/flight_info"]
    assert info.reason.startswith("not_finite: joint_vel")
    assert not others
    ticks = [tick for _, tick, _ in found["/policy_tick"]]
    times_ns = [ns(tick.stamp) for tick in ticks]
    assert np.diff(times_ns).tolist() == [PERIOD_NS] * (len(ticks) - 1)
    assert times_ns[0] < fault_ns
    assert times_ns[-1] >= fault_ns + AFTER_TICKS * PERIOD_NS
    faulty = ticks[times_ns.index(fault_ns)]
    assert faulty.mode == JointCommand.MODE_DAMP
    assert faulty.reason.startswith("not_finite")
    assert np.isnan(faulty.state).any()


def test_commands_are_those_that_were_sent(runner: Robot, folder: Path) -> None:
    runner.is_told("record")
    sent = {command.sequence: command for command in runner.commands}
    for log_ns, message, _ in recorded(runner, folder)["/joint_command"]:
        command = sent[message.sequence]
        assert log_ns == ns(command.stamp)
        assert message.mode == command.mode
        assert message.names == command.names
        for field in ("position", "velocity", "effort", "stiffness", "damping", "effort_limit"):
            assert getattr(message, field).tolist() == getattr(command, field).tolist()
        assert message.valid_for.nanosec == command.valid_for.nanosec
