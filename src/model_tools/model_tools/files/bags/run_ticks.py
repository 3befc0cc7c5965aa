# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Find the ticks at which a recorded robot was in RUN, from the modes that a recording states.

In STAND and DAMP, the joints do not follow the policy's targets, and the policy does not run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_tools.files.bags.bag import Bag
from model_tools.files.bags.blocks import stamps_ns
from policy_core.interfaces import Mode, Times

_LONGEST_NS = 1_000_000_000
"""Maximum time for which a message states the mode; the default status rate is 5 Hz."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _ModeMessage:
    """A message type that states the mode.

    Attributes:
        type: ROS type; its first field is a stamp.
        byte_index: Index of the mode in the serialized message.
        depth: Number of names between the robot's namespace and the topic's own name.
    """

    type: str
    byte_index: int
    depth: int


_MODE_MESSAGES = (
    _ModeMessage(type="policy_msgs/msg/PolicyTick", byte_index=36, depth=0),
    _ModeMessage(type="policy_msgs/msg/JointCommand", byte_index=28, depth=0),
    _ModeMessage(type="policy_msgs/msg/PolicyStatus", byte_index=12, depth=1),
)
"""The most exact first: the first two are published in each tick, the status a few times a second.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTicks:
    """Ticks in RUN.

    Attributes:
        topic: Topic that states the modes.
        times_ns: Times of the ticks [ticks], increasing.
    """

    topic: str
    times_ns: Times


def read_run_ticks(bag: Bag, inputs: Mapping[str, str], period_ns: int) -> RunTicks | None:
    """Return the ticks in RUN; None if no topic of the robot, or more than one, states the mode.

    Args:
        bag: The recording.
        inputs: Topics of the policy's inputs, by input name.
        period_ns: Time between two ticks, which are at multiples of it.
    """
    space = next(
        (topic[: -len(name)] for name, topic in inputs.items() if topic.endswith(name)), "/"
    )
    for message in _MODE_MESSAGES:
        topics = [
            name
            for name, topic in bag.topics.items()
            if topic.type == message.type
            and topic.count
            and name.startswith(space)
            and name.removeprefix(space).count("/") == message.depth
        ]
        if len(topics) == 1:
            times_ns, modes = _read_modes(bag, topics[0], message.byte_index)
            ticks_ns = _find_run_ticks(times_ns, modes == Mode.RUN.value, period_ns)
            return RunTicks(topic=topics[0], times_ns=ticks_ns)
    return None


def _read_modes(bag: Bag, topic: str, byte_index: int) -> tuple[Times, Times]:
    """Return the times and modes of a topic's messages [messages], in the order of the times."""
    times, modes = list[Times](), list[int]()
    with bag.blocks() as blocks_of:
        for block in blocks_of(topic):
            stamps = stamps_ns(block.heads)
            times.append(np.where(stamps == 0, block.log_ns, stamps))
            for place in range(len(stamps)):
                data = block.data(place)
                if len(data) <= byte_index:
                    raise bag.problem(
                        topic,
                        int(block.log_ns[place]),
                        f"expected a message with a mode, found only {len(data)} bytes",
                    )
                modes.append(data[byte_index])
    times_ns = np.concatenate(times)
    order = np.argsort(times_ns, kind="stable")
    return times_ns[order], np.array(modes, np.int64)[order]


def _find_run_ticks(times_ns: Times, is_run: npt.NDArray[np.bool_], period_ns: int) -> Times:
    """Return the ticks at which the newest message states RUN and is not too old."""
    ends_ns = np.minimum(np.append(times_ns[1:], times_ns[-1] + period_ns), times_ns + _LONGEST_NS)
    firsts, ends = -(-times_ns[is_run] // period_ns), -(-ends_ns[is_run] // period_ns)
    ticks = [np.arange(first, end) for first, end in zip(firsts, ends, strict=True)]
    return np.concatenate([*ticks, np.empty(0, np.int64)]).astype(np.int64) * period_ns
