# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Launch a walking policy as a ros2_control controller of a simulated Lite3, Go2 or G1.

Requires ros2_control and the packages policy_controllers and robot_sim. On your own robot, use that
robot's hardware component instead of the simulated one; see docs/ros2_control.md.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    OpaqueFunction,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.substitutions import Command, LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from policy_inference.machine.middleware import discovery_variables, require_known_arguments

CONFIG = Path(__file__).parents[1] / "config" / "nodes"
CONTROLLER = "policy_controller"

ARGUMENTS = [
    DeclareLaunchArgument(
        "bundle",
        default_value="lite3_walk",
        description="Bundle of a joint policy or a set: a folder, or an installed one",
    ),
    DeclareLaunchArgument(
        "robot",
        default_value="lite3",
        description="Simulated robot: lite3, go2, g1 or a folder of figures",
    ),
    DeclareLaunchArgument(
        "faults",
        default_value="",
        description="Faults of the simulation, separated by spaces, such as drop:imu@12",
    ),
    DeclareLaunchArgument(
        "params_file",
        default_value=str(CONFIG / "ros2_control.yaml"),
        description="Parameters of the controller manager and of the controller",
    ),
]


def control(context: LaunchContext) -> list[Node]:
    """Write the bundle's plan; return the nodes that load the hardware component and controller."""
    bundle, robot, faults, file = (
        LaunchConfiguration(name).perform(context)
        for name in ("bundle", "robot", "faults", "params_file")
    )
    folder = Path(tempfile.mkdtemp(prefix="policy_controller_"))
    plan, own = folder / "plan", folder / "parameters.yaml"
    make = [sys.executable, "-m", "policy_inference.commands.main", "controller-plan"]
    subprocess.run([*make, bundle, "--output", str(plan)], check=True)
    own.write_text(yaml.safe_dump({CONTROLLER: {"ros__parameters": {"plan": str(plan)}}}))
    hardware = f'python={sys.executable} "faults={faults}"'
    urdf = Command(f"{sys.executable} -m robot_sim.urdf {robot} --ros2-control {hardware}")
    description = {"robot_description": ParameterValue(urdf, value_type=str)}
    ends = Shutdown(reason="the controller manager has exited")
    return [
        Node(
            package="robot_state_publisher",
            executable="robot_state_publisher",
            parameters=[description],
        ),
        Node(
            package="controller_manager",
            executable="ros2_control_node",
            # On Humble, controllers read the parameters of their process, and the manager does not
            # subscribe to robot_description.
            parameters=[file, str(own), description],
            remappings=[("~/robot_description", "robot_description")],
            output="screen",
            on_exit=ends,
        ),
        Node(
            package="controller_manager",
            executable="spawner",
            arguments=[CONTROLLER, "--param-file", file, "--param-file", str(own)],
            output="screen",
        ),
    ]


def require_arguments(_: LaunchContext) -> None:
    """Raise PolicyError for an unknown argument, before anything starts."""
    require_known_arguments([one.name for one in ARGUMENTS])


def discovery(context: LaunchContext) -> list[SetEnvironmentVariable]:
    """Restrict discovery to this computer, unless the user has set the discovery range."""
    return [
        SetEnvironmentVariable(*one)
        for one in discovery_variables("sim", context.environment).items()
    ]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the nodes."""
    steps = (require_arguments, discovery, control)
    return LaunchDescription([*ARGUMENTS, *(OpaqueFunction(function=step) for step in steps)])
