# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Launch an ACT policy for an arm on a D-Robotics board's BPU; `robot:=sim` works anywhere.

If the bundle has no BPU artifact, or the machine has no BPU, ONNX Runtime is used; the node's log
and status say so.
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.substitutions import LaunchConfiguration


def generate_launch_description() -> LaunchDescription:
    """Include act_policy.launch.py, which has more arguments, with the board's defaults."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "backend",
                default_value="bpu,onnx",
                description="Back end that runs the graphs, or several in order of preference; "
                "bpu: only the BPU",
            ),
            IncludeLaunchDescription(
                str(Path(__file__).with_name("act_policy.launch.py")),
                launch_arguments=[("backend", LaunchConfiguration("backend"))],
            ),
        ]
    )
