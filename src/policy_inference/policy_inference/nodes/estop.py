# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The e-stop on the `estop` topic (std_msgs/Bool), from any publisher with any QoS."""

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Bool

from policy_core.errors import RobotError
from policy_inference.nodes import qos
from policy_inference.nodes.sampling import decoder_for, find_other_types

_LOOK_EVERY_S = 0.1


class EstopTopic:
    """Subscribes to `estop` with two readers that match every publisher of std_msgs/Bool.

    A third reader receives past presses.

    A transient local reader does not match a volatile publisher, whose node then warns about
    incompatible QoS, as if its presses were not received. So the third reader exists only while
    there is a transient local publisher. It is not recreated while there is one, since a new reader
    would receive old presses again.
    """

    def __init__(self, node: Node, press: Callable[[], object]) -> None:
        """Subscribe.

        Args:
            node: Node that subscribes.
            press: Called for each `True`, and for each unreadable message, since it came from an
                e-stop. `False` is ignored, since an unpressed button sends it repeatedly.
        """
        self._node, self._press = node, press
        self._topic = node.resolve_topic_name("estop")
        self._decode = decoder_for(Bool)
        self._readers = [self._reader(profile) for profile in qos.ESTOPS]
        self._latched: Any = None
        self._timer = node.create_timer(
            _LOOK_EVERY_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        self._look()

    @property
    def problem(self) -> str:
        """The publishers of other types, which ROS 2 does not connect; "" if there are none."""
        others = find_other_types(self._node, self._topic, Bool)
        return f"estop: {others}: not received; make them publish that type" if others else ""

    def close(self) -> None:
        self._node.destroy_timer(self._timer)
        for reader in filter(None, [*self._readers, self._latched]):
            self._node.destroy_subscription(reader)

    def _reader(self, profile: QoSProfile) -> Any:
        return self._node.create_subscription(
            Bool,
            "estop",
            self._hear,
            profile,
            raw=True,
            callback_group=MutuallyExclusiveCallbackGroup(),
            event_callbacks=qos.NoEvents(),
        )

    def _hear(self, data: bytes) -> None:
        try:
            pressed = self._decode(data).data
        except RobotError as error:
            pressed = True
            self._node.get_logger().error(
                f"estop: {error}; treated as pressed", throttle_duration_sec=1.0
            )
        if pressed:
            self._press()

    def _look(self) -> None:
        """Create the third reader if a publisher keeps presses, otherwise remove it."""
        kept = any(
            info.qos_profile.durability is DurabilityPolicy.TRANSIENT_LOCAL
            for info in self._node.get_publishers_info_by_topic(self._topic)
        )
        if kept and self._latched is None:
            self._latched = self._reader(qos.LATCHED_ESTOP)
        elif not kept and self._latched is not None:
            self._node.destroy_subscription(self._latched)
            self._latched = None
