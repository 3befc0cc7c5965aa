# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A valid mapping, and a function that returns it with errors."""

import copy
from typing import Any

import yaml

from lerobot_bridge.mapping import RobotMapping
from lerobot_bridge.mapping_file import parse_mapping

MAPPING: dict[str, Any] = yaml.safe_load("""
schema_version: 1
robot_type: rolling_arm
rate_hz: 10
joints:
  shoulder:
    {unit: degrees, sign: -1, zero_rad: 0.5, ros_name: joint_1, position_min: -1.0,
     position_max: 1.0, stiffness: 20, damping: 1, effort_limit: 2}
  elbow: {unit: range_m100_100, low_rad: 2.0, high_rad: -2.0, stiffness: 20, damping: 1,
          effort_limit: 2}
  gripper: {unit: range_0_100, low_rad: -0.5, high_rad: 1.5, stiffness: 20, damping: 1,
            effort_limit: 2}
vectors:
  observation.state:
    - {topic: joint_states, type: sensor_msgs/msg/JointState}
    - {topic: odom, type: nav_msgs/msg/Odometry, degrees: [theta.vel],
       fields: {x.vel: twist.twist.linear.x, theta.vel: twist.twist.angular.z}}
  observation.effort:
    - {topic: joint_states, type: sensor_msgs/msg/JointState, joints: [gripper, shoulder],
       quantity: effort, resample: hold}
  observation.environment_state:
    - {topic: cube, type: std_msgs/msg/Float64MultiArray, fields: {cube.z: 'data[2]'},
       resample: drop}
  action:
    - {topic: leader/joint_states, type: sensor_msgs/msg/JointState, tolerance_s: 0.5}
    - {topic: cmd_vel, type: geometry_msgs/msg/Twist, degrees: [theta.vel],
       fields: {x.vel: linear.x, theta.vel: angular.z}}
cameras:
  front: {topic: front/image_raw, height: 480, width: 640}
  wrist: {topic: wrist/image_raw, height: 240, width: 320, tolerance_s: 0.1, resize: true}
command:
  - {topic: joint_command, type: policy_msgs/msg/JointCommand}
  - {topic: cmd_vel, type: geometry_msgs/msg/Twist, degrees: [theta.vel],
     fields: {x.vel: linear.x, theta.vel: angular.z},
     limits: {x.vel: [-0.5, 0.5], theta.vel: [-90, 45]}}
""")

MISSING = object()
"""In a change: take the key away."""


def rolling_arm_with(**changes: object) -> dict[str, Any]:
    """Return the mapping with changed values at keys like `vectors/action/0/topic`."""
    content = copy.deepcopy(MAPPING)
    for key, value in changes.items():
        *parents, last = key.split("/")
        node: Any = content
        for name in parents:
            node = node[int(name)] if isinstance(node, list) else node[name]
        place: Any = int(last) if isinstance(node, list) else last
        if value is MISSING:
            del node[place]
        elif isinstance(node, list) and place == len(node):
            node.append(value)
        else:
            node[place] = value
    return content


def rolling_arm(content: object = None, **changes: object) -> RobotMapping:
    return parse_mapping(rolling_arm_with(**changes) if content is None else content, "robot.yaml")
