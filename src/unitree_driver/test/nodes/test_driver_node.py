# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import signal
import subprocess
from typing import Any

import numpy as np
import pytest
import rclpy
from policy_msgs.msg import RobotStatus
from rclpy.node import Node
from sensor_msgs.msg import BatteryState, Imu, JointState, Joy
from std_msgs.msg import Bool

from policy_inference.nodes import qos
from policy_inference.nodes.sampling import message_class
from unitree_driver.figures import G1, GO2

from .harness import Stage
from .robot import RobotThread

pytestmark = pytest.mark.ros

LINK, STANDBY = "robot_driver.link_process", "unitree_driver.nodes.standby"


def test_state_of_the_robot_is_on_its_topics(stage: Stage) -> None:
    robot = RobotThread(GO2)
    heard: dict[str, list[Any]] = {
        name: [] for name in ("joint_states", "imu/data", "joy", "battery_state", "estop")
    }
    for kind, name in (
        (JointState, "joint_states"),
        (Imu, "imu/data"),
        (Joy, "joy"),
        (BatteryState, "battery_state"),
        (Bool, "estop"),
    ):
        stage.listen(kind, f"/{name}", heard[name], qos.SAMPLE)
    driver = stage.driver("go2_driver", robot, joy_rate_hz=50.0)

    driver.until(lambda: all(heard[name] for name in heard if name != "estop"), "all topics")
    joints, imu = heard["joint_states"][-1], heard["imu/data"][-1]
    assert tuple(joints.name) == GO2.figures.joint_names
    np.testing.assert_allclose(joints.position, robot.service.joint_pos, atol=1e-6)
    assert imu.orientation.w == pytest.approx(1.0)
    assert imu.linear_acceleration.z == pytest.approx(9.81, abs=1e-5)
    assert heard["battery_state"][-1].percentage == pytest.approx(0.8)
    assert heard["estop"] == []

    robot.press("L2", "B")
    driver.until(lambda: heard["estop"], "the e-stop")
    assert heard["estop"][-1].data
    driver.obstacle("e-stop was pressed")
    driver.until(lambda: heard["joy"][-1].buttons[1] == 1, "button B of the remote")


def test_control_is_taken_followed_and_given_back_lying(stage: Stage) -> None:
    robot = RobotThread(GO2)
    driver = stage.driver("go2_driver", robot)

    driver.takes_control()
    driver.until(robot.damps, "a command that damps")
    assert robot.service.active == ""
    driver.follows()
    answer = driver.ask("release_control")

    assert answer.success
    assert robot.damps()
    assert robot.wrong_crc == 0
    driver.until(lambda: robot.service.active == "ai", "the robot's own controller")


def test_g1_is_released_where_it_hangs(stage: Stage) -> None:
    robot = RobotThread(G1)
    driver = stage.driver("g1_driver", robot, hung=True)

    driver.takes_control()

    driver.until(robot.damps, "a command that damps")
    assert robot.wrong_crc == 0


def test_controller_that_stays_is_named(stage: Stage) -> None:
    robot = RobotThread(GO2, active="mcf")
    robot.service.stubborn = True
    driver = stage.driver("go2_driver", robot, release_timeout_s=5.0)
    driver.may_be_taken()

    answer = driver.ask("take_control")

    assert not answer.success
    assert "`mcf` is still active" in answer.message
    assert robot.commands == []


def test_second_publisher_of_commands_refuses_and_damps(stage: Stage) -> None:
    robot = RobotThread(GO2)
    driver = stage.driver("go2_driver", robot)
    driver.takes_control()
    driver.follows()

    other = Node("other")
    kind = message_class("unitree_go/msg/LowCmd")
    publisher = other.create_publisher(kind, "/lowcmd", qos.COMMAND)
    driver.damps("another publisher on /lowcmd (/other)")

    other.destroy_publisher(publisher)
    other.destroy_node()


def test_robot_of_the_other_family_is_named(stage: Stage) -> None:
    driver = stage.driver("go2_driver", RobotThread(G1))

    driver.obstacle("unitree_hg/msg/LowState, expected unitree_go/msg/LowState")


def test_dead_link_process_is_replaced_by_the_standby_process(stage: Stage) -> None:
    robot = RobotThread(GO2)
    driver = stage.driver("go2_driver", robot)
    driver.takes_control()
    driver.follows()

    driver.kill(LINK)

    driver.until(robot.damps, "a command that damps")
    assert driver.ended() == 2
    assert "the drives were braked" in driver.log


def test_dead_node_leaves_a_robot_that_was_lowered_and_damped(stage: Stage) -> None:
    robot = RobotThread(GO2)
    driver = stage.driver("go2_driver", robot)
    driver.takes_control()
    driver.follows()

    driver.process.kill()

    driver.until(robot.damps, "a command that damps")
    driver.until(lambda: robot.service.active == "ai", "the robot's own controller")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_driver_that_is_ended_gives_control_back(stage: Stage, number: signal.Signals) -> None:
    robot = RobotThread(GO2)
    driver = stage.driver("go2_driver", robot)
    driver.takes_control()
    driver.follows()

    driver.process.send_signal(number)

    assert driver.ended() == 0
    assert robot.damps()
    driver.until(lambda: robot.service.active == "ai", "the robot's own controller")


def test_interface_that_is_not_there_is_refused_with_those_that_are(stage: Stage) -> None:
    rclpy.logging.get_logger("test").info("one driver without a robot")

    ended = subprocess.run(
        ["go2_driver", "--ros-args", "-p", "network_interface:=robot0"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 2
    assert "network_interface: expected one of" in ended.stderr
    assert "found 'robot0'" in ended.stderr


def test_state_that_is_lost_damps_and_gives_control_back(stage: Stage) -> None:
    robot = RobotThread(GO2)
    driver = stage.driver("go2_driver", robot)
    driver.takes_control()
    driver.follows()

    robot.silent = True

    driver.until(robot.damps, "a command that damps")
    driver.reports(lambda status: status.state == RobotStatus.LISTENING, "LISTENING")
