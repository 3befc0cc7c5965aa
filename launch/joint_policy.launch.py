# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A joint policy on a robot: the policy node, and the simulated robot if it is asked for.

The launch files of single robots include this one and differ in what they take by default. It ends
when one of its nodes ends. Two robots: launch it twice, with two namespaces.
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, Shutdown
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PythonExpression
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

CONFIG = Path(__file__).parents[1] / "config"
BOOLEANS = ["true", "false"]

ARGUMENTS = [
    DeclareLaunchArgument(
        "bundle", description="Policy bundle: a folder, or an installed one: NAME, NAME@VERSION"),
    DeclareLaunchArgument(
        "public_key", default_value="",
        description="PEM file or folder of keys, one of which must have signed the bundle"),
    DeclareLaunchArgument(
        "backend", default_value="onnx",
        description="What runs the model; several in order of preference: tensorrt,onnx"),
    DeclareLaunchArgument(
        "backend_options", default_value="",
        description="Options of back ends: rknn.core_mask=0_1,tensorrt.build=yes"),
    DeclareLaunchArgument(
        "robot", default_value="none", choices=["sim", "none"],
        description="What to start beside the policy: a simulated Lite3, or nothing"),
    DeclareLaunchArgument(
        "params_file", default_value=str(CONFIG / "nodes" / "joint_policy.yaml"),
        description="Parameters of the nodes; those given as arguments here do not count"),
    DeclareLaunchArgument(
        "namespace", default_value="", description="Namespace of all nodes, topics and services"),
    DeclareLaunchArgument(
        "use_sim_time", default_value="false", choices=BOOLEANS,
        description="Tick on /clock; the simulated robot then waits for each command (lockstep)"),
    DeclareLaunchArgument(
        "log_level", default_value="info", choices=["debug", "info", "warn", "error", "fatal"],
        description="What the nodes log at least"),
]  # fmt: skip


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the nodes."""
    # By rcl, not by `parameters`, which would only warn of a file that is not there.
    ros_arguments = ["--ros-args", "--params-file", LaunchConfiguration("params_file"),
                     "--log-level", LaunchConfiguration("log_level")]  # fmt: skip
    use_sim_time = ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool)
    sim = Node(
        package="robot_sim",
        executable="sim_node",
        name="sim_node",
        namespace=LaunchConfiguration("namespace"),
        arguments=ros_arguments,
        parameters=[{"lockstep": use_sim_time}],
        condition=IfCondition(PythonExpression(["'", LaunchConfiguration("robot"), "' == 'sim'"])),
        output="screen",
        on_exit=Shutdown(reason="the simulated robot ended"),
    )
    policy = Node(
        package="policy_inference",
        executable="joint_policy_node",
        name="joint_policy_node",
        namespace=LaunchConfiguration("namespace"),
        arguments=ros_arguments,
        parameters=[{
            "bundle": ParameterValue(LaunchConfiguration("bundle"), value_type=str),
            "public_key": ParameterValue(LaunchConfiguration("public_key"), value_type=str),
            "backend": ParameterValue(LaunchConfiguration("backend"), value_type=str),
            "backend_options": ParameterValue(
                LaunchConfiguration("backend_options"), value_type=str),
            "use_sim_time": use_sim_time,
        }],
        output="screen",
        on_exit=Shutdown(reason="the policy node ended"),
    )  # fmt: skip
    return LaunchDescription([*ARGUMENTS, sim, policy])
