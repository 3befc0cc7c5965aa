# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The e-stop on the topic `estop` (std_msgs/Bool), from any publisher of any quality of service."""

from collections.abc import Callable

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from std_msgs.msg import Bool

from policy_inference.nodes import qos


def listen_to_estop(node: Node, press: Callable[[], object]) -> Callable[[], None]:
    """Subscribe to `estop`.

    Args:
        node: Subscribes.
        press: Called for each `True`. `False` releases nothing: a button that nobody presses
            repeats it.

    Returns:
        What ends the subscriptions.
    """

    def hear(message: Bool) -> None:
        if message.data:
            press()

    subscriptions = [
        node.create_subscription(
            Bool, "estop", hear, profile, callback_group=MutuallyExclusiveCallbackGroup(),
            event_callbacks=qos.NoEvents())
        for profile in qos.ESTOPS
    ]  # fmt: skip

    def end() -> None:
        for subscription in subscriptions:
            node.destroy_subscription(subscription)

    return end
