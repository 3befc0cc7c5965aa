# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A ROS context and node for a command; a separate module, so no other import delays an e-stop."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from policy_inference.fast_dds import fast_dds_without_shared_memory


@contextmanager
def own_node(
    name: str, *, kind: type[Node] = Node, silent: bool = False, **options: Any
) -> Iterator[Node]:
    """Join the environment's ROS 2 domain as a node, until the block ends.

    The command handles signals itself, since publishing fails once rclpy's own handler has run.

    Args:
        name: Node name.
        kind: Kind of node, used in messages.
        silent: True to omit the log topic and the services, for a faster start.
        options: Further options of `rclpy.node.Node`.
    """
    if silent:
        options = {"enable_rosout": False, "start_parameter_services": False, **options}
    os.environ.update(fast_dds_without_shared_memory(os.environ))
    context = Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = kind(name, context=context, **options)
        try:
            yield node
        finally:
            node.destroy_node()
    finally:
        rclpy.shutdown(context=context)
