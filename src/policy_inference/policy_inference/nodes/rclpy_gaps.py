# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What rclpy has in private only, or not at all; no other module of the suite uses `rclpy.impl`.

An executor calls back for every message. Here a thread waits for messages itself, and takes them
as bytes when it needs them. `test_rclpy_gaps.py` names the versions of rclpy that were checked.
"""

from collections.abc import Iterable
from typing import Any

from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.node import Node

Logger = RcutilsLogger
"""Type of `Node.get_logger()`."""
UNNAMED = ("_CREATED_BY_BARE_DDS_APP_", "_NODE_NAME_UNKNOWN_")
"""What ROS calls the node of an endpoint that has none, or of which it does not know it yet."""


class MessageWaitSet:
    """Waits for messages of subscriptions, without taking them; no executor may do so, too."""

    def __init__(self, node: Node, most: int) -> None:
        """Make it.

        Args:
            node: Has the subscriptions.
            most: Number of them.
        """
        self._wait_set = rclpy_implementation.WaitSet(most, 0, 0, 0, 0, 0, node.context.handle)

    def wait(self, handles: Iterable[Any], timeout_ns: int) -> list[int]:
        """Return the `pointer` of each handle for which a message is there.

        Args:
            handles: Of the subscriptions (`Subscription.handle`); at least one.
            timeout_ns: Longest time to wait, ns.
        """
        self._wait_set.clear_entities()
        for handle in handles:
            with handle:
                self._wait_set.add_subscription(handle)
        self._wait_set.wait(timeout_ns)
        ready: list[int] = self._wait_set.get_ready_entities("subscription")
        return ready


def take_message(handle: Any, message: type[Any]) -> tuple[bytes, dict[str, Any]] | None:
    """Take the next message of a subscription; None where there is none.

    Args:
        handle: Of the subscription.
        message: Type of its messages.

    Returns:
        The message's bytes, and what the middleware knows about it: `source_timestamp`, ns, and
        `publication_sequence_number`, which Humble and some middlewares do not have.
    """
    with handle:
        taken: tuple[bytes, dict[str, Any]] | None = handle.take_message(message, True)
    return taken


def never_called(_: object) -> None:
    """Fail: the callback of a subscription whose messages no executor may take."""
    raise AssertionError("an executor took a message of a subscription that a thread reads")


def full_name(info: Any) -> str:
    """Return the full name of the node of an rclpy TopicEndpointInfo: `/robot/sim_node`."""
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"
