# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which policy nodes and drivers there are in the ROS 2 domain: whoever publishes their status."""

import time
from collections.abc import Sequence

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from policy_inference.nodes.graph import full_name
from robot_operator.errors import OperatorError

POLICY_NODE, DRIVER = "policy node", "robot's driver"
_STATUSES = {POLICY_NODE: "policy_msgs/msg/PolicyStatus", DRIVER: "policy_msgs/msg/RobotStatus"}
_OPTIONS = {POLICY_NODE: "--node", DRIVER: "--driver"}
_UNKNOWN = "_NODE_NAME_UNKNOWN_"
"""What ROS calls a node whose publisher it has met, and whose name it has not yet heard."""
_SECOND_WITHIN_S = 1.0
_LOOK_AROUND_S = 0.02


def the_one(kind: str, timeout_s: float) -> str:
    """Return the full name of the one node of a kind, POLICY_NODE or DRIVER, that there is.

    After the first was found others have a second to appear, so that on a
    busy machine, too, nobody operates a robot that was not meant.

    Raises:
        OperatorError: There is none within `timeout_s`, or more than one.
    """
    return _required(kind, the_one_or_none(kind, timeout_s), timeout_s)


def the_one_or_none(kind: str, timeout_s: float) -> str | None:
    """Return the full name of the one node of a kind, None if there is none within `timeout_s`.

    Raises:
        OperatorError: There is more than one.
    """
    return _alone(kind, _found([kind], timeout_s)[kind])


def policy_and_driver(timeout_s: float, patience_s: float) -> tuple[str | None, str | None]:
    """Return the full names of the one policy node and of the one driver, where there are.

    Args:
        timeout_s: For how long to look for the first of them.
        patience_s: For how long to look for the other one then, at least a second.

    Raises:
        OperatorError: There is neither, or more than one of a kind.
    """
    names = _found([POLICY_NODE, DRIVER], timeout_s, patience_s)
    policy, driver = (_alone(kind, names[kind]) for kind in (POLICY_NODE, DRIVER))
    return (policy, driver) if driver else (_required(POLICY_NODE, policy, timeout_s), None)


def full(name: str) -> str:
    """Return the full name of a node that was named as seen from the root, with or without `/`."""
    return f"/{name.lstrip('/')}"


def namespace_of(name: str) -> str:
    """Return the namespace of the node of this full name, `/` for example."""
    return name.rpartition("/")[0] or "/"


def others_on(node: Node, topic: str) -> list[str]:
    """Return the full names of those who publish on a topic, less `node`'s own publishers."""
    names = sorted(map(full_name, node.get_publishers_info_by_topic(topic)))
    # By name, since another node may have the same one, and is not this one for that.
    own = node.get_fully_qualified_name()
    for publisher in node.publishers:
        if publisher.topic_name == topic and own in names:
            names.remove(own)
    return names


def require_to_be_alone_on(node: Node, topic: str) -> None:
    """Return if nobody else publishes on a topic; others have a second to appear.

    Raises:
        OperatorError: Somebody does.
    """
    ends_s = time.monotonic() + _SECOND_WITHIN_S
    others: list[str] = []
    while time.monotonic() < ends_s and (not others or _UNKNOWN in "".join(others)):
        time.sleep(_LOOK_AROUND_S)
        others = others_on(node, topic)
    if others:
        raise OperatorError(f"{topic}: expected {node.get_fully_qualified_name()} alone to "
                            f"command velocities, found {', '.join(others)}; end that first")


def _alone(kind: str, names: Sequence[str]) -> str | None:
    if len(names) > 1:
        raise OperatorError(f"operator: expected one {kind}, found {', '.join(names)}; say "
                            f"which with {_OPTIONS[kind]}")
    return names[0] if names else None


def _required(kind: str, name: str | None, timeout_s: float) -> str:
    if name is None:
        raise OperatorError(f"operator: expected a {kind} within {timeout_s:g} s, found none; "
                            "does it run, in this ROS_DOMAIN_ID?")
    return name


def _found(kinds: Sequence[str], timeout_s: float, patience_s: float = 0.0) -> dict[str, list[str]]:
    context = Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = Node("operator_looks_around", context=context, enable_rosout=False,
                start_parameter_services=False)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        return _look(node, executor, kinds, timeout_s, max(patience_s, _SECOND_WITHIN_S))
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)


def _look(
    node: Node, executor: SingleThreadedExecutor, kinds: Sequence[str], timeout_s: float,
    patience_s: float,
) -> dict[str, list[str]]:  # fmt: skip
    """Return the nodes of each kind, a second after one of each was found."""
    ends_s = time.monotonic() + timeout_s
    names: dict[str, list[str]] = {kind: [] for kind in kinds}
    while time.monotonic() < ends_s:
        executor.spin_once(timeout_sec=_LOOK_AROUND_S)
        now = {kind: _publishing(node, _STATUSES[kind]) for kind in kinds}
        if any(now[kind] and not names[kind] for kind in kinds):
            ends_s = time.monotonic() + (_SECOND_WITHIN_S if all(now.values()) else patience_s)
        names = now
    return names


def _publishing(node: Node, status: str) -> list[str]:
    return sorted(topic.removesuffix("/status")
                  for topic, types in node.get_topic_names_and_types()
                  if status in types and topic.endswith("/status")
                  and node.count_publishers(topic))
