# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Receives every message on a set of topics as bytes, in a separate thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from lerobot_bridge.mapping import COMPRESSED_IMAGE, IMAGE
from lerobot_bridge.recording.watches import Watch
from policy_core.errors import RobotError
from policy_inference.nodes.rclpy_gaps import (
    MessageWaitSet,
    full_name,
    never_called,
    take_message,
)
from policy_inference.nodes.sampling import SampleGroup, message_class

Arrived = Callable[[str, bytes], None]
"""Function called with the full name of a topic and the bytes of a message."""
_LOOK_S = 0.1
"""Interval between searches for publishers, s."""
_IMAGES, _VALUES = 30, 1000
"""Queue depths: one or two seconds of messages; for images, limited by the robot's memory."""


class Listening:
    """Subscribes as soon as a topic has publishers, with the best QoS that all of them offer."""

    def __init__(self, node: Node, watches: Sequence[Watch], arrived: Arrived) -> None:
        self._topics = [_RecordedTopic(node, watch, arrived) for watch in watches]
        self._wait_set = MessageWaitSet(node, len(watches))
        self._ended = threading.Event()
        # this thread also subscribes, so that no subscription is destroyed while it waits
        self._thread = threading.Thread(target=self._work, name="listening", daemon=True)
        self._thread.start()

    @property
    def works(self) -> bool:
        """True while the thread is alive; only a Python error can end it early."""
        return self._thread.is_alive()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        for topic in self._topics:
            topic.close()

    def _work(self) -> None:
        look_at_s = 0.0
        while not self._ended.is_set():
            if time.monotonic() >= look_at_s:
                look_at_s = time.monotonic() + _LOOK_S
                for topic in self._topics:
                    topic.look()
            for topic in self._wait():
                topic.take()

    def _wait(self) -> list[_RecordedTopic]:
        """Return the topics that have messages, after waiting up to _LOOK_S for the first one."""
        subscribed = [topic for topic in self._topics if topic.handle is not None]
        if not subscribed:
            self._ended.wait(_LOOK_S)
            return []
        ready = self._wait_set.wait([topic.handle for topic in subscribed], round(_LOOK_S * 1e9))
        return [topic for topic in subscribed if topic.handle.pointer in ready]


class _RecordedTopic:
    def __init__(self, node: Node, watch: Watch, arrived: Arrived) -> None:
        self._node, self._watch, self._arrived = node, watch, arrived
        self._group = SampleGroup()
        self._message: type[Any] | None = None
        self._subscription: Any = None
        self._offered: tuple[str, bool, bool] | None = None
        self._sequence: int | None = None

    @property
    def handle(self) -> Any:
        """Handle of the subscription; None before there is one."""
        subscription = self._subscription
        return subscription.handle if subscription else None

    def look(self) -> None:
        watch = self._watch
        found = self._node.get_publishers_info_by_topic(watch.name)
        watch.publishers = sorted(map(full_name, found))
        if not found:
            return
        kinds = sorted({info.topic_type for info in found})
        watch.trouble = self._trouble(kinds)
        if watch.trouble:
            return
        watch.becomes(kinds[0])
        reliable = all(info.qos_profile.reliability == ReliabilityPolicy.RELIABLE for info in found)
        latched = all(
            info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for info in found
        )
        if self._offered != (watch.kind, reliable, latched):
            self._subscribe(reliable, latched)

    def _trouble(self, kinds: Sequence[str]) -> str:
        watch = self._watch
        allowed = watch.wanted.types
        if len(kinds) > 1 or (allowed and kinds[0] not in allowed):
            return (
                f"{watch.name}: expected {' or '.join(allowed) or 'one type'}, found "
                f"{', '.join(kinds)}; correct the mapping, or stop that publisher"
            )
        try:
            self._message = message_class(kinds[0])
        except RobotError as error:
            return f"{watch.name}: {error}"
        return ""

    def _subscribe(self, reliable: bool, latched: bool) -> None:
        """Subscribe again; latched messages then arrive again."""
        watch = self._watch
        self.close()
        watch.keeps = watch.wanted.holds or latched
        self._offered, self._sequence = (watch.kind, reliable, latched), None
        profile = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=_IMAGES if watch.kind in (IMAGE, COMPRESSED_IMAGE) else _VALUES,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
        self._subscription = self._node.create_subscription(
            self._message, watch.name, never_called, profile, callback_group=self._group
        )

    def take(self) -> None:
        assert self._message is not None
        while taken := take_message(self.handle, self._message):
            data, info = taken
            self._count_lost(info.get("publication_sequence_number"))
            self._arrived(self._watch.name, data)

    def _count_lost(self, number: int | None) -> None:
        """Count lost messages by their sequence numbers, which Humble and some middlewares lack."""
        if number is None or len(self._watch.publishers) != 1:
            self._sequence = None
            return
        if self._sequence is not None and number > self._sequence:
            self._watch.lost += number - self._sequence - 1
        self._sequence = number

    def close(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            self._node.destroy_subscription(subscription)
