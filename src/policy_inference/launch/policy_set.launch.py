# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Launch a policy set on a robot: `policy_set.launch.py bundle:=FOLDER robot:=sim`."""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.substitutions import LaunchConfiguration

CONFIG = Path(__file__).parents[1] / "config" / "nodes"


def generate_launch_description() -> LaunchDescription:
    """Include joint_policy.launch.py, which has more arguments, with the policy set node."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("bundle", description="Policy set: a folder with a set.yaml"),
            DeclareLaunchArgument(
                "policy_node",
                default_value="policy_set_node",
                choices=["joint_policy_node", "policy_set_node"],
                description="Node that runs the bundle: a policy, or a set of policies",
            ),
            DeclareLaunchArgument(
                "params_file",
                default_value=str(CONFIG / "policy_set.yaml"),
                description="Parameters of the policy set node and of the simulated Lite3; the "
                "arguments here replace those in the file",
            ),
            IncludeLaunchDescription(
                str(Path(__file__).with_name("joint_policy.launch.py")),
                launch_arguments=[
                    (name, LaunchConfiguration(name))
                    for name in ("bundle", "policy_node", "params_file")
                ],
            ),
        ]
    )
