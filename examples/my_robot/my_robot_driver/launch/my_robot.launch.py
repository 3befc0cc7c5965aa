# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Launch a walking policy on my_robot: driver, policy node, and the robot if simulated:=true."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, Shutdown
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

SUITE = Path(get_package_share_directory("policy_inference"))
CONFIG = Path(__file__).parents[1] / "config" / "my_robot.yaml"


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the nodes."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "bundle", default_value="lite3_walk", description="Policy bundle"
            ),
            DeclareLaunchArgument(
                "simulated",
                default_value="false",
                choices=["true", "false"],
                description="Also start a simulated robot",
            ),
            Node(
                package="my_robot_driver",
                executable="my_robot_simulator",
                output="screen",
                on_exit=Shutdown(reason="the simulated robot ended"),
                condition=IfCondition(LaunchConfiguration("simulated")),
            ),
            Node(
                package="my_robot_driver",
                executable="my_robot_driver",
                arguments=["--ros-args", "--params-file", str(CONFIG)],
                output="screen",
                on_exit=Shutdown(reason="the driver ended"),
            ),
            # The policy node and its companions; the other arguments are those of this file.
            IncludeLaunchDescription(
                str(SUITE / "launch" / "joint_policy.launch.py"),
                launch_arguments=[("bundle", LaunchConfiguration("bundle")), ("robot", "none")],
            ),
        ]
    )
