# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A publisher in a context of its own, for a topic that has another type in the test's context."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rclpy.context import Context
from rclpy.node import Node

_NAME = "elsewhere"


@contextmanager
def publisher_elsewhere(message: type[Any], topic: str) -> Iterator[None]:
    """Have a publisher on a topic, which the node `/elsewhere` owns."""
    context = Context()
    context.init(args=[])
    node = Node(_NAME, context=context, use_global_arguments=False)
    node.create_publisher(message, topic, 10)
    yield
    node.destroy_node()
    context.shutdown()


def is_known(node: Node, topic: str) -> bool:
    """Return whether a node knows the publisher and its name."""
    full = node.resolve_topic_name(topic)
    return _NAME in [info.node_name for info in node.get_publishers_info_by_topic(full)]
