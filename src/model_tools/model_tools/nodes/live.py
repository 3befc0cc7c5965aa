# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Rows from live topics of a robot, a simulation or a played recording."""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions

from model_tools.errors import ToolError
from model_tools.files.bags.bag_replay import (
    Replay,
    input_types,
    perceived_filters,
    skipped_messages,
)
from model_tools.files.bags.ordering import Ordering, StampedMessage
from model_tools.files.rows import Row
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.state_fields import COMMAND
from policy_core.observation.pairing import Arrival
from policy_inference.messages.wire import Decode, peek_stamp_ns
from policy_inference.nodes.rclpy_gaps import (
    MessageWaitSet,
    full_name,
    never_called,
    take_message,
)
from policy_inference.nodes.sampling import decoder_for, message_class

_LOOK_S = 0.1
"""Period of the search for publishers."""
_HEADER = "std_msgs/Header"
_DEPTH = 2000
"""Length of the queue for messages that arrive while rows are computed and written."""
_log = logging.getLogger("model_tools")


class LiveSource:
    """Rows from a policy that is replayed on live messages.

    Time is taken from the header stamps, so it may pass at any speed. The rows end after
    `duration_s`, on SIGINT or `stop`, when all publishers are gone, when the robot's state has a
    second publisher, or when timestamps jump back. Rows up to that point are valid.

    Attributes:
        name: "live topics".
        count: None, since it is unknown.
    """

    def __init__(
        self,
        bundle: JointBundle,
        topics: Mapping[str, str] | None = None,
        *,
        duration_s: float = math.inf,
        patience_s: float = 5.0,
        left_s: float = 1.0,
    ) -> None:
        """Prepare; subscribe to nothing yet.

        Args:
            bundle: Bundle whose `onnx` artifact is replayed.
            topics: Renamed topics, by input.
            duration_s: Time from the first row to the last, on the clock of the stamps.
            patience_s: Wall-clock time after which an input counts as missing.
            left_s: Wall-clock time without any publisher of sensor data after which the rows end.
        """
        self.name = "live topics"
        self.count: int | None = None
        self._bundle, self._topics, self._duration_s = bundle, dict(topics or {}), duration_s
        self._patience_s, self._left_s = patience_s, left_s
        self._types = input_types(bundle.contract)
        self._stop = threading.Event()
        if unknown := self._topics.keys() - self._types.keys():
            raise ToolError(
                f"{self.name}: expected topics for inputs of the policy "
                f"({', '.join(self._types)}), found a topic for {', '.join(unknown)}"
            )

    def stop(self) -> None:
        """End the rows soon; callable from any thread or signal handler."""
        self._stop.set()

    def rows(self, wanted: Sequence[int] | None = None) -> Iterator[Row]:
        """Yield rows in time order; their arrays are views, valid until the next row.

        Args:
            wanted: Always None, since tick numbers are not known beforehand.
        """
        if wanted is not None:
            raise ValueError("the tick numbers of live topics are not known in advance")
        with _node() as node, self._until_interrupted():
            heard = _Topics(
                node,
                {name: self._topics.get(name, name) for name in self._types},
                self._types,
                self._stop,
                self._patience_s,
                self._left_s,
            )
            replay, number = Replay(self._bundle, heard), -1
            for row in replay.rows():
                if row.time_s > self._duration_s:
                    break
                number = row.number
                yield row
            heard.report()
            late = ", ".join(
                f"the newest message on {heard.topics[name]} is too old (affected ticks: {count})"
                for name, count in replay.ticks.stale.items()
            )
            if number < 0:
                why = heard.mixed() or heard.missing() or late or "the topics ended too soon"
                raise ToolError(
                    f"{self.name}: expected a tick with all inputs of the policy, found none: {why}"
                )
            if replay.ticks.dropped:
                _log.warning(
                    "%s: %d of %d ticks are left out: %s",
                    self.name,
                    replay.ticks.dropped,
                    replay.ticks.dropped + number + 1,
                    late,
                )

    @contextmanager
    def _until_interrupted(self) -> Iterator[None]:
        """Stop at the first SIGINT, in the main thread only; then restore the previous handler."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number: int, frame: FrameType | None) -> None:
            signal.signal(signal.SIGINT, before)
            self.stop()

        before = signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


@contextmanager
def _node() -> Iterator[Node]:
    context = Context()
    rclpy.init(context=context, args=[], signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = Node(
            "model_tools_calibrate",
            context=context,
            enable_rosout=False,
            start_parameter_services=False,
        )
        try:
            yield node
        finally:
            node.destroy_node()
    finally:
        rclpy.shutdown(context=context)


class _InputListener:
    """Subscribes to an input once it has a publisher, with the publisher's type and reliability.

    Attributes:
        name, topic: The input, and the full name of its topic.
        lost: Number of lost messages, if the middleware numbers them.
        mixed: Error text if an input other than the command has several publishers; else empty.
    """

    def __init__(self, node: Node, name: str, topic: str, types: Sequence[str]) -> None:
        """Prepare to subscribe to messages of one of the `types`."""
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
        """Waitable for rclpy; None while there is no subscription."""
        return self._subscription.handle if self._subscription else None

    def look(self) -> int:
        found = self._node.get_publishers_info_by_topic(self.topic)
        if len(found) > max(1, self._publishers):
            self._complain(found)
        self._publishers = len(found)
        if found and self._subscription is None:
            self._subscribe(found)
        return self._publishers

    def _complain(self, publishers: Sequence[Any]) -> None:
        # A publisher may be discovered before its node.
        nodes = sorted(full_name(info) for info in publishers if "UNKNOWN" not in info.node_name)
        text = (
            f"{self.topic}: expected one publisher, found {len(publishers)}"
            f"{': ' if nodes else ''}{', '.join(nodes)}"
        )
        if self.name == COMMAND:
            _log.warning("%s", text)
        else:
            self.mixed = f"{text}; their messages are mixed: stop the others"

    def _subscribe(self, publishers: Sequence[Any]) -> None:
        types = sorted({info.topic_type for info in publishers})
        if len(types) > 1 or types[0] not in self._types:
            raise ToolError(
                f"{self.topic}: expected {' or '.join(self._types)} for the input "
                f"{self.name}, found {', '.join(types)}; name the input's topic with "
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
        """Count messages lost before this one; Humble and some middlewares do not number them."""
        if number is None or self._publishers != 1:
            return
        if self._number is not None and number > self._number:
            self.lost += number - self._number - 1
        self._number = number

    def decoder(self) -> Decode:
        """Return the function that decodes the messages; call it after the first message."""
        assert self._message is not None
        return decoder_for(self._message)


class _Topics:
    """Messages on live topics, for a replay."""

    def __init__(
        self,
        node: Node,
        topics: Mapping[str, str],
        types: Mapping[str, Sequence[str]],
        stop: threading.Event,
        patience_s: float,
        left_s: float,
    ) -> None:
        self._node, self._stop = node, stop
        self._patience_s, self._left_s = patience_s, left_s
        self._listeners = [
            _InputListener(node, name, topic, types[name]) for name, topic in topics.items()
        ]
        self.topics: Mapping[str, str] = {each.name: each.topic for each in self._listeners}
        self._filters = perceived_filters(self)
        self._ordering = Ordering([name for name in topics if name != COMMAND])
        self._look_at_s = self._present_s = self._began_s = time.monotonic()
        self._wait_set = MessageWaitSet(node, len(topics))

    def arrivals(self) -> Iterator[Arrival]:
        while self._goes_on():
            self._wait()
            self._take()
            yield from filter(self._has_values, self._ordering.ready())
        self._take()
        if reason := self.mixed() or self._restarted():
            _log.warning("live topics: no more rows are collected: %s", reason)
        yield from filter(self._has_values, self._ordering.ready(rest=True))

    def _has_values(self, arrival: Arrival) -> bool:
        has_values = self._filters.get(arrival.name)
        return has_values is None or has_values(arrival.data)

    def _take(self) -> None:
        self._ordering.put(message for each in self._listeners for message in each.take())

    def _goes_on(self) -> bool:
        """Search for publishers, if due; return whether more messages may arrive."""
        now_s = time.monotonic()
        if now_s >= self._look_at_s:
            self._look_at_s = now_s + _LOOK_S
            publishers = {each.name: each.look() for each in self._listeners}
            if any(count for name, count in publishers.items() if name != COMMAND):
                self._present_s = now_s
            if now_s > self._began_s + self._patience_s and (missing := self.missing()):
                self._began_s = math.inf
                _log.warning("live topics: %s", missing)
        left = not self._ordering.missing and now_s > self._present_s + self._left_s
        return not (left or self._stop.is_set() or self.mixed() or self._restarted())

    def mixed(self) -> str:
        """Return a description of each topic that has several publishers but must have one."""
        return "; ".join(each.mixed for each in self._listeners if each.mixed)

    def _restarted(self) -> str:
        name = self._ordering.restarted
        return f"the timestamps of {self.topics[name]} jumped back" if name else ""

    def _wait(self) -> None:
        rest_s = max(0.0, self._look_at_s - time.monotonic())
        handles = [each.handle for each in self._listeners if each.handle]
        if not handles:
            self._stop.wait(rest_s)
            return
        self._wait_set.wait(handles, int(rest_s * 1e9))

    def missing(self) -> str:
        """Describe which inputs lack messages, and which topics exist; empty if all have some."""
        names = self._ordering.missing
        if not names:
            return ""
        present = sorted(
            f"{topic} ({', '.join(types)})"
            for topic, types in self._node.get_topic_names_and_types()
            if self._node.count_publishers(topic)
        )
        return (
            f"no messages on {', '.join(self.topics[name] for name in names)}; there are "
            f"{', '.join(present) or 'no topics'}; name it with --topic {names[0]}=/name, or "
            "check ROS_DOMAIN_ID"
        )

    def report(self) -> None:
        if skipped := skipped_messages(self, self._filters):
            _log.warning("live topics: skipped: %s", skipped)
        for each in self._listeners:
            if each.lost:
                _log.warning("%s: %d messages were lost in transit", each.topic, each.lost)
            if late := self._ordering.late[each.name]:
                _log.warning("%s: %d messages arrived too late", each.topic, late)

    def decoder(self, topic: str) -> Decode:
        return next(each for each in self._listeners if each.topic == topic).decoder()

    def problem(self, what: str, time_ns: int, text: object) -> ToolError:
        return ToolError(f"live topics: {what} at {time_ns * 1e-9:.3f} s: {text}")
