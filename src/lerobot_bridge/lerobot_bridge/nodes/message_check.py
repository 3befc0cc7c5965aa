# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Checks, before an episode, whether a conversion would accept the messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from lerobot_bridge.mapping import RobotMapping, Source
from lerobot_bridge.recording.watches import Judge
from lerobot_bridge.values import Ranges, SourceReader
from policy_core.errors import RobotError
from policy_core.observation.images import read_frame
from policy_inference.nodes.sampling import decoder_for, message_class


def make_judges(mapping: RobotMapping) -> dict[str, Judge]:
    """Return functions that check messages as a conversion would, by topic of the mapping.

    Images are not decoded.
    """
    checks: dict[str, list[Callable[[Any], object]]] = {}
    for source in (source for sources in mapping.vectors.values() for source in sources):
        checks.setdefault(source.topic, []).append(partial(_check_values, mapping, source))
    images = {each.topic: [partial(read_frame, camera=each)] for each in mapping.cameras.values()}
    return {
        **{topic: partial(_judged, reads, True) for topic, reads in checks.items()},
        **{topic: partial(_judged, reads, False) for topic, reads in images.items()},
    }


def _check_values(mapping: RobotMapping, source: Source, message: Any) -> None:
    Ranges(mapping, source).check(SourceReader(mapping, source).read(message))


def _judged(reads: Sequence[Callable[[Any], object]], whole: bool, kind: str, data: bytes) -> str:
    try:
        message = decoder_for(message_class(kind), whole=whole)(data)
        for read in reads:
            read(message)
    except RobotError as error:
        return str(error)
    return ""
