# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Bytes of a recorded message into what a frame takes of it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from lerobot_bridge.inputs import Input, find_inputs
from lerobot_bridge.mapping import Camera, RobotMapping
from lerobot_bridge.pictures import picture_of
from lerobot_bridge.plausible import Ranges
from lerobot_bridge.values import SourceReader
from model_tools.errors import ToolError
from model_tools.files.bags.bag import Bag
from policy_inference.assembly.observation import Arrival
from policy_inference.core.images import frame_of
from policy_inference.errors import PolicyError, RobotError
from policy_inference.interfaces import F64

Read = Callable[[Arrival], Any]


def values_of(mapping: RobotMapping, bag: Bag, entry: Input, ranges: Ranges) -> Read:
    """Return what gives the values of a source [names].

    It raises a ToolError with topic and time where a message does not fit, or its values cannot be
    what the mapping says.
    """
    source = entry.source
    assert not isinstance(source, Camera)
    # What policies look at is read faster, and has no efforts.
    whole = source.fields is not None or source.quantity == "effort"
    read = partial(_values, SourceReader(mapping, source), ranges)
    return partial(_read, bag, entry.topic, bag.decoder(entry.topic, whole=whole), read)


def picture_from(bag: Bag, entry: Input, *, pixels: bool) -> Read:
    """Return what gives the pictures of a camera; None where they are judged and not decoded.

    It raises a ToolError with topic and time where a picture does not fit.
    """
    camera = entry.source
    assert isinstance(camera, Camera)
    read = partial(picture_of if pixels else _judged, camera)
    return partial(_read, bag, entry.topic, bag.decoder(entry.topic), read)


def first_pictures(mapping: RobotMapping, path: Path, topics: Mapping[str, str]) -> Iterator[str]:
    """Judge the first picture of each camera of a recording that may lack other things.

    Args:
        mapping: Says what pictures there are.
        path: Of the recording.
        topics: Topics of the recording by those of the mapping, where they have other names.

    Yields:
        What is wrong with it.
    """
    with suppress(PolicyError, OSError):  # what else is wrong was told
        bag = Bag(path)
        for name, camera in mapping.cameras.items():
            one = replace(mapping, vectors={}, cameras={name: camera})
            with suppress(ToolError):
                (entry,) = find_inputs(
                    one,
                    bag,
                    {topic: other for topic, other in topics.items() if topic == camera.topic},
                )
                with bag.blocks() as blocks_of:
                    block = next(blocks_of(entry.topic))
                first = Arrival(int(block.log_ns[0]), name, block.data(0))
                if problem := _problem(picture_from(bag, entry, pixels=False), first):
                    yield problem


def _problem(read: Read, arrival: Arrival) -> str:
    try:
        read(arrival)
    except ToolError as error:
        return str(error)
    return ""


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
            else f"expected a whole message, found a broken one ({error})"
        )
        raise bag.problem(topic, arrival.time_ns, text) from error


def _values(reader: SourceReader, ranges: Ranges, message: Any) -> F64:
    values = reader.read(message)
    ranges.check(values)
    return values


def _judged(camera: Camera, message: Any) -> None:
    frame_of(message, camera)
