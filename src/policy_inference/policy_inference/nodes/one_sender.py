# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Commands from one publisher at a time, for drivers and simulated robots.

If two policy nodes command one robot, one may send walking commands and the other damping commands;
a robot that follows both in turn falls.
"""

import time
from collections.abc import Callable

from policy_msgs.msg import JointCommand
from rclpy.node import Node
from rclpy.serialization import deserialize_message

from policy_inference.nodes import qos
from policy_inference.nodes.rclpy_gaps import (
    MessageWaitSet,
    SampleGroup,
    full_name,
    never_called,
    take_with_sender,
)

_LONGEST_NS = 1_000_000_000
"""Maximum time for which a command keeps its publisher selected, and for which an ignored command
is reported.
"""
_NEVER_NS = 1 << 63


class OneSender:
    """Subscribes to commands, and follows the publisher whose command arrived first.

    Commands from other publishers are ignored and counted until the newest command from the
    followed publisher has expired; the next publisher to send one is then followed. Call `take`
    from one thread only.

    Attributes:
        topic: Full topic name.
        ignored: Number of ignored commands.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        *,
        decode: Callable[[bytes], JointCommand] | None = None,
        expires: bool = True,
    ) -> None:
        """Subscribe to a relative topic.

        Args:
            node: Node that subscribes and logs.
            topic: Topic of type policy_msgs/JointCommand.
            decode: Decodes a message; rclpy by default.
            expires: False to follow a publisher until `release`, regardless of the steady clock.
        """
        self._node, self._expires = node, expires
        self.topic: str = node.resolve_topic_name(topic)
        self._decode = decode or (lambda data: deserialize_message(data, JointCommand))
        self._subscription = node.create_subscription(
            JointCommand, topic, never_called, qos.COMMANDS, callback_group=SampleGroup()
        )
        self._wait_set = MessageWaitSet(node, 1)
        self._followed, self._until_ns = b"", 0
        self._other, self._other_ns = b"", -_LONGEST_NS
        self.ignored = 0

    def wait(self, timeout_ns: int) -> bool:
        return bool(self._wait_set.wait([self._subscription.handle], timeout_ns))

    def take(self) -> JointCommand | None:
        """Return the newest command from the followed publisher, or None."""
        newest: dict[bytes, bytes] = {}
        senders: list[bytes] = []
        while taken := take_with_sender(self._subscription.handle):
            data, sender = taken
            newest[sender] = data
            senders.append(sender)
        now_ns = time.monotonic_ns()
        if senders and self._followed not in newest and now_ns >= self._until_ns:
            self._followed = senders[0]
        others = [sender for sender in senders if sender != self._followed]
        if others:
            self._ignore(others[-1], len(others), now_ns)
        if self._followed not in newest:
            return None
        command = self._decode(newest[self._followed])
        valid_ns = command.valid_for.sec * 1_000_000_000 + command.valid_for.nanosec
        self._until_ns = now_ns + min(valid_ns, _LONGEST_NS) if self._expires else _NEVER_NS
        return command

    def release(self) -> None:
        self._until_ns = 0

    def clear(self) -> None:
        """Follow no publisher, drop pending commands, and reset the count."""
        while take_with_sender(self._subscription.handle):
            pass
        self._followed, self._until_ns = b"", 0
        self._other_ns, self.ignored = -_LONGEST_NS, 0

    def problem(self) -> str:
        """Return a message if commands are being ignored, else "". Any thread may call this."""
        if time.monotonic_ns() - self._other_ns >= _LONGEST_NS:
            return ""
        return (
            f"{self.topic}: commands from {self._name(self._other)} are ignored while those from "
            f"{self._name(self._followed)} are followed; stop one of the two nodes"
        )

    def close(self) -> None:
        self._node.destroy_subscription(self._subscription)

    def _ignore(self, other: bytes, count: int, now_ns: int) -> None:
        """Count ignored commands; log an error at the start of each series."""
        begins = now_ns - self._other_ns >= _LONGEST_NS
        self._other, self._other_ns = other, now_ns
        self.ignored += count
        if begins:
            self._node.get_logger().error(self.problem())

    def _name(self, sender: bytes) -> str:
        for info in self._node.get_publishers_info_by_topic(self.topic):
            if bytes(info.endpoint_gid).startswith(sender):
                return full_name(info)
        return "a publisher that has ended"
