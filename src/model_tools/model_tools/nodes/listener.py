# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One input of a policy on a live topic: every message of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy

from model_tools.errors import ToolError
from model_tools.files.bags.ordering import StampedMessage
from policy_core.bundle.state_fields import COMMAND
from policy_inference.messages.wire import Decode, peek_stamp_ns
from policy_inference.nodes.rclpy_gaps import full_name, never_called, take_message
from policy_inference.nodes.sampling import decoder_for, message_class

_HEADER = "std_msgs/Header"
_DEPTH = 2000
"""Messages that wait while rows are made and written: seconds of a recording played fast."""
_log = logging.getLogger("model_tools")


class InputListener:
    """Subscribes as soon as there is a publisher, of its type and as reliably as it offers.

    Attributes:
        name, topic: The input, and the full name of its topic.
        lost: Messages that were published and did not come, where the middleware numbers them.
        mixed: What is wrong where a robot's state has several publishers; else empty.
    """

    def __init__(self, node: Node, name: str, topic: str, types: Sequence[str]) -> None:
        """Wait for a publisher; `types` are those that the input may have."""
        self.name, self.topic = name, node.resolve_topic_name(topic)
        self.lost, self.mixed = 0, ""
        self._node, self._types = node, types
        self._message: type[Any] | None = None
        self._subscription: Any = None
        self._stamped = False
        self._number: int | None = None
        self._publishers = 0

    @property
    def handle(self) -> Any:
        """What rclpy waits on; None as long as there is no subscription."""
        return self._subscription.handle if self._subscription else None

    def look(self) -> int:
        """Subscribe if that is possible by now; return how many publishers there are."""
        found = self._node.get_publishers_info_by_topic(self.topic)
        if len(found) > max(1, self._publishers):
            self._complain(found)
        self._publishers = len(found)
        if found and self._subscription is None:
            self._subscribe(found)
        return self._publishers

    def _complain(self, publishers: Sequence[Any]) -> None:
        # A publisher may be known before its node is.
        nodes = sorted(full_name(info) for info in publishers if "UNKNOWN" not in info.node_name)
        text = (
            f"{self.topic}: expected one publisher, found {len(publishers)}"
            f"{': ' if nodes else ''}{', '.join(nodes)}"
        )
        if self.name == COMMAND:
            _log.warning("%s", text)
        else:
            self.mixed = f"{text}; what they say is mixed: stop the others"

    def _subscribe(self, publishers: Sequence[Any]) -> None:
        types = sorted({info.topic_type for info in publishers})
        if len(types) > 1 or types[0] not in self._types:
            raise ToolError(
                f"{self.topic}: expected {' or '.join(self._types)} for the input "
                f"{self.name}, found {', '.join(types)}; it may have another name: "
                f"--topic {self.name}=/name"
            )
        self._message = message_class(types[0])
        first_type = next(iter(self._message.get_fields_and_field_types().values()), "")
        self._stamped = first_type == _HEADER
        reliable = all(
            info.qos_profile.reliability == ReliabilityPolicy.RELIABLE for info in publishers
        )
        profile = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=_DEPTH,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        )
        self._subscription = self._node.create_subscription(
            self._message, self.topic, never_called, profile
        )

    def take(self) -> list[StampedMessage]:
        """Return what came since the last time."""
        found: list[StampedMessage] = []
        if self._subscription is None:
            return found
        assert self._message is not None
        while len(found) < _DEPTH and (taken := take_message(self.handle, self._message)):
            data, info = taken
            self._count_lost(info.get("publication_sequence_number"))
            stamp_ns = peek_stamp_ns(data) if self._stamped else 0
            found.append(StampedMessage(self.name, stamp_ns, info["source_timestamp"], data))
        return found

    def _count_lost(self, number: int | None) -> None:
        """Note the publisher's number of a message; Humble and some middlewares have none."""
        if number is None or self._publishers != 1:
            return
        if self._number is not None and number > self._number:
            self.lost += number - self._number - 1
        self._number = number

    def decoder(self) -> Decode:
        """Return what reads the messages from their bytes; there must have been one."""
        assert self._message is not None
        return decoder_for(self._message)
