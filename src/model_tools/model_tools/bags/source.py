# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Rows from a recording."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from model_tools.bags.bag import Bag
from model_tools.bags.blocks import Times
from model_tools.bags.mixed import OneRobot
from model_tools.bags.replay import Replay, input_types
from model_tools.bags.streams import Arrival, in_time, newest_times_ns
from model_tools.bags.ticks import count_ticks
from model_tools.bags.topics import find_topics
from model_tools.bags.written import set_back
from model_tools.calibration.source import Row
from model_tools.errors import ToolError
from policy_inference.bundle.load import Bundle

_log = logging.getLogger("model_tools")


class BagSource:
    """Rows of a policy that is replayed on a rosbag2 recording.

    Attributes:
        name: Of its folder or file.
        count: Number of its ticks.
    """

    def __init__(
        self, bundle: Bundle, path: Path, topics: Mapping[str, str] | None = None, *,
        from_s: float = 0.0, to_s: float = math.inf,
    ) -> None:  # fmt: skip
        """Find the inputs of the bundle's policy in the recording, and its ticks.

        Args:
            bundle: Its artifact `onnx` is replayed.
            path: Folder of the recording, or its only file.
            topics: Topics by input, where they have other names.
            from_s: Rows from then on, since the first tick. A policy that remembers is replayed on
                what was before as well: these rows are those of the whole.
            to_s: Rows until then.

        Raises:
            ToolError: The recording is broken, lacks an input, has no tick, its clock begins
                anew, or several robots speak on one topic.
            OSError: It cannot be read.
        """
        self.name = path.name
        self._bundle, self._from_s, self._to_s = bundle, from_s, to_s
        self._heard = _Recording(bundle, Bag(path), topics or {})
        refuse_set_back(self._heard.bag, self._heard.topics)
        with self._heard.newest_times_ns() as times_ns:
            ticks = count_ticks(bundle.contract, times_ns)
        self.count: int | None = ticks.present
        late = ", ".join(f"{self._heard.topics[name]} is too old at {count}"
                         for name, count in ticks.stale.items())
        if not ticks.present:
            raise ToolError(f"{path}: expected a tick at which each input of the policy is there, "
                            f"found none: {late or 'it is shorter than a period'}")
        if ticks.dropped:
            _log.warning("%s: %d of %d ticks are left out: %s", path, ticks.dropped,
                         ticks.dropped + ticks.present, late)

    def rows(self, wanted: Sequence[int] | None = None) -> Iterator[Row]:
        """Yield rows in the order of time, of views that live until the next one.

        Args:
            wanted: Sorted numbers of ticks, below `count`; None for all.

        Raises:
            PolicyError: The recording is broken, a message does not fit, a value is not finite,
                or the model does not run.
        """
        for row in Replay(self._bundle, self._heard).rows(wanted):
            if row.time_s > self._to_s:
                return
            if row.time_s >= self._from_s:
                yield row


def refuse_set_back(bag: Bag, topics: Mapping[str, str]) -> None:
    """Check that the clock of the log was not set back.

    Raises:
        ToolError: It was, or the recording is broken.
    """
    for topic in topics.values():
        stored_ns = bag.stored_ns(topic)
        if (place := set_back(stored_ns)) is not None:
            back_s = float(stored_ns[place - 1] - stored_ns[place]) * 1e-9
            raise bag.problem(
                topic, int(stored_ns[place]), "expected times in the log that go on, found one "
                f"{back_s:.3f} s before the last; the clock began anew: cut the recording there")


class _Recording:
    """A recording of a robot, as a replay hears it."""

    def __init__(self, bundle: Bundle, bag: Bag, given: Mapping[str, str]) -> None:
        self.bag, self._period_ns = bag, bundle.contract.period_ns
        self.topics: Mapping[str, str] = find_topics(bag, input_types(bundle.contract), given)
        self.decoder, self.problem = bag.decoder, bag.problem
        self._one_robot = OneRobot(bag, self.topics, bundle.contract)

    def arrivals(self) -> Iterator[Arrival]:
        return in_time(self.bag, self.topics, self._period_ns)

    def newest_times_ns(self) -> AbstractContextManager[Mapping[str, Iterator[Times]]]:
        return newest_times_ns(self.bag, self.topics, self._period_ns, self._one_robot.look)
