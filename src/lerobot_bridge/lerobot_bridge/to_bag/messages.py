# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Makes the messages of a mapping's frames; all messages of a frame have the frame's stamp."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from lerobot_bridge.mapping import ACTION, COMPRESSED_IMAGE, IMAGE, RobotMapping, Source
from lerobot_bridge.outgoing import Empty, Outgoing
from model_tools.errors import ToolError
from policy_core.errors import RobotError
from policy_core.interfaces import F64, U8
from policy_inference.flight.message_types import message_types

JPEG_QUALITY = 95
_OURS = "policy_msgs/"
_COMPRESSED = "/compressed"
_NOT_NUMBERS: dict[str, Any] = {"string": "", "wstring": "", "bool": False}


class TopicMessage(NamedTuple):
    """A message and its topic."""

    topic: str
    type: str
    message: Any


def make_typestore(mapping: RobotMapping) -> Typestore:
    used = [source.type for sources in mapping.vectors.values() for source in sources]
    # ROS 2's own types need no installed ROS
    types = (
        message_types()
        if any(name.startswith(_OURS) for name in used)
        else get_typestore(Stores.ROS2_HUMBLE)
    )
    for name in used:
        if name not in types.types:
            raise ToolError(
                f"expected message types from ROS 2 or {_OURS.rstrip('/')}, found {name} "
                "in the mapping; remove the source with this type"
            )
    return types


class FrameMessages:
    """Makes a frame's messages: for the state, then for the cameras, then for the action."""

    def __init__(self, mapping: RobotMapping, types: Typestore) -> None:
        """Prepare; several sources that read from one topic share one message."""
        empty = empty_messages(types)
        topics = [_ValuesMessage(mapping, sources, empty) for sources in _by_topic(mapping)]
        self._sensed = [topic for topic in topics if not topic.is_action]
        self._done = [topic for topic in topics if topic.is_action]
        self._cameras = {
            name: _camera(name, camera.topic, empty) for name, camera in mapping.cameras.items()
        }

    def of(
        self, vectors: Mapping[str, F64], images: Mapping[str, U8], stamp_ns: int
    ) -> Iterator[TopicMessage]:
        """Yield the messages of a frame.

        Args:
            vectors: Values by feature, in the mapping's order and LeRobot's units.
            images: Images by camera, uint8 [height, width, 3] in RGB.
            stamp_ns: Time of the frame.
        """
        for topic in self._sensed:
            yield topic.said(vectors, stamp_ns)
        for name, image in images.items():
            yield self._cameras[name](image, stamp_ns)
        for topic in self._done:
            yield topic.said(vectors, stamp_ns)


_Sources = list[tuple[str, int, Source]]
"""Feature, index of the feature's first value, source."""


def _by_topic(mapping: RobotMapping) -> list[_Sources]:
    found = dict[str, _Sources]()
    for feature, sources in mapping.vectors.items():
        begin = 0
        for source in sources:
            found.setdefault(_full(source.topic), []).append((feature, begin, source))
            begin += len(mapping.value_names(source, source.quantity))
    return list(found.values())


class _ValuesMessage:
    def __init__(self, mapping: RobotMapping, sources: _Sources, empty: Empty) -> None:
        self.is_action = all(feature == ACTION for feature, _, _ in sources)
        topic = sources[0][2].topic
        try:
            self._outgoing = Outgoing(mapping, [source for _, _, source in sources], empty)
        except RobotError as error:
            raise ToolError(f"{topic}: {error}") from error
        self._name = _full(topic)
        sizes = [len(mapping.value_names(source, source.quantity)) for _, _, source in sources]
        self._parts = [
            (feature, slice(begin, begin + size))
            for (feature, begin, _), size in zip(sources, sizes, strict=True)
        ]
        # values of the same joint or field in the features of two sources
        keys = [key for _, _, source in sources for key in _keys(mapping, source)]
        self._doubled = [(keys.index(key), i) for i, key in enumerate(keys) if key in keys[:i]]

    def said(self, vectors: Mapping[str, F64], stamp_ns: int) -> TopicMessage:
        values = np.concatenate([vectors[feature][part] for feature, part in self._parts])
        for one, other in self._doubled:
            if values[one] != values[other]:
                features = ", ".join(dict.fromkeys(feature for feature, _ in self._parts))
                raise RobotError(
                    f"{self._name}: expected {self._outgoing.names[one]} to be the "
                    f"same in {features} (they share a message), found "
                    f"{values[one]:.6g} and {values[other]:.6g}; give them separate "
                    "topics in the mapping"
                )
        return TopicMessage(
            self._name, self._outgoing.type, self._outgoing.message(values, stamp_ns)
        )


def _keys(mapping: RobotMapping, source: Source) -> list[str]:
    if source.fields is not None:
        return list(source.fields.values())
    return [f"{source.quantity} of {joint}" for joint in mapping.select_joints(source)]


def _camera(name: str, topic: str, empty: Empty) -> Callable[[U8, int], TopicMessage]:
    """Return a function that makes an image message, with a JPEG if the topic is compressed."""
    full = _full(topic)

    def raw(image: U8, stamp_ns: int) -> TopicMessage:
        message = _stamped(empty, IMAGE, name, stamp_ns)
        message.height, message.width = image.shape[:2]
        message.encoding, message.step = "rgb8", 3 * message.width
        message.data = np.ascontiguousarray(image).reshape(-1)
        return TopicMessage(full, IMAGE, message)

    def compressed(image: U8, stamp_ns: int) -> TopicMessage:
        message = _stamped(empty, COMPRESSED_IMAGE, name, stamp_ns)
        _, data = cv2.imencode(
            ".jpg",
            cv2.cvtColor(image, cv2.COLOR_RGB2BGR),
            [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY],
        )
        message.format, message.data = "jpeg", data.reshape(-1)
        return TopicMessage(full, COMPRESSED_IMAGE, message)

    return compressed if full.endswith(_COMPRESSED) else raw


def _stamped(empty: Empty, kind: str, frame: str, stamp_ns: int) -> Any:
    message = empty(kind)
    message.header.frame_id, stamp = frame, message.header.stamp
    stamp.sec, stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    return message


def _full(topic: str) -> str:
    return f"/{topic.lstrip('/')}"


def empty_messages(types: Typestore) -> Empty:
    """Return a function that makes empty messages as rclpy does: numbers are 0, lists empty."""

    def empty(name: str) -> Any:
        fields = types.fielddefs[name][1]
        return types.types[name](**{field: value(*kind) for field, kind in fields})

    def value(kind: Nodetype, detail: Any) -> Any:
        if kind is Nodetype.NAME:
            return empty(detail)
        if kind is Nodetype.BASE:
            return _number(detail[0])
        element, count = detail
        size = count if kind is Nodetype.ARRAY else 0
        if element[0] is Nodetype.BASE and element[1][0] not in ("string", "wstring"):
            return np.zeros(size, _dtype(element[1][0]))
        return [value(*element) for _ in range(size)]

    return empty


def _number(base: str) -> Any:
    if base in _NOT_NUMBERS:
        return _NOT_NUMBERS[base]
    return _dtype(base).type(0).item()


def _dtype(base: str) -> np.dtype[Any]:
    return np.dtype("uint8" if base in ("octet", "char") else base)
