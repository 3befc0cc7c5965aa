# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The newest values and images from a robot's topics, and their ages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rclpy.node import Node

from lerobot_bridge.mapping import CameraSource, RobotMapping, Source
from lerobot_bridge.values import SourceReader, read_image
from policy_core.errors import RobotError, plural
from policy_core.observation.freshness import Input
from policy_inference.messages.readers import stamp_ns
from policy_inference.nodes.rclpy_gaps import full_name
from policy_inference.nodes.sampling import Sampled, SampleGroup, decoder_for, message_class


class LiveTopic(ABC):
    """A topic of which only the newest message is used.

    Attributes:
        sampled: The subscription; None until the type is known.
        newest: Content of the newest message, keyed by LeRobot's names.
    """

    def __init__(
        self, node: Node, group: SampleGroup, source: Source | CameraSource, types: Sequence[str]
    ) -> None:
        """Subscribe, immediately or once the type is known.

        Args:
            node: The node that subscribes.
            group: Callback group that keeps the executor away from the subscription.
            source: The mapping's definition of the topic; the first one, if the topic has several
                sources.
            types: Allowed message types; if there is only one, the subscription is made
                immediately.
        """
        self._node, self._group, self._topic = node, group, source.topic
        self._name: str = node.resolve_topic_name(source.topic)
        self._types, self._stamped = types, source.stamp == "header"
        # a held message counts at any age, as in datasets
        timeout_ns = None if source.resample == "hold" else round(source.timeout_s * 1e9)
        self._input = Input(self._name, timeout_ns)
        self.newest: dict[str, Any] = {}
        self.sampled: Sampled[Any] | None = None
        if len(types) == 1:
            self._subscribe(types[0])

    @abstractmethod
    def read(self, message: Any) -> dict[str, Any]:
        """Return the content of a message, keyed by LeRobot's names."""

    def decoder(self, message: type[Any]) -> Callable[[bytes], Any]:
        return decoder_for(message)

    def discover(self) -> None:
        """Subscribe if there is a publisher with an allowed type."""
        if self.sampled is None:
            published = self._published()
            if len(published) == 1 and published[0] in self._types:
                self._subscribe(published[0])

    def look(self, now_ns: int, ros_now_ns: int) -> None:
        """Take the newest message, if there is a new one."""
        assert self.sampled is not None  # `look` is called only for subscribed topics
        self.sampled.take_wire()
        if self.sampled.wire is None:
            return
        try:
            message = self._decode(self.sampled.wire)
            stamp = stamp_ns(message) if self._stamped else None
            if not self._input.is_new(stamp, now_ns):
                return
            self.newest = self.read(message)
        except RobotError as error:
            self._input.reject(str(error))
        else:
            self._input.accept(now_ns, stamp, ros_now_ns)

    def trouble(self, now_ns: int) -> str:
        """Return why the newest message must not be used; empty if it is valid."""
        count = self._node.count_publishers(self._name)
        if count > 1:
            return (
                f"{self._name}: expected one publisher, found {count} ({self._publishers()}), "
                "whose messages would alternate; stop all but one"
            )
        if self._input.age_ns(now_ns) is not None and not self._input.is_stale(now_ns):
            return ""
        _, _, state = self._input.describe(now_ns).partition(": ")
        state, _, _ = state.partition(", limit")  # the expected message includes the limit
        if self._input.age_ns(now_ns) is not None:
            state = f"one {state}"
        others = sorted(set(self._published()) - set(self._types))
        of = f" of {', '.join(others)}" if others else ""
        return (
            f"{self._name}: expected {self._expected()}, found {state} "
            f"({plural(count, 'publisher')}{of})"
        )

    def _expected(self) -> str:
        limit_ns = self._input.timeout_ns
        age = "" if limit_ns is None else f" from the last {limit_ns * 1e-6:.0f} ms"
        return f"a {' or '.join(self._types)}{age}"

    def _published(self) -> list[str]:
        return sorted(
            {info.topic_type for info in self._node.get_publishers_info_by_topic(self._name)}
        )

    def _publishers(self) -> str:
        found = self._node.get_publishers_info_by_topic(self._name)
        return ", ".join(map(full_name, found))

    def _subscribe(self, kind: str) -> None:
        message = message_class(kind)
        self._decode = self.decoder(message)
        self.sampled = Sampled(self._node, self._group, message, self._topic)


class ValuesTopic(LiveTopic):
    """A topic with the values of one or more sources."""

    def __init__(
        self, node: Node, group: SampleGroup, mapping: RobotMapping, sources: Sequence[Source]
    ) -> None:
        """Use all sources of one topic; the first source defines the maximum message age."""
        self._readers = [SourceReader(mapping, source) for source in sources]
        self._effort = any(source.quantity == "effort" for source in sources)
        super().__init__(node, group, sources[0], [sources[0].type])

    def read(self, message: Any) -> dict[str, Any]:
        return {
            name: value
            for reader in self._readers
            for name, value in zip(reader.names, reader.read(message).tolist(), strict=True)
        }

    def decoder(self, message: type[Any]) -> Callable[[bytes], Any]:
        """Return a function that decodes messages; the fast decoder omits efforts."""
        return decoder_for(message, whole=self._effort)


class CameraTopic(LiveTopic):
    """A topic with the images from a camera."""

    def __init__(self, node: Node, group: SampleGroup, name: str, camera: CameraSource) -> None:
        self._camera_name, self._camera = name, camera
        super().__init__(node, group, camera, camera.types)

    def read(self, message: Any) -> dict[str, Any]:
        """Return a copy of the image, since LeRobot keeps it for a while."""
        return {self._camera_name: np.array(read_image(self._camera, message))}
