# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which robot is simulated."""

from __future__ import annotations

from model_tools.errors import ToolError
from policy_inference.bundle.contract import JointContract
from robot_sim.figures import JOINT_NAMES


def require_simulated(contract: JointContract) -> None:
    """Check that the joints of a policy are those of the simulated robot.

    Raises:
        ToolError: Some are not.
    """
    others = [name for name in contract.joints.on_robot() if name not in JOINT_NAMES]
    if others:
        raise ToolError(f"{contract.name}: expected joints of the simulated robot, found "
                        f"{', '.join(others)}: only a Lite3 is simulated; use a recording of the "
                        "robot (compare --rows; --rollout or --bag where a bundle is made)")
