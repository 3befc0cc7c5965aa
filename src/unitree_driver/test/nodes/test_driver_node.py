# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What only these drivers do; test_conformance.py has what every driver does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rclpy.node import Node
from sensor_msgs.msg import BatteryState, Imu, JointState, Joy
from std_msgs.msg import Bool

from policy_inference.nodes import qos
from policy_inference.nodes.sampling import message_class
from policy_inference.testing.domains import claimed_domain_id
from robot_driver.testing.case import GIVEN_BACK, DriverCase
from robot_driver.testing.stage import Stage
from testkit.wording import check_wording, lines_with
from unitree_driver.figures import G1, GO2

from .robot import GO2_CASE, UnitreeDouble

pytestmark = pytest.mark.ros


def switched_on(robot: UnitreeDouble) -> UnitreeDouble:
    robot.start()
    return robot


def test_state_and_remote_of_the_robot_are_on_its_topics(
    stage_of: Callable[[DriverCase], Stage],
) -> None:
    stage, robot = stage_of(GO2_CASE), switched_on(UnitreeDouble(GO2))
    heard: dict[str, list[Any]] = {}
    for kind, name in (
        (JointState, "joint_states"),
        (Imu, "imu/data"),
        (Joy, "joy"),
        (BatteryState, "battery_state"),
        (Bool, "estop"),
    ):
        heard[name] = []
        stage.listen(kind, f"/go2/{name}", heard[name], qos.SAMPLE)
    driver = stage.driver(robot, name="go2", parameters={"joy_rate_hz": 50.0})

    driver.until(lambda: all(heard[name] for name in heard if name != "estop"), "all topics")
    joints, imu = heard["joint_states"][-1], heard["imu/data"][-1]
    assert tuple(joints.name) == GO2.figures.joint_names
    np.testing.assert_allclose(joints.position, robot.pose, atol=1e-6)
    assert imu.orientation.w == pytest.approx(1.0)
    assert imu.linear_acceleration.z == pytest.approx(9.81, abs=0.02)
    assert heard["battery_state"][-1].percentage == pytest.approx(0.8)
    assert heard["estop"] == []

    robot.press("L2", "B")
    driver.until(lambda: heard["estop"], "the e-stop")
    assert heard["estop"][-1].data
    driver.has_obstacle("e-stop was pressed")
    driver.until(lambda: heard["joy"][-1].buttons[1] == 1, "button B of the remote")


@pytest.mark.slow
def test_operator_whose_estop_is_kept_brings_no_warning(
    stage_of: Callable[[DriverCase], Stage],
) -> None:
    stage, robot = stage_of(GO2_CASE), switched_on(UnitreeDouble(GO2))
    kept = stage.node.create_publisher(Bool, "/go2/estop", qos.STATUS)
    driver = stage.driver(robot, name="go2")

    # One reader for what was pressed before it was there, beside the two that are always there.
    driver.until(lambda: kept.get_subscription_count() == 3, "the readers")
    kept.publish(Bool(data=True))

    driver.has_obstacle("e-stop was pressed")
    assert "incompatible QoS" not in driver.log


@pytest.mark.slow
def test_second_publisher_of_lowcmd_damps_and_refuses(
    stage_of: Callable[[DriverCase], Stage],
) -> None:
    robot = switched_on(UnitreeDouble(GO2))
    driver = stage_of(GO2_CASE).driver(robot)
    driver.takes_control()
    driver.follows()

    other = Node("other", context=robot.node.context)
    kind = message_class("unitree_go/msg/LowCmd")
    publisher = other.create_publisher(kind, "/lowcmd", qos.COMMAND)
    driver.rests("another publisher on /lowcmd (/other)")
    driver.gives_back_control()
    driver.refuses_control("another publisher on /lowcmd (/other)")

    other.destroy_publisher(publisher)
    other.destroy_node()


@pytest.mark.slow
def test_robot_of_another_kind_is_named_and_control_refused(
    stage_of: Callable[[DriverCase], Stage],
) -> None:
    driver = stage_of(GO2_CASE).driver(switched_on(UnitreeDouble(G1)))

    driver.has_obstacle("unitree_hg/msg/LowState")
    driver.refuses_control("unitree_hg/msg/LowState")


@pytest.mark.acceptance
def test_standing_robot_is_lowered_where_the_node_dies(
    stage_of: Callable[[DriverCase], Stage],
) -> None:
    robot = switched_on(UnitreeDouble(GO2))
    driver = stage_of(GO2_CASE).driver(robot)
    driver.takes_control()
    driver.follows()
    place = len(robot.heard)

    driver.process.kill()

    driver.until(lambda: robot.heard[-1].what == GIVEN_BACK, "the end of control")
    lowered = [
        each.values[:, 0]
        for each in robot.heard[place:]
        if each.values is not None and not each.rests
    ]
    np.testing.assert_allclose(lowered[-1], robot.pose, atol=1e-5)
    assert robot.service.active == "ai"


def test_interface_that_is_not_there_is_refused_with_those_that_are() -> None:
    ended = subprocess.run(
        ["go2_driver", "--ros-args", "-p", "network_interface:=robot0"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 2
    check_wording(*lines_with(ended.stderr, "network_interface"))
    assert "found 'robot0'" in ended.stderr


def test_robot_is_reached_without_the_keys_of_sros() -> None:
    begin = """
from unitree_driver.figures import GO2, UnitreeSettings
from unitree_driver.nodes.dds import UnitreeTopics
UnitreeTopics(GO2, UnitreeSettings(domain_id={domain}), linked=True).close()
"""
    with claimed_domain_id() as domain:
        subprocess.run(
            [sys.executable, "-c", begin.format(domain=domain)],
            env={**os.environ, "ROS_SECURITY_ENABLE": "true", "ROS_SECURITY_STRATEGY": "Enforce"},
            timeout=60,
            check=True,
        )
