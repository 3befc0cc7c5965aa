# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command `sim_node` as a process."""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import rclpy
from rclpy.node import Node
from sensor_msgs.msg import JointState

from robot_sim.trace import Trace
from testkit.wording import check_wording

from .harness import DEADLINE_S

pytestmark = pytest.mark.ros


def block() -> None:
    """Block all signals, as the parent of a process may have."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def start_sim_node(
    *parameters: str, before: Callable[[], None] | None = None
) -> "subprocess.Popen[str]":
    words = [word for parameter in parameters for word in ("-p", parameter)]
    return subprocess.Popen(
        ["sim_node", "--ros-args", *words],
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=before,
    )


def test_bad_parameters_end_with_status_2_and_one_clear_line() -> None:
    process = start_sim_node("pose:=flying")
    output, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 2, output
    check_wording(output)


@pytest.mark.parametrize(("number", "before"), [(signal.SIGINT, None), (signal.SIGTERM, block)])
def test_signal_ends_it_and_the_trace_is_written(
    tmp_path: Path, number: signal.Signals, before: Callable[[], None] | None
) -> None:
    process = start_sim_node(f"trace_file:={tmp_path / 'walk.npz'}", before=before)
    rclpy.init(args=[])
    node, heard = Node("listener"), list[JointState]()
    node.create_subscription(JointState, "joint_states", heard.append, 1)
    while process.poll() is None and len(heard) < 20:
        rclpy.spin_once(node, timeout_sec=DEADLINE_S)
    process.send_signal(number)
    output, _ = process.communicate(timeout=DEADLINE_S)
    node.destroy_node()
    rclpy.shutdown()
    assert process.returncode == 0, output
    assert "Traceback" not in output
    assert len(Trace.load(tmp_path / "walk.npz").time_s) > 0


def test_what_is_no_argument_of_ros_is_refused() -> None:
    refused = subprocess.run(["sim_node", "lockstep"], capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2
    assert "unrecognized" in refused.stderr
