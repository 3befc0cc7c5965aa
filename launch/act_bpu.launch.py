# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""An ACT policy on an arm, on a D-Robotics board's BPU; `robot:=sim backend:=onnx` anywhere."""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.substitutions import LaunchConfiguration


def generate_launch_description() -> LaunchDescription:
    """Take the board's defaults into act_policy.launch.py, which has the other arguments."""
    return LaunchDescription([
        DeclareLaunchArgument(
            "bundle",
            description="Policy bundle: a folder, or an installed one: NAME, NAME@VERSION"),
        DeclareLaunchArgument(
            "backend", default_value="bpu",
            description="What runs the graphs; several in order of preference: bpu,onnx"),
        IncludeLaunchDescription(
            str(Path(__file__).with_name("act_policy.launch.py")),
            launch_arguments=[(name, LaunchConfiguration(name)) for name in ("bundle", "backend")]),
    ])  # fmt: skip
