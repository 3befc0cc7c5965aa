# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The node that runs a policy set: like the joint policy node, plus switches between states.

Subscribes, if a member's contract needs them (best effort, depth 1): `joint_states`
(sensor_msgs/JointState), `imu/data` (sensor_msgs/Imu), `odom` (nav_msgs/Odometry), `cmd_vel`
(geometry_msgs/Twist or TwistStamped), external vectors (std_msgs/Float32MultiArray), per camera
`CAMERA/image_raw` (sensor_msgs/Image) or `CAMERA/image_raw/compressed`
(sensor_msgs/CompressedImage); `estop` (std_msgs/Bool, reliable); `~/switch_to` (std_msgs/String,
reliable, depth 1), like the `~/switch` service, but with refusals in the log. Under `use_sim_time`:
`/clock`.
Publishes: the chosen output (reliable, depth 1), `~/status` (policy_msgs/PolicyStatus, reliable,
transient local), `/diagnostics`.
Serves: `~/switch` (policy_msgs/SwitchState); (std_srvs/Trigger) `~/stand`, `~/run`, `~/damp`,
`~/estop`, `~/reset`; `~/load` (policy_msgs/LoadBundle). In a state from which the robot may not
stand up, `~/stand` first begins the way back; the robot stands up at its end. For the flight
recorder, see docs/flight_recorder.md.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from policy_inference.kinds.policy_set import SetKind
from policy_inference.nodes.chunk_settings import SET_PARAMETERS, chunk_settings_given
from policy_inference.nodes.parameters import refuse_arguments
from policy_inference.nodes.policy_node import PolicyNode
from policy_inference.nodes.process import run_node


class PolicySetNode(PolicyNode):
    """A policy node for sets."""

    def __init__(self) -> None:
        super().__init__("policy_set_node", SET_PARAMETERS)

    def find_kind(self, values: Mapping[str, Any]) -> SetKind:
        return SetKind(chunk_settings_given(values), simulated_time=self.simulated_time)


def main(args: Sequence[str] | None = None) -> None:
    refuse_arguments("policy_set_node", __doc__, SET_PARAMETERS, args)
    sys.exit(run_node(PolicySetNode, args))
