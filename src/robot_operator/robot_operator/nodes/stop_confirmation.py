# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Confirm that each policy node and driver has stopped."""

import argparse
import time
from functools import partial
from typing import Any

from policy_msgs.msg import JointCommand, PolicyStatus, RobotStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_srvs.srv import Trigger

from policy_core.errors import RobotError
from policy_inference.messages.statuses import require_usable
from policy_inference.nodes import qos
from robot_operator.nodes.found import DRIVER, POLICY_NODE, find_namespace, full, publishing, seen
from robot_operator.nodes.stop import EstopButton
from robot_operator.nodes.words import Lines, driver_lines, policy_lines
from robot_operator.requests import OperatorError, OperatorRequest

_TURN_S = 0.02
_OTHERS_WITHIN_S = 1.0
"""Time without a new node after which the search counts as complete."""
_ROBOTS_WITHIN_S = 4.0
"""Replaces _OTHERS_WITHIN_S while a policy node's robot or a driver's policy node is unknown, since
discovery may take this long on a busy machine.
"""
_TYPES = {POLICY_NODE: PolicyStatus, DRIVER: RobotStatus}
_MOVING = (RobotStatus.TAKING, RobotStatus.FOLLOWING)


class StopConfirmation:
    """Sends `estop` or `damp` to each node that appears, and watches its status.

    If a node is named, only that node and nodes of the other kind in its namespace receive the
    request; otherwise all do.
    """

    def __init__(self, node: Node, given: argparse.Namespace, button: EstopButton) -> None:
        """Start searching; if no node is named, press `button` in all namespaces found."""
        self._node, self._button = node, button
        self._estop = given.action == OperatorRequest.ESTOP.value
        self._action: str = given.action
        self._named = {
            kind: full(name)
            for kind, name in ((POLICY_NODE, given.node), (DRIVER, given.driver))
            if name
        }
        self._kinds: dict[str, str] = {}
        self._statuses: dict[str, Any] = {}
        self._refused: dict[str, str] = {}
        """By node, why its newest status could not be used."""
        self._clients: dict[str, Any] = {}
        self._answers: dict[str, Any] = {}
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)

    @property
    def lines(self) -> Lines:
        """The newest status of each node; with the nodes' names if there are several of a kind."""
        lines: Lines = []
        for name, status in sorted(self._statuses.items()):
            kind = self._kinds[name]
            if list(self._kinds.values()).count(kind) > 1:
                lines.append(("node", name))
            lines += policy_lines(status) if kind == POLICY_NODE else driver_lines(status)
        return lines

    @property
    def obeyed(self) -> dict[str, bool]:
        return {name: self._has_obeyed(name) for name in sorted(self._kinds)}

    @property
    def summary(self) -> str:
        obeyed = ", ".join(name for name, has in self.obeyed.items() if has) or "none"
        where = f"published on {', '.join(self._button.topics)}; " if self._estop else ""
        unknown = ", ".join(self._without_robot())
        unless = (
            f"; it is not known which node subscribes to the commands from {unknown}"
            if unknown
            else ""
        )
        if alone := ", ".join(self._without_policy()):
            unless += f"; no policy node was found for {alone}"
        return f"{self._action}: {where}confirmed by {obeyed}{unless}"

    def wait(self, timeout_s: float) -> None:
        """Return once every known node has obeyed and no other has appeared for 1 s.

        The 1 s becomes 4 s if a policy node's driver or simulator, or a driver's policy node, has
        not been found.
        """
        ends_s = time.monotonic() + timeout_s
        found_s = time.monotonic()
        while time.monotonic() < ends_s:
            self._executor.spin_once(timeout_sec=_TURN_S)
            if self._look():
                found_s = time.monotonic()
            quiet_s = time.monotonic() - found_s
            if (
                not self._missing()
                and self._kinds
                and quiet_s > _OTHERS_WITHIN_S
                and (
                    quiet_s > _ROBOTS_WITHIN_S
                    or not (self._without_robot() or self._without_policy())
                )
            ):
                return
        if not self._kinds and not self._named:
            raise OperatorError(
                f"{self._action}: expected a policy node or a driver within "
                f"{timeout_s:g} s, found none; is one running in this "
                "ROS_DOMAIN_ID? Press the hardware e-stop"
            )
        raise OperatorError(
            f"{self._action}: expected all nodes to stop within {timeout_s:g} s, still waiting "
            f"for {', '.join(map(self._describe, self._missing())) or 'other nodes'}; press the "
            "hardware e-stop"
        )

    def close(self) -> None:
        self._executor.shutdown()

    def _missing(self) -> list[str]:
        return sorted(
            name for name in {*self._kinds, *self._named.values()} if not self._has_obeyed(name)
        )

    def _describe(self, name: str) -> str:
        """Return a node's name and, if its status cannot be used, why."""
        return f"{name} (status: {self._refused[name]})" if name in self._refused else name

    def _without_robot(self) -> list[str]:
        """Return the policy nodes whose commands have no known subscriber."""
        policies = [name for name, kind in sorted(self._kinds.items()) if kind == POLICY_NODE]
        return [name for name in policies if not seen(self._node, name).is_complete]

    def _without_policy(self) -> list[str]:
        """Return the drivers in whose namespace no policy node was found."""
        there = {find_namespace(name) for name, kind in self._kinds.items() if kind == POLICY_NODE}
        drivers = [name for name, kind in sorted(self._kinds.items()) if kind == DRIVER]
        return [name for name in drivers if find_namespace(name) not in there]

    def _look(self) -> bool:
        """Send the request to new nodes; return whether there were any."""
        news = False
        for kind in (POLICY_NODE, DRIVER):
            for name in publishing(self._node, kind):
                if name not in self._kinds and self._concerns(kind, name):
                    self._meet(kind, name)
                    news = True
        if self._estop and not self._named:
            for topic, types in self._node.get_topic_names_and_types():
                if topic.endswith("/estop") and "std_msgs/msg/Bool" in types:
                    self._button.press(topic)
        for name, client in self._clients.items():
            if name not in self._answers and client.service_is_ready():
                self._answers[name] = client.call_async(Trigger.Request())
        return news

    def _concerns(self, kind: str, name: str) -> bool:
        if not self._named or name == self._named.get(kind):
            return True
        others = map(find_namespace, self._named.values())
        return kind not in self._named and find_namespace(name) in others

    def _meet(self, kind: str, name: str) -> None:
        self._kinds[name] = kind
        self._node.create_subscription(
            _TYPES[kind], f"{name}/status", partial(self._on_status, name), qos.STATUS
        )
        if kind == POLICY_NODE or not self._estop:  # a driver receives an e-stop on the topic
            self._clients[name] = self._node.create_client(Trigger, f"{name}/{self._action}")

    def _on_status(self, name: str, status: PolicyStatus | RobotStatus) -> None:
        try:
            require_usable(status)
        except RobotError as error:
            self._statuses.pop(name, None)
            self._refused[name] = str(error)
        else:
            self._statuses[name] = status
            self._refused.pop(name, None)

    def _has_obeyed(self, name: str) -> bool:
        status = self._statuses.get(name)
        if status is None:
            return False
        answer = self._answers.get(name)
        answered = answer is not None and answer.done()
        if self._kinds[name] == DRIVER:
            follows = status.state == RobotStatus.FOLLOWING
            return status.state not in _MOVING or (follows and answered and self._policies_damp())
        if not answered:
            return False
        return bool(status.latched if self._estop else status.mode == JointCommand.MODE_DAMP)

    def _policies_damp(self) -> bool:
        """Return whether the commands that a driver follows after `damp` also request damping."""
        policies = [name for name, kind in self._kinds.items() if kind == POLICY_NODE]
        return bool(policies) and all(map(self._has_obeyed, policies))
