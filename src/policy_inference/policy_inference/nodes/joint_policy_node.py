# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The node that runs a joint policy: sensors in, safe joint commands out at a fixed rate.

Subscribes, if the contract needs them (best effort, depth 1): `joint_states`
(sensor_msgs/JointState), `imu/data` (sensor_msgs/Imu), `odom` (nav_msgs/Odometry), `cmd_vel`
(geometry_msgs/Twist or TwistStamped), external vectors (std_msgs/Float32MultiArray); `estop`
(std_msgs/Bool, reliable). Under `use_sim_time`: `/clock`.
Publishes: the chosen output (reliable, depth 1), `~/status` (policy_msgs/PolicyStatus, reliable,
transient local), `/diagnostics`.
Serves (std_srvs/Trigger): `~/stand`, `~/run`, `~/damp`, `~/estop`, `~/reset`; `~/load`
(policy_msgs/LoadBundle). For the flight recorder, see docs/flight_recorder.md.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from policy_inference.kinds.joint import JointKind
from policy_inference.nodes.parameters import refuse_arguments
from policy_inference.nodes.policy_node import PolicyNode
from policy_inference.nodes.process import run_node
from policy_inference.nodes.settings import PARAMETERS


class JointPolicyNode(PolicyNode):
    """A policy node for joint policies."""

    def __init__(self) -> None:
        super().__init__("joint_policy_node", PARAMETERS)

    def find_kind(self, values: Mapping[str, Any]) -> JointKind:
        return JointKind()


def main(args: Sequence[str] | None = None) -> None:
    refuse_arguments("joint_policy_node", __doc__, PARAMETERS, args)
    sys.exit(run_node(JointPolicyNode, args))
