# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Sends LeRobot's actions to the command topics of a mapping."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rclpy.duration import Duration
from rclpy.node import Node

from lerobot_bridge.mapping import JOINT_COMMAND, TWISTS, Channel, RobotMapping
from lerobot_bridge.outgoing import Outgoing
from policy_core.errors import plural
from policy_core.interfaces import FAULT_MODES, OnFault
from policy_inference.nodes import qos
from policy_inference.nodes.sampling import message_class

VALID_FOR_S = 0.2
"""Validity of a JointCommand, s: drives damp after this time if the process dies."""
HOLD_S = 30.0
"""Default time for which an arm that receives no actions holds its position, s."""
_REPEAT_NS = 50_000_000
_DRIVE_NS = 300_000_000
"""Time for which a base that receives no actions keeps driving, ns; two periods if longer."""
_log = logging.getLogger("lerobot_bridge")
_ACKNOWLEDGED_S = 1.0
"""Maximum wait for acknowledgment of the last message, s; a busy machine may need all of it."""


class CommandSender:
    """Publishes actions; only one thread at a time may call it.

    While no new action arrives, a JointCommand is repeated for a limited time: otherwise, the arm
    would sink when LeRobot pauses to save an episode. A base is stopped. Positions in other
    messages are sent once, since their receiver holds the last position.
    """

    def __init__(self, node: Node, mapping: RobotMapping, hold_s: float) -> None:
        """Create the publishers.

        Args:
            node: The node that publishes.
            mapping: Mapping that defines the commands.
            hold_s: Time for which a JointCommand is repeated while no action arrives, s.
        """
        self._topics = [_CommandTopic(node, mapping, channel) for channel in mapping.command]
        self._hold_s = hold_s
        self._drive_ns = max(_DRIVE_NS, 2 * mapping.period_ns)
        self._last: Mapping[str, float] = {}
        self._sent_ns = 0
        self._holds = self._drives = self._has_warned = False

    def troubles(self) -> list[str]:
        """Return a problem for each topic that has no subscriber or has other publishers."""
        return [trouble for topic in self._topics if (trouble := topic.trouble())]

    def send(self, values: Mapping[str, float]) -> None:
        stamp_ns = time.time_ns()
        messages = [topic.message(values, stamp_ns) for topic in self._topics]
        for topic, message in zip(self._topics, messages, strict=True):
            topic.publisher.publish(message)
        self._last, self._sent_ns = dict(values), time.monotonic_ns()
        self._holds = any(topic.repeats for topic in self._topics)
        self._drives = any(topic.drives(values) for topic in self._topics)

    def bridge(self, measured: Mapping[str, float], troubles: Sequence[str]) -> None:
        """Send the commands that keep the robot safe while no action arrives.

        Args:
            measured: Known measured values, by name.
            troubles: Reasons to stop repeating commands until the next action.
        """
        idle_ns = time.monotonic_ns() - self._sent_ns
        if self._drives and idle_ns > self._drive_ns:
            self._drives = False
            self._publish_last([topic for topic in self._topics if topic.stops], measured)
            if not self._has_warned:
                self._has_warned = True
                _log.warning(
                    "no action for %.1f s: the base stops until the next action (logged once)",
                    idle_ns * 1e-9,
                )
        if not self._holds or idle_ns < _REPEAT_NS:
            return
        repeated = [topic for topic in self._topics if topic.repeats]
        if troubles:
            self._holds = False
            _log.warning(
                "the last action is no longer repeated; the arm damps until the next action:\n%s",
                "\n".join(troubles),
            )
        elif idle_ns > self._hold_s * 1e9:
            self._holds = False
            _log.warning(
                "no action for %g s (hold_s): the arm damps until the next action", self._hold_s
            )
            self._publish_last(repeated, measured)
        else:
            for topic in repeated:
                topic.publisher.publish(topic.message(self._last, time.time_ns()))

    def leave(self, measured: Mapping[str, float]) -> None:
        """Send the commands that leave the robot safe, if any command was sent before.

        Joints that follow JointCommand hold their position until the command expires and their
        drives damp, unless they are already damping or follow another publisher. Bases stop. Joints
        that follow positions stay at the last position.

        Args:
            measured: Known measured values, by name.
        """
        leaving = [
            topic for topic in self._topics if topic.stops or (self._holds and not topic.trouble())
        ]
        for topic in self._publish_last(leaving if self._last else [], measured):
            # without this wait the message would be lost with the publisher
            if not topic.publisher.wait_for_all_acked(Duration(seconds=_ACKNOWLEDGED_S)):
                _log.warning(
                    "%s: no receiver has confirmed the last command within %g s; check that the "
                    "robot has stopped",
                    topic.publisher.topic_name,
                    _ACKNOWLEDGED_S,
                )

    @staticmethod
    def _publish_last(
        topics: Sequence[_CommandTopic], measured: Mapping[str, float]
    ) -> list[_CommandTopic]:
        """Send the last message of each topic; return the topics that have one."""
        ended = []
        for topic in topics:
            message = topic.last_message(measured, time.time_ns())
            if message is not None:
                topic.publisher.publish(message)
                ended.append(topic)
        return ended


class _CommandTopic:
    def __init__(self, node: Node, mapping: RobotMapping, channel: Channel) -> None:
        self._node = node
        self._outgoing = Outgoing(
            mapping, [channel], lambda name: message_class(name)(), valid_for_s=VALID_FOR_S
        )
        self.repeats, self.stops = channel.type == JOINT_COMMAND, channel.type in TWISTS
        self.publisher = node.create_publisher(
            message_class(channel.type), channel.topic, qos.COMMAND
        )

    def trouble(self) -> str:
        name = self.publisher.topic_name
        if not self.publisher.get_subscription_count():
            return f"{name}: expected a subscriber that receives commands, found none"
        others = self._node.count_publishers(name) - 1
        if others > 0:
            return (
                f"{name}: expected only this process to send commands, found "
                f"{plural(others, 'other publisher')} that would compete for the robot; stop "
                f"{'them' if others > 1 else 'it'} (a killed one is still counted for about 20 s)"
            )
        return ""

    def drives(self, values: Mapping[str, float]) -> bool:
        """Return whether these values make a base move."""
        return self.stops and any(values[name] for name in self._outgoing.names)

    def message(self, values: Mapping[str, float], stamp_ns: int) -> Any:
        return self._outgoing.message(
            np.array([values[name] for name in self._outgoing.names]), stamp_ns
        )

    def last_message(self, measured: Mapping[str, float], stamp_ns: int) -> Any:
        """Return the last message; None if the topic does not need one."""
        names = self._outgoing.names
        if self.stops:
            return self.message(dict.fromkeys(names, 0.0), stamp_ns)
        if not (self.repeats and set(names) <= set(measured)):
            return None
        message: Any = self.message(measured, stamp_ns)
        message.mode = FAULT_MODES[OnFault.HOLD_MEASURED]
        return message
