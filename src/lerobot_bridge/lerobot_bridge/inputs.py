# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What of a recording a mapping means: the topics of its sources and cameras."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lerobot_bridge.mapping import Camera, RobotMapping, Source
from model_tools.files.bags.bag import Bag
from model_tools.files.bags.topics import find_topics


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A source or a camera, and where a recording has its messages.

    Attributes:
        name: Of the source or camera in reports: action, observation.state[1], cameras.front.
        source: What the mapping says.
        topic: Full name of its topic.
        limit_ns: Age up to which a message counts.
    """

    name: str
    source: Source | Camera
    topic: str
    limit_ns: float


def find_inputs(mapping: RobotMapping, bag: Bag, topics: Mapping[str, str]) -> list[Input]:
    """Return the sources in the order of the features, and then the cameras.

    Relative topics are looked for in any one namespace.

    Args:
        mapping: Says what is wanted.
        bag: The recording.
        topics: Topics of the recording by those of the mapping, where they have other names.

    Raises:
        ToolError: A topic is missing, of another type, one of several, or of another robot.
    """
    wanted = dict(_wanted(mapping))
    types: dict[str, tuple[str, ...]] = {}
    for source in wanted.values():
        types[source.topic] = source.types if isinstance(source, Camera) else (source.type,)
    absolute = {topic: topic for topic in types if topic.startswith("/")}
    found = find_topics(bag, types, {**absolute, **topics}, optional=())
    return [
        Input(
            name=name, source=source, topic=found[source.topic], limit_ns=limit_ns(mapping, source)
        )
        for name, source in wanted.items()
    ]


def _wanted(mapping: RobotMapping) -> Iterator[tuple[str, Source | Camera]]:
    for feature, sources in mapping.vectors.items():
        for i, source in enumerate(sources):
            yield feature if len(sources) == 1 else f"{feature}[{i}]", source
    for name, camera in mapping.cameras.items():
        yield f"cameras.{name}", camera


def limit_ns(mapping: RobotMapping, source: Source | Camera) -> float:
    """Return the age up to which a message of a source or camera counts."""
    if source.resample == "hold":
        return math.inf
    # One that came within the last period is younger than that.
    return mapping.period_ns - 1 if source.resample == "drop" else mapping.tolerance_ns(source)
