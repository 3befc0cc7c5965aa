# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Find policy nodes and drivers in the ROS 2 domain, by the statuses they publish."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node, NodeNameNonExistentError

from policy_inference.nodes.rclpy_gaps import UNNAMED, full_name
from robot_operator.nodes.own_node import own_node
from robot_operator.requests import OperatorError

POLICY_NODE, DRIVER = "policy node", "robot's driver"
_STATUSES = {POLICY_NODE: "policy_msgs/msg/PolicyStatus", DRIVER: "policy_msgs/msg/RobotStatus"}
_OF_LEADER = "/leader/joint_command"
"""Topic on which a policy node commands a leader arm instead of the robot, for a takeover."""
_COMMAND, _JOINT_STATES = "policy_msgs/msg/JointCommand", "sensor_msgs/msg/JointState"
_OPTIONS = {POLICY_NODE: "--node", DRIVER: "--driver"}
_SECOND_WITHIN_S = 1.0
_LOOK_AROUND_S = 0.02
F = TypeVar("F")


def the_one(kind: str, timeout_s: float) -> str:
    """Return the full name of the only node of a kind, POLICY_NODE or DRIVER.

    After the first one is found, others have a second to appear, so that even on a busy machine the
    command does not operate the wrong robot.
    """
    return _required(kind, the_one_or_none(kind, timeout_s), timeout_s)


def the_one_or_none(kind: str, timeout_s: float) -> str | None:
    """Return the full name of the only node of a kind; None if none appears within `timeout_s`."""
    names = _look(
        timeout_s,
        lambda node: publishing(node, kind),
        lambda names, unchanged_s: bool(names) and unchanged_s > _SECOND_WITHIN_S,
    )
    return _alone(kind, names)


@dataclass(frozen=True)
class FoundNodes:
    """Full names of policy nodes and drivers, and of what the policy node commands.

    Attributes:
        policies: Policy nodes.
        drivers: Drivers; if some of them subscribe to the policy node's commands, only those.
        commands: Topics on which the policy node publishes JointCommand.
        subscribers: Nodes that subscribe to these topics.
        robots: Subscribers that are drivers or look like simulators: they publish `joint_states`
            and have neither a RobotStatus nor a `take_control` service.
        other_output: True if the policy node publishes a different kind of command instead.
    """

    policies: tuple[str, ...] = ()
    drivers: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    subscribers: tuple[str, ...] = ()
    robots: tuple[str, ...] = ()
    other_output: bool = False

    @property
    def is_complete(self) -> bool:
        """True if a policy node was found, and it is known whether its robot has a driver."""
        return bool(self.policies and (self.robots or self.other_output))

    @property
    def policy(self) -> str | None:
        return _alone(POLICY_NODE, self.policies)

    @property
    def driver(self) -> str | None:
        return _alone(DRIVER, self.drivers)

    @property
    def without_driver(self) -> str:
        """Return a notice that no driver was found, and what that means; "" if one was found."""
        if self.drivers:
            return ""
        if self.robots:
            return (
                f"no driver found: {', '.join(self.robots)} subscribes to the commands and, like "
                "a simulator, publishes no RobotStatus"
            )
        return "no driver found, so there is no way to tell whether a robot follows the commands"


def look_around(
    timeout_s: float, incomplete_after_s: float = math.inf, policy: str | None = None
) -> FoundNodes:
    """Return the policy nodes and drivers found once nothing has changed for a second.

    Args:
        timeout_s: Maximum duration of the search.
        incomplete_after_s: Time without a change after which an incomplete result is returned.
        policy: Full name of the policy node to consider; None for all.
    """

    def is_enough(found: FoundNodes, unchanged_s: float) -> bool:
        if found.is_complete:
            return unchanged_s > _SECOND_WITHIN_S
        return bool(found.policies or found.drivers) and unchanged_s > incomplete_after_s

    return _look(timeout_s, lambda node: seen(node, policy), is_enough)


def require_policy(found: FoundNodes, timeout_s: float) -> str:
    return _required(POLICY_NODE, found.policy, timeout_s)


def require_known_robot(action: str, found: FoundNodes) -> None:
    """Raise OperatorError unless it is known whether the policy node's robot has a driver."""
    if not found.is_complete:
        topics = ", ".join(found.commands) or "the policy node's commands"
        raise OperatorError(
            f"{action}: expected a driver or a simulator that subscribes to {topics}, found "
            f"{', '.join(found.subscribers) or 'no subscriber'}, which does not show whether a "
            "robot follows the commands: name the robot's driver with --driver, or pass "
            "--without-driver if it has none"
        )


def full(name: str) -> str:
    """Return a node's full name, given its name from the root with or without the leading `/`."""
    return f"/{name.lstrip('/')}"


def find_namespace(name: str) -> str:
    """Return the namespace of the node with this full name, such as `/`."""
    return name.rpartition("/")[0] or "/"


def other_publishers(node: Node, topic: str) -> list[str]:
    """Return the full names of the publishers on a topic other than `node`."""
    names = sorted(map(full_name, node.get_publishers_info_by_topic(topic)))
    # Remove each own publisher once: a different node with the same name must still count.
    own = node.get_fully_qualified_name()
    for publisher in node.publishers:
        if publisher.topic_name == topic and own in names:
            names.remove(own)
    return names


def require_sole_publisher(node: Node, topic: str) -> None:
    """Raise OperatorError if another node publishes on a topic now or within a second."""
    ends_s = time.monotonic() + _SECOND_WITHIN_S
    others: list[str] = []
    while time.monotonic() < ends_s and (not all(map(_is_named, others)) or not others):
        time.sleep(_LOOK_AROUND_S)
        others = other_publishers(node, topic)
    if others:
        raise OperatorError(
            f"{topic}: expected {node.get_fully_qualified_name()} as the only publisher, found "
            f"{', '.join(others)} as well; first stop the other publishers"
        )


def _alone(kind: str, names: Sequence[str]) -> str | None:
    if len(names) > 1:
        raise OperatorError(
            f"operator: expected one {kind}, found {', '.join(names)}; choose "
            f"one with {_OPTIONS[kind]}"
        )
    return names[0] if names else None


def _required(kind: str, name: str | None, timeout_s: float) -> str:
    if name is None:
        raise OperatorError(
            f"operator: expected a {kind} within {timeout_s:g} s, found none; "
            "is it running in this ROS_DOMAIN_ID?"
        )
    return name


def _look(timeout_s: float, look: Callable[[Node], F], is_enough: Callable[[F, float], bool]) -> F:
    """Return the result of `look` once `is_enough(result, seconds_unchanged)`, or on timeout."""
    with own_node("operator_looks_around", silent=True) as node:
        executor = SingleThreadedExecutor(context=node.context)
        executor.add_node(node)
        try:
            ends_s = timeout_s + (changed_s := time.monotonic())
            found = look(node)
            while time.monotonic() < ends_s:
                executor.spin_once(timeout_sec=_LOOK_AROUND_S)
                before, found = found, look(node)
                if found != before:
                    changed_s = time.monotonic()
                if is_enough(found, time.monotonic() - changed_s):
                    break
            return found
        finally:
            executor.shutdown()


def publishing(node: Node, kind: str) -> list[str]:
    """Return the full names of the known nodes of a kind."""
    return sorted(
        topic.removesuffix("/status")
        for topic, types in node.get_topic_names_and_types()
        if _STATUSES[kind] in types and topic.endswith("/status") and node.count_publishers(topic)
    )


def seen(node: Node, policy: str | None) -> FoundNodes:
    """Return the nodes known so far; if `policy` is given, without other policy nodes."""
    policies = [name for name in publishing(node, POLICY_NODE) if policy in (None, name)]
    drivers = publishing(node, DRIVER)
    published = [entry for name in policies for entry in _list_topics(node, name)]
    commands = sorted(
        {
            topic
            for topic, types in published
            if _COMMAND in types and not topic.endswith(_OF_LEADER)
        }
    )
    subscribers = sorted(
        {
            full_name(info)
            for topic in commands
            for info in node.get_subscriptions_info_by_topic(topic)
        }
    )
    own_drivers = [name for name in drivers if name in subscribers]
    robots = own_drivers or [name for name in subscribers if _is_simulator(node, name)]
    return FoundNodes(
        tuple(policies),
        tuple(own_drivers or drivers),
        tuple(commands),
        tuple(subscribers),
        tuple(robots),
        other_output=not commands and any(_output_types() & {*types} for _, types in published),
    )


def _output_types() -> set[str]:
    from policy_inference.nodes.outputs import OUTPUTS  # only needed here, and slow to import

    kinds = [kind for _, kind, _ in OUTPUTS.values()]
    return {f"{kind.__module__.partition('.')[0]}/msg/{kind.__name__}" for kind in kinds}


def _list_topics(node: Node, name: str) -> list[tuple[str, list[str]]]:
    """Return the topics, with their types, that a node is known to publish."""
    space, _, base = name.rpartition("/")
    if not _is_named(name):
        return []
    try:
        return list(node.get_publisher_names_and_types_by_node(base, space or "/"))
    except NodeNameNonExistentError:
        return []


def _is_named(name: str) -> bool:
    return not any(text in name for text in UNNAMED)


def _is_simulator(node: Node, name: str) -> bool:
    types = {each for _, types in _list_topics(node, name) for each in types}
    services = {service for service, _ in node.get_service_names_and_types()}
    return (
        _JOINT_STATES in types
        and _STATUSES[DRIVER] not in types
        and f"{name}/take_control" not in services
    )
