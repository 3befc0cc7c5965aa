# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`robot_operator estop` and `damp`: stop first, then print which nodes responded.

Before the first e-stop message is sent, only the modules that it needs are imported.
"""

import argparse
import sys
import threading
from contextlib import ExitStack

import rclpy.publisher
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Bool

from robot_operator.nodes.own_node import own_node
from robot_operator.requests import OperatorError, OperatorRequest

_PERIOD_S = 0.02
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
"""QoS of the e-stop: reliable, and kept for late subscribers."""


class EstopButton:
    """Presses the e-stop immediately, and every 20 ms until closed.

    The repetitions reach volatile subscribers that are matched late.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publishers: dict[str, rclpy.publisher.Publisher] = {}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name="estop", daemon=True)

    @property
    def topics(self) -> list[str]:
        """Full names of the topics on which the e-stop is being pressed."""
        return sorted(self._publishers)

    def press(self, topic: str) -> None:
        """Publish `True` on a topic (full name) immediately, then repeatedly."""
        if topic in self._publishers:
            return
        publisher = self._node.create_publisher(Bool, topic, _LATCHED)
        publisher.publish(Bool(data=True))
        self._publishers[topic] = publisher
        if not self._thread.is_alive():
            self._thread.start()

    def close(self) -> None:
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def _repeat(self) -> None:
        while not self._ending.wait(_PERIOD_S):
            for publisher in list(self._publishers.values()):
                publisher.publish(Bool(data=True))


def main(given: argparse.Namespace) -> int:
    """Stop all nodes found and print which responded; return 0 if all did, otherwise 1."""
    with ExitStack() as undo:
        node = undo.enter_context(own_node("operator_stops", silent=True))
        button = EstopButton(node)
        undo.callback(button.close)
        named = given.node or given.driver
        namespace = f"/{named.lstrip('/')}".rpartition("/")[0] if named else ""
        if given.action == OperatorRequest.ESTOP.value:
            button.press(f"{namespace}/estop")
        # Only now: importing these takes longer than the e-stop needs to arrive.
        from policy_store.command_line import CommandResult, show, show_result
        from robot_operator.nodes.stop_confirmation import StopConfirmation
        from robot_operator.nodes.words import OperatorResult, described

        confirmation = StopConfirmation(node, given, button)
        undo.callback(confirmation.close)
        try:
            confirmation.wait(given.timeout)
        except OperatorError as error:
            show(f"robot_operator: {error}", to=sys.stderr)
            return 1
        finally:
            summary = confirmation.summary
            show(f"robot_operator: {summary}", to=sys.stderr)
            result = OperatorResult(
                action=given.action,
                policy_node=given.node,
                driver=given.driver,
                answer=summary,
                obeyed=confirmation.obeyed,
            )
            text = described(confirmation.lines)
            show_result(CommandResult(document=result, text=text), as_json=given.json)
    return 0
