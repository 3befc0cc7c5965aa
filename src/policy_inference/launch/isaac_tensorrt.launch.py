# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Launch an Isaac Lab policy with TensorRT on a Jetson; elsewhere: `robot:=sim backend:=onnx`."""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.substitutions import LaunchConfiguration


def generate_launch_description() -> LaunchDescription:
    """Include joint_policy.launch.py, which has more arguments, with the Jetson's defaults."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "bundle",
                description="Policy bundle: a folder, or an installed one as NAME or NAME@VERSION",
            ),
            DeclareLaunchArgument(
                "backend",
                default_value="tensorrt",
                description="Back end that runs the model, or several in order of preference: "
                "tensorrt,onnx",
            ),
            IncludeLaunchDescription(
                str(Path(__file__).with_name("joint_policy.launch.py")),
                launch_arguments=[
                    (name, LaunchConfiguration(name)) for name in ("bundle", "backend")
                ],
            ),
        ]
    )
