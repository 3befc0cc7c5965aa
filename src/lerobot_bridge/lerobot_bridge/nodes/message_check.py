# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A check of messages before an episode."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from lerobot_bridge.mapping import RobotMapping, Source
from lerobot_bridge.recording.watches import Judge
from lerobot_bridge.values import Ranges, SourceReader
from policy_core.errors import RobotError
from policy_core.observation.images import frame_of
from policy_inference.nodes.sampling import decoder_for, message_class


def judges_of(mapping: RobotMapping) -> dict[str, Judge]:
    """Return functions that check messages as a conversion would, by topic of the mapping.

    Images are not decoded.
    """
    values: dict[str, list[Callable[[Any], object]]] = {}
    for source in (source for sources in mapping.vectors.values() for source in sources):
        values.setdefault(source.topic, []).append(partial(_check_values, mapping, source))
    judges: dict[str, Judge] = {
        topic: partial(_judge_values, reads) for topic, reads in values.items()
    }
    for camera in mapping.cameras.values():
        judges[camera.topic] = partial(_judge_image, partial(frame_of, camera=camera))
    return judges


def _check_values(mapping: RobotMapping, source: Source, message: Any) -> None:
    Ranges(mapping, source).check(SourceReader(mapping, source).read(message))


def _judge_values(reads: list[Callable[[Any], object]], kind: str, data: bytes) -> str:
    return _judged(decoder_for(message_class(kind), whole=True), reads, data)


def _judge_image(read: Callable[[Any], object], kind: str, data: bytes) -> str:
    return _judged(decoder_for(message_class(kind)), [read], data)


def _judged(
    decode: Callable[[bytes], Any], reads: list[Callable[[Any], object]], data: bytes
) -> str:
    try:
        message = decode(data)
        for read in reads:
            read(message)
    except RobotError as error:
        return str(error)
    return ""
