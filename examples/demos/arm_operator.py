# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The operator of the simulated arm: requests modes, moves the cube, receives results."""

from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from policy_msgs.msg import ActionChunk
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from robot_operator.nodes.client import Operator
from robot_operator.requests import ANSWER_TIMEOUT_S

_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_EVERY_ONE = QoSProfile(depth=100)


class ArmOperator(Operator):
    """A client of one policy node and of the simulated arm. Use it in a `with` block.

    Attributes:
        results: For each episode, True if it succeeded.
        chunks: Number of chunks received from the policy node.
        diagnostics: Latest diagnostics of the policy node, by key.
    """

    def __init__(
        self,
        *,
        policy_node: str = "act_policy_node",
        arm_node: str = "arm_sim_node",
        **more: Any,
    ) -> None:
        """Join the environment's ROS 2 domain; `more` is passed to `Operator`."""
        super().__init__(policy_node=policy_node, **more)
        self.results: list[bool] = []
        self.node.create_subscription(Bool, "episode_result", self._on_result, _LATCHED)
        self.chunks = 0
        self.diagnostics: dict[str, str] = {}
        self.node.create_subscription(ActionChunk, "action_chunk", self._on_chunk, _EVERY_ONE)
        self.node.create_subscription(
            DiagnosticArray, "/diagnostics", self._on_diagnostics, _EVERY_ONE
        )
        self._next = self.node.create_client(Trigger, f"{arm_node}/next_episode")

    def next_episode(self) -> str:
        """Move the cube; return the arm node's answer."""
        return self.call(self._next, "next_episode")

    def run_episode(self, timeout_s: float) -> bool:
        """Put the arm in its stand pose; run the policy until the episode ends or a fault occurs.

        Args:
            timeout_s: Time limit for the episode, on the steady clock.

        Returns:
            Whether the episode succeeded; False after a fault, which stays latched.
        """
        before = len(self.results)
        self.stand()
        self.demand("run")
        self.wait_until(
            lambda: len(self.results) > before or self.status.latched,
            "the end of the episode",
            timeout_s,
        )
        return self.results[before] if len(self.results) > before else False

    def wait_for_diagnostics(self) -> None:
        self.diagnostics = {}
        self.wait_until(
            lambda: bool(self.diagnostics), "diagnostics of the policy node", ANSWER_TIMEOUT_S
        )

    def _on_chunk(self, _: ActionChunk) -> None:
        self.chunks += 1

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.endswith(": policy"):
                self.diagnostics = {entry.key: entry.value for entry in status.values}
        self.notify()

    def _on_result(self, message: Bool) -> None:
        self.results.append(message.data)
        self.notify()
