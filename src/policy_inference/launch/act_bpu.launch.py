# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""An ACT policy on an arm, on a D-Robotics board's BPU; `robot:=sim` anywhere.

If the bundle has no BPU artifact, or the machine no BPU, ONNX Runtime is used; the node's log and
status say so.
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.substitutions import LaunchConfiguration


def generate_launch_description() -> LaunchDescription:
    """Set the board's defaults; act_policy.launch.py has the other arguments."""
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
