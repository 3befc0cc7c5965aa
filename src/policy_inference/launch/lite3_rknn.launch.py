# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Launch a walking policy on a Lite3, using the NPU of the robot's RK3588.

On any other machine, add `robot:=lite3_emulator backend:=onnx` or `robot:=sim backend:=onnx`.
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.substitutions import LaunchConfiguration


def generate_launch_description() -> LaunchDescription:
    """Include joint_policy.launch.py, which has more arguments, with the Lite3's defaults."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "bundle",
                default_value="lite3_walk",
                description="Policy bundle: a folder, or an installed one as NAME or NAME@VERSION",
            ),
            DeclareLaunchArgument(
                "backend",
                default_value="rknn",
                description="Back end that runs the model, or several in order of preference: "
                "rknn,onnx",
            ),
            DeclareLaunchArgument(
                "robot",
                default_value="lite3",
                choices=["lite3", "lite3_emulator", "sim", "none"],
                description="Robot to start with the policy: the driver of a Lite3; the driver "
                "with an emulated motion host; a simulated Lite3; or none",
            ),
            IncludeLaunchDescription(
                str(Path(__file__).with_name("joint_policy.launch.py")),
                launch_arguments=[
                    (name, LaunchConfiguration(name)) for name in ("bundle", "backend", "robot")
                ],
            ),
        ]
    )
