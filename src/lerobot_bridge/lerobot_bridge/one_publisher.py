# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Finds topics with the positions of two arms: such positions jump to and fro."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from lerobot_bridge.inputs import RecordedInput
from lerobot_bridge.mapping import RobotMapping, Source
from lerobot_bridge.values import SourceReader, ToLeRobot
from model_tools.files.bags.bag import Bag
from model_tools.files.bags.blocks import Block
from policy_core.errors import RobotError
from policy_core.interfaces import F64, Times

_EACH, _RUN = 128, 24
"""Of _EACH messages, _RUN consecutive ones are examined."""
_JUMP_RAD, _JUMPS, _BACK, _SHARE = 0.03, 6, 0.25, 0.8
"""Two arms: half of the joints jump by _JUMP_RAD at least _JUMPS times in a run, and the next
messages reverse the share _SHARE of the jumps, up to the rest _BACK."""


class OnePublisher:
    """Compares consecutive messages with positions of joints.

    `model_tools.files.bags.topics` compares positions with velocities, which commands and leaders
    lack. If messages of two arms alternate, each step from one to the other is reversed by the
    next. The steps of a single arm are not, even if it moves fast or trembles.
    """

    def __init__(self, mapping: RobotMapping, bag: Bag, inputs: Iterable[RecordedInput]) -> None:
        self._bag, self._found = bag, dict[str, str]()
        self._topics: dict[str, str] = {}
        self._reads: dict[str, Callable[[bytes], F64]] = {}
        for each in inputs:
            source = each.source
            if (
                isinstance(source, Source)
                and source.fields is None
                and source.quantity == "position"
            ):
                self._topics[each.name] = each.topic
                self._reads[each.name] = _reads(mapping, source, bag.decoder(each.topic))

    @property
    def problems(self) -> list[str]:
        return list(self._found.values())

    def look(self, name: str, block: Block, times: Times) -> None:
        read = self._reads.get(name)
        if read is None or self._topics[name] in self._found:
            return
        for first in range(0, len(times), _EACH):
            places = range(first, min(first + _RUN, len(times)))
            try:
                positions = np.stack([read(block.data(place)) for place in places])
            except (RobotError, struct.error, ValueError):
                continue  # the reader of the frames reports it
            if jump_rad := _to_and_fro_rad(positions):
                topic = self._topics[name]
                self._found[topic] = str(
                    self._bag.problem(
                        topic,
                        int(times[first]),
                        "expected the messages of one publisher, found "
                        f"positions that jump to and fro by {jump_rad:.2g} rad from message to "
                        "message: most likely two publishers are on the topic (`ros2 topic info "
                        "--verbose` names them), as two robots of one ROS_DOMAIN_ID are; "
                        "record one of them",
                    )
                )
                return


def _reads(
    mapping: RobotMapping, source: Source, decode: Callable[[bytes], Any]
) -> Callable[[bytes], F64]:
    reader, units = SourceReader(mapping, source), ToLeRobot(mapping, source)
    return lambda data: units.to_ros(reader.read(decode(data)))


def _to_and_fro_rad(positions: F64) -> float:
    """Return the distance that positions [messages, joints] jump to and fro; 0 if they do not."""
    steps = np.diff(positions, axis=0)
    far = np.median(np.abs(steps), axis=1)
    jumps = steps[far > _JUMP_RAD]
    if len(jumps) < _JUMPS:
        return 0.0
    left = np.linalg.norm(jumps[1:] + jumps[:-1], axis=1)
    taken_back = left < _BACK * np.linalg.norm(jumps[1:], axis=1)
    return float(np.median(far[far > _JUMP_RAD])) if taken_back.mean() > _SHARE else 0.0
