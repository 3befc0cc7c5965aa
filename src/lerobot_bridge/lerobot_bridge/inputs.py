# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A mapping's sources and cameras in a recording: their topics, and how to read them."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from lerobot_bridge.mapping import CameraSource, RobotMapping, Source
from lerobot_bridge.values import Ranges, SourceReader, read_image
from model_tools.files.bags.bag import Bag
from model_tools.files.bags.topics import find_topics
from policy_core.errors import RobotError
from policy_core.interfaces import F64
from policy_core.observation.images import read_frame
from policy_core.observation.pairing import Arrival

Read = Callable[[Arrival], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedInput:
    """A source or a camera, and its topic in a recording.

    Attributes:
        name: Name in reports, such as action, observation.state[1] or cameras.front.
        source: The mapping's definition of the source or camera.
        topic: Full name of the recorded topic.
        limit_ns: Maximum age at which a message counts.
    """

    name: str
    source: Source | CameraSource
    topic: str
    limit_ns: float


def find_inputs(mapping: RobotMapping, bag: Bag, topics: Mapping[str, str]) -> list[RecordedInput]:
    """Return the sources in the order of the features, then the cameras.

    Relative topics may be in any namespace, provided that all are in the same one.

    Args:
        mapping: Mapping that defines the sources and cameras.
        bag: The recording.
        topics: Recorded topic for each topic of the mapping, where the names differ.
    """
    wanted = dict(_wanted(mapping))
    types: dict[str, tuple[str, ...]] = {}
    for source in wanted.values():
        types[source.topic] = source.types if isinstance(source, CameraSource) else (source.type,)
    absolute = {topic: topic for topic in types if topic.startswith("/")}
    found = find_topics(bag, types, {**absolute, **topics}, optional=())
    return [
        RecordedInput(
            name=name, source=source, topic=found[source.topic], limit_ns=limit_ns(mapping, source)
        )
        for name, source in wanted.items()
    ]


def _wanted(mapping: RobotMapping) -> Iterator[tuple[str, Source | CameraSource]]:
    for feature, sources in mapping.vectors.items():
        for i, source in enumerate(sources):
            yield feature if len(sources) == 1 else f"{feature}[{i}]", source
    for name, camera in mapping.cameras.items():
        yield f"cameras.{name}", camera


def limit_ns(mapping: RobotMapping, source: Source | CameraSource) -> float:
    """Return the maximum age at which a message of a source or camera counts, ns."""
    if source.resample == "hold":
        return math.inf
    # a message within the last period is younger than the period
    return mapping.period_ns - 1 if source.resample == "drop" else mapping.tolerance_ns(source)


def source_values(mapping: RobotMapping, bag: Bag, entry: RecordedInput, ranges: Ranges) -> Read:
    """Return a function that reads the values [names] of a source.

    The function raises a ToolError with topic and time if a message or its values contradict the
    mapping.
    """
    source = entry.source
    assert not isinstance(source, CameraSource)
    # the fast decoder reads only positions and velocities of joints
    whole = source.fields is not None or source.quantity == "effort"
    read = partial(_values, SourceReader(mapping, source), ranges)
    return partial(_read, bag, entry.topic, bag.decoder(entry.topic, whole=whole), read)


def camera_images(bag: Bag, entry: RecordedInput, *, pixels: bool) -> Read:
    """Return a function that reads a camera's images; without `pixels`, the function returns None.

    The function raises a ToolError with topic and time if an image contradicts the mapping.
    """
    camera = entry.source
    assert isinstance(camera, CameraSource)
    read = partial(read_image if pixels else _judged, camera)
    return partial(_read, bag, entry.topic, bag.decoder(entry.topic), read)


def _read(
    bag: Bag,
    topic: str,
    decode: Callable[[bytes], Any],
    read: Callable[[Any], Any],
    arrival: Arrival,
) -> Any:
    try:
        return read(decode(arrival.data))
    except (RobotError, struct.error, ValueError) as error:
        text = (
            error
            if isinstance(error, RobotError)
            else f"expected a complete message, found a broken one ({error})"
        )
        raise bag.problem(topic, arrival.time_ns, text) from error


def _values(reader: SourceReader, ranges: Ranges, message: Any) -> F64:
    values = reader.read(message)
    ranges.check(values)
    return values


def _judged(camera: CameraSource, message: Any) -> None:
    read_frame(message, camera)
