# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Rows from a rosbag2 recording."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from model_tools.bags.bag import Bag
from model_tools.bags.replay import Replay
from model_tools.calibration.source import Row
from policy_inference.bundle.load import Bundle

_log = logging.getLogger("model_tools")


class RecordingSource:
    """The reference model on the sensors of a recording."""

    def __init__(self, bundle: Bundle, path: Path, topics: Mapping[str, str]) -> None:
        """Open it; `topics` are those that the user named, by input.

        Raises:
            ToolError: It cannot be read, or lacks an input.
        """
        self.name = path.name
        self.count: int | None = None
        self._replay, self._period_ns = Replay(bundle, Bag(path), topics), bundle.contract.period_ns

    def rows(self, wanted: Sequence[int] | None) -> Iterator[Row]:
        """Yield the rows; see `Source.rows`."""
        first_ns = None
        for tick in self._replay.ticks():
            first_ns = tick.time_ns if first_ns is None else first_ns
            since_ns = tick.time_ns - first_ns
            yield Row(number=since_ns // self._period_ns, time_s=since_ns * 1e-9,
                      begins=tick.begins, tensors=tick.tensors,
                      sensed={"joint_pos": tick.joint_pos, "joint_vel": tick.joint_vel})
        if self._replay.dropped:
            _log.warning("%s: %d ticks are left out, at which an input was too old", self.name,
                         self._replay.dropped)
