# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which policy nodes there are in the ROS 2 domain: whoever publishes a PolicyStatus is one."""

import time

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from robot_operator.errors import OperatorError

_STATUS = "policy_msgs/msg/PolicyStatus"
_SECOND_WITHIN_S = 1.0
_LOOK_AROUND_S = 0.02


def the_policy_node(timeout_s: float) -> str:
    """Return the full name of the one policy node that there is, of whatever kind.

    After the first was found others have a second to appear, so that on a
    busy machine, too, nobody operates a robot that was not meant.

    Raises:
        OperatorError: There is none within `timeout_s`, or more than one.
    """
    context = Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = Node("operator_looks_around", context=context, enable_rosout=False,
                start_parameter_services=False)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        names = _look(node, executor, timeout_s)
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)
    if not names:
        raise OperatorError(f"operator: expected a policy node within {timeout_s:g} s, found none; "
                       "does it run, in this ROS_DOMAIN_ID?")
    if len(names) > 1:
        raise OperatorError(f"operator: expected one policy node, found {', '.join(names)}; say "
                            "which with --node")
    return names[0]


def _look(node: Node, executor: SingleThreadedExecutor, timeout_s: float) -> list[str]:
    ends_s = time.monotonic() + timeout_s
    names: list[str] = []
    while time.monotonic() < ends_s:
        executor.spin_once(timeout_sec=_LOOK_AROUND_S)
        now = _policy_nodes(node)
        if now and not names:
            ends_s = time.monotonic() + _SECOND_WITHIN_S
        names = now
    return names


def _policy_nodes(node: Node) -> list[str]:
    return sorted(topic.removesuffix("/status")
                  for topic, types in node.get_topic_names_and_types()
                  if _STATUS in types and topic.endswith("/status")
                  and node.count_publishers(topic))
