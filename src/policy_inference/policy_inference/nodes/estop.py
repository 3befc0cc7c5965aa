# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The e-stop on the topic `estop` (std_msgs/Bool), from any publisher of any quality of service."""

import time
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Bool

from policy_inference.errors import RobotError
from policy_inference.nodes import qos
from policy_inference.nodes.sampling import decoder_for

_LOOK_EVERY_S = 0.1
_ASKED_FOR_NS = 5_000_000_000
"""So long a publisher has to give what it sent last: far longer than discovery takes."""


def listen_to_estop(node: Node, press: Callable[[], object]) -> Callable[[], None]:
    """Subscribe to `estop`.

    Args:
        node: Subscribes.
        press: Called for each `True`, and for each message that cannot be read: it came from an
            e-stop, and nothing else is known. `False` releases nothing: a button that nobody
            presses repeats it.

    Returns:
        What ends the subscriptions.
    """
    return _EstopTopic(node, press).close


class _EstopTopic:
    """Two readers that every publisher matches, and at times one that asks for what was before.

    A reader that wants what was sent before it was there (transient local) does not match a
    publisher that keeps nothing, whose ROS then warns of incompatible QoS, as if the button were
    not heard. So that reader is there only while publishers that do keep something are new.
    """

    def __init__(self, node: Node, press: Callable[[], object]) -> None:
        self._node, self._press = node, press
        self._topic = node.resolve_topic_name("estop")
        self._decode = decoder_for(Bool)
        self._readers = [self._reader(profile) for profile in qos.ESTOPS]
        self._asking: Any = None
        self._asked, self._asked_ns = set[tuple[int, ...]](), 0
        self._timer = node.create_timer(
            _LOOK_EVERY_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._look()

    def close(self) -> None:
        self._node.destroy_timer(self._timer)
        self._ask_no_more()
        for reader in self._readers:
            self._node.destroy_subscription(reader)

    def _reader(self, profile: QoSProfile) -> Any:
        return self._node.create_subscription(
            Bool, "estop", self._hear, profile, raw=True,
            callback_group=MutuallyExclusiveCallbackGroup(), event_callbacks=qos.NoEvents())

    def _hear(self, data: bytes) -> None:
        try:
            pressed = self._decode(data).data
        except RobotError as error:
            pressed = True
            self._node.get_logger().error(f"estop: {error}; it counts as pressed",
                                          throttle_duration_sec=1.0)
        if pressed:
            self._press()

    def _look(self) -> None:
        """Ask new publishers that keep what they sent; once asked, they are heard as all others."""
        found = self._node.get_publishers_info_by_topic(self._topic)
        keeping = {tuple(info.endpoint_gid) for info in found
                   if info.qos_profile.durability is DurabilityPolicy.TRANSIENT_LOCAL}
        now_ns = time.monotonic_ns()
        if keeping - self._asked:
            self._asked_ns = now_ns
            self._asking = self._asking or self._reader(qos.LATCHED_ESTOP)
        elif now_ns - self._asked_ns > _ASKED_FOR_NS:
            self._ask_no_more()
        self._asked = keeping

    def _ask_no_more(self) -> None:
        if self._asking is not None:
            self._node.destroy_subscription(self._asking)
            self._asking = None
