# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The driver of the holding arm as a node."""

import sys

from policy_inference.nodes.parameters import Spec
from policy_inference.nodes.process import run_node
from robot_driver.nodes.driver_node import COMMON_PARAMETERS, DriverNode
from robot_driver.nodes.sensors import joint_states_topic

from ..holding_arm import JOINTS, HoldingArm

PARAMETERS = (
    Spec(name="bus", type=str, required=True, doc="Socket of the arm"),
    Spec(name="command_rate_hz", type=float, default=100.0, doc="Goals per second, Hz"),
    Spec(name="joint_state_rate_hz", type=float, default=100.0, doc="Rate of joint_states, Hz"),
    *COMMON_PARAMETERS,
)


class HoldingArmNode(DriverNode):
    def __init__(self) -> None:
        super().__init__("arm_driver", HoldingArm, PARAMETERS, [joint_states_topic(JOINTS)])


def run_holding_arm() -> None:
    sys.exit(run_node(HoldingArmNode))
