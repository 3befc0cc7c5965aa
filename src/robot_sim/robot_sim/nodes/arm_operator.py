# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The one who stands beside the arm: asks for modes, puts the cube elsewhere, hears of results."""

from typing import Any

from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from robot_sim.nodes.operator import Operator

_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class ArmOperator(Operator):
    """A client of one policy node and of the simulated arm. Use it in a `with` block."""

    def __init__(self, *, policy_node: str = "act_policy_node", **more: Any) -> None:
        """Join the ROS 2 domain of the environment; arguments as those of `Operator`."""
        super().__init__(policy_node=policy_node, **more)
        self.results: list[bool] = []
        self.node.create_subscription(Bool, "episode_result", self._on_result, _LATCHED)
        self._next = self.node.create_client(Trigger, "arm_sim_node/next_episode")

    def __enter__(self) -> "ArmOperator":
        """Return itself."""
        return self

    def next_episode(self) -> str:
        """Put the cube elsewhere; return what the arm's node says.

        Raises:
            SimError: It does not answer in time.
        """
        return self.call(self._next, "next_episode")

    def wait_for_result(self, number: int, timeout_s: float) -> bool:
        """Wait for the end of an episode; return whether it succeeded.

        Args:
            number: Which, from 0 on.
            timeout_s: How long to wait at most, on the steady clock.

        Raises:
            SimError: It does not end in time.
        """
        self.wait_until(lambda: len(self.results) > number, f"the end of episode {number + 1}",
                        timeout_s)
        return self.results[number]

    def _on_result(self, message: Bool) -> None:
        self.results.append(message.data)
        self.notify()
