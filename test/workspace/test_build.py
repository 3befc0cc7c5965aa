# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The built workspace: commands on the PATH, installed files, messages over DDS."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
import rclpy
from policy_msgs.msg import JointCommand
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.task import Future

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("policy_inference", "robot_sim")

pytestmark = pytest.mark.ros


@pytest.mark.parametrize("package", PACKAGES)
def test_every_command_of_a_package_is_on_the_path(package: str) -> None:
    commands = distribution(package).entry_points.select(group="console_scripts")
    found = {command.name: shutil.which(command.name) for command in commands}
    folder = ROOT / "install" / package / "lib" / package
    assert found
    assert found == {name: str(folder / name) for name in found}


@pytest.mark.parametrize("folder", ["launch", "config"])
def test_launch_files_and_configurations_are_installed(folder: str) -> None:
    share = ROOT / "install/policy_inference/share/policy_inference"
    patterns = ("launch/*.launch.py", "config/nodes/*.yaml", "config/bundles/**/*")
    found = [path for pattern in patterns for path in ROOT.glob(pattern)]
    committed = {path.relative_to(ROOT) for path in found if path.is_file()}
    installed = {path.relative_to(share) for path in share.rglob("*") if path.is_file()}
    expected = {path for path in committed if path.parts[0] == folder}
    assert expected
    assert expected <= installed


@pytest.fixture
def executor() -> Iterator[SingleThreadedExecutor]:
    context = Context()
    rclpy.init(context=context)
    executor = SingleThreadedExecutor(context=context)
    yield executor
    executor.shutdown()
    rclpy.shutdown(context=context)


def test_a_joint_command_arrives_as_it_was_sent(executor: SingleThreadedExecutor) -> None:
    node = rclpy.create_node("there_and_back", context=executor.context)
    executor.add_node(node)
    sent = JointCommand(
        sequence=2**64 - 1,
        mode=JointCommand.MODE_HOLD_MEASURED,
        names=["knee"],
        position=[0.1],
        effort_limit=[30.0],
    )
    arrived = Future(executor=executor)
    node.create_subscription(JointCommand, "joint_command", arrived.set_result, 1)
    publisher = node.create_publisher(JointCommand, "joint_command", 1)
    node.create_timer(0.05, lambda: publisher.publish(sent))
    executor.spin_until_future_complete(arrived, timeout_sec=20.0)
    assert arrived.result() == sent


def test_a_test_talks_on_a_domain_of_its_own_and_on_this_host_only() -> None:
    assert 1 <= int(os.environ["ROS_DOMAIN_ID"]) <= 101
    assert {"ROS_LOCALHOST_ONLY", "ROS_AUTOMATIC_DISCOVERY_RANGE"} & set(os.environ)
