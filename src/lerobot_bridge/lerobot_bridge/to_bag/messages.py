# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The messages from which a mapping's frames are made again: all of a frame have its stamp."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from lerobot_bridge.empty_messages import Empty, empty_messages
from lerobot_bridge.mapping import ACTION, COMPRESSED_IMAGE, IMAGE, RobotMapping, Source
from lerobot_bridge.outgoing import Outgoing
from model_tools.errors import ToolError
from policy_inference.core.images import Picture
from policy_inference.errors import RobotError
from policy_inference.flight.message_types import message_types
from policy_inference.interfaces import F64

JPEG_QUALITY = 95
_OURS = "policy_msgs/"
_COMPRESSED = "/compressed"


class Said(NamedTuple):
    """A message and the topic that it is said on."""

    topic: str
    type: str
    message: Any


def types_of(mapping: RobotMapping) -> Typestore:
    """Return the types of a mapping's messages.

    Raises:
        ToolError: One is neither of ROS 2 nor of policy_msgs.
        PolicyError: One is of policy_msgs, which is not installed.
    """
    used = [source.type for sources in mapping.vectors.values() for source in sources]
    # What is of ROS 2 alone is written without ROS.
    types = (
        message_types()
        if any(name.startswith(_OURS) for name in used)
        else get_typestore(Stores.ROS2_HUMBLE)
    )
    for name in used:
        if name not in types.types:
            raise ToolError(
                f"expected message types of ROS 2 or {_OURS.rstrip('/')}, found {name} "
                "in the mapping; leave its source out"
            )
    return types


class FrameMessages:
    """Makes the messages of a frame: of the state first, of cameras, of the action last."""

    def __init__(self, mapping: RobotMapping, types: Typestore) -> None:
        """Prepare; a topic that several sources read gets one message.

        Raises:
            ToolError: Sources of a topic do not make a message of its type.
        """
        empty = empty_messages(types)
        topics = [_Topic(mapping, sources, empty) for sources in _by_topic(mapping)]
        self._sensed = [topic for topic in topics if not topic.is_action]
        self._done = [topic for topic in topics if topic.is_action]
        self._cameras = {
            name: _camera(name, camera.topic, empty) for name, camera in mapping.cameras.items()
        }

    def of(
        self, vectors: Mapping[str, F64], pictures: Mapping[str, Picture], stamp_ns: int
    ) -> Iterator[Said]:
        """Yield the messages.

        Args:
            vectors: By feature, in the mapping's order and LeRobot's units.
            pictures: By camera.
            stamp_ns: Time of the frame.

        Raises:
            RobotError: Two features say other values of a joint or field that one message carries.
        """
        for topic in self._sensed:
            yield topic.said(vectors, stamp_ns)
        for name, picture in pictures.items():
            yield self._cameras[name](picture, stamp_ns)
        for topic in self._done:
            yield topic.said(vectors, stamp_ns)


_Sources = list[tuple[str, int, Source]]
"""Feature, place of the first value in it, source."""


def _by_topic(mapping: RobotMapping) -> list[_Sources]:
    found = dict[str, _Sources]()
    for feature, sources in mapping.vectors.items():
        begin = 0
        for source in sources:
            found.setdefault(_full(source.topic), []).append((feature, begin, source))
            begin += len(mapping.values_of(source, source.quantity))
    return list(found.values())


class _Topic:
    """A topic with values."""

    def __init__(self, mapping: RobotMapping, sources: _Sources, empty: Empty) -> None:
        self.is_action = all(feature == ACTION for feature, _, _ in sources)
        topic = sources[0][2].topic
        try:
            self._outgoing = Outgoing(mapping, [source for _, _, source in sources], empty)
        except RobotError as error:
            raise ToolError(f"{topic}: {error}") from error
        self._name = _full(topic)
        sizes = [len(mapping.values_of(source, source.quantity)) for _, _, source in sources]
        self._parts = [
            (feature, slice(begin, begin + size))
            for (feature, begin, _), size in zip(sources, sizes, strict=True)
        ]
        # The same joint or field, if the features of two sources have it.
        keys = [key for _, _, source in sources for key in _keys(mapping, source)]
        self._doubled = [(keys.index(key), i) for i, key in enumerate(keys) if key in keys[:i]]

    def said(self, vectors: Mapping[str, F64], stamp_ns: int) -> Said:
        values = np.concatenate([vectors[feature][part] for feature, part in self._parts])
        for one, other in self._doubled:
            if values[one] != values[other]:
                features = ", ".join(dict.fromkeys(feature for feature, _ in self._parts))
                raise RobotError(
                    f"{self._name}: expected {self._outgoing.names[one]} to be the "
                    f"same in {features}, which one message carries, found "
                    f"{values[one]:.6g} and {values[other]:.6g}; give them topics of "
                    "their own in the mapping"
                )
        return Said(self._name, self._outgoing.type, self._outgoing.message(values, stamp_ns))


def _keys(mapping: RobotMapping, source: Source) -> list[str]:
    if source.fields is not None:
        return list(source.fields.values())
    return [f"{source.quantity} of {joint}" for joint in mapping.joints_of(source)]


def _camera(name: str, topic: str, empty: Empty) -> Callable[[Picture, int], Said]:
    """Return what makes the message of a picture: a JPEG where the topic says compressed."""
    full = _full(topic)

    def raw(picture: Picture, stamp_ns: int) -> Said:
        message = _stamped(empty, IMAGE, name, stamp_ns)
        message.height, message.width = picture.shape[:2]
        message.encoding, message.step = "rgb8", 3 * message.width
        message.data = np.ascontiguousarray(picture).reshape(-1)
        return Said(full, IMAGE, message)

    def compressed(picture: Picture, stamp_ns: int) -> Said:
        message = _stamped(empty, COMPRESSED_IMAGE, name, stamp_ns)
        _, data = cv2.imencode(
            ".jpg",
            cv2.cvtColor(picture, cv2.COLOR_RGB2BGR),
            [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY],
        )
        message.format, message.data = "jpeg", data.reshape(-1)
        return Said(full, COMPRESSED_IMAGE, message)

    return compressed if full.endswith(_COMPRESSED) else raw


def _stamped(empty: Empty, kind: str, frame: str, stamp_ns: int) -> Any:
    message = empty(kind)
    message.header.frame_id, stamp = frame, message.header.stamp
    stamp.sec, stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    return message


def _full(topic: str) -> str:
    return f"/{topic.lstrip('/')}"
