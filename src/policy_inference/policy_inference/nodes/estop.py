# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The e-stop on the topic `estop` (std_msgs/Bool), from any publisher of any quality of service."""

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Bool

from policy_core.errors import RobotError
from policy_inference.nodes import qos
from policy_inference.nodes.sampling import decoder_for

_LOOK_EVERY_S = 0.1


def listen_to_estop(node: Node, press: Callable[[], object]) -> Callable[[], None]:
    """Subscribe to `estop`.

    Args:
        node: Subscribes.
        press: Called for each `True`, and for each message that cannot be read, since it came from
            an e-stop. `False` releases nothing: a button that is not pressed repeats it.

    Returns:
        What ends the subscriptions.
    """
    return _EstopTopic(node, press).close


class _EstopTopic:
    """Two readers that hear every publisher, and one more while there are publishers to match it.

    A reader that wants what was sent before it was there (transient local) does not match a
    publisher that keeps nothing, whose ROS then warns of incompatible QoS, as if the button were
    not heard. So that reader is there while there is a publisher that keeps something, and no
    shorter: a new one would be given old presses again.
    """

    def __init__(self, node: Node, press: Callable[[], object]) -> None:
        self._node, self._press = node, press
        self._topic = node.resolve_topic_name("estop")
        self._decode = decoder_for(Bool)
        self._readers = [self._reader(profile) for profile in qos.ESTOPS]
        self._latched: Any = None
        self._timer = node.create_timer(
            _LOOK_EVERY_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        self._look()

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
                f"estop: {error}; it counts as pressed", throttle_duration_sec=1.0
            )
        if pressed:
            self._press()

    def _look(self) -> None:
        """Have the third reader where, and only where, a publisher matches it."""
        kept = any(
            info.qos_profile.durability is DurabilityPolicy.TRANSIENT_LOCAL
            for info in self._node.get_publishers_info_by_topic(self._topic)
        )
        if kept and self._latched is None:
            self._latched = self._reader(qos.LATCHED_ESTOP)
        elif not kept and self._latched is not None:
            self._node.destroy_subscription(self._latched)
            self._latched = None
