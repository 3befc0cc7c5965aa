# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The messages of a topic that may be an input of a policy: when they came, what they lack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from model_tools.bags.bag import Bag
from policy_inference.core.messages import (
    COMMAND,
    TWIST,
    TWIST_STAMPED,
    ImuReader,
    JointStateReader,
    OdometryReader,
    VectorReader,
    has_orientation,
    stamp_ns,
    velocity_of,
)
from policy_inference.interfaces import F64

INPUTS = {
    "joint_states": (JointStateReader.message,),
    "imu/data": (ImuReader.message,),
    "odom": (OdometryReader.message,),
    COMMAND: (TWIST, TWIST_STAMPED),
}
"""Message types of the inputs whose names are fixed."""
_ENOUGH = 10
"""Gaps that tell a pattern."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """What the messages of a topic are like.

    Attributes:
        times_ns: Their stamps; times in the log of those without one.
        lags_ns: By how much the log is ahead of those times.
        frames: Frames they are in.
        joints: Lists of joints that they name.
        problems: How many of them have which.
    """

    times_ns: list[int] = field(default_factory=list)
    lags_ns: list[int] = field(default_factory=list)
    frames: set[str] = field(default_factory=set)
    joints: set[tuple[str, ...]] = field(default_factory=set)
    problems: Counter[str] = field(default_factory=Counter)

    @property
    def gaps_s(self) -> F64:
        """Times from each message to the next, s; negative where stamps jump back."""
        return np.diff(np.array(self.times_ns, np.float64)) * 1e-9

    @property
    def usual_gap_s(self) -> float:
        """Half the time that two messages usually take, s: also where they come in bursts."""
        gaps_s = self.gaps_s
        return float(np.median((gaps_s[1:] + gaps_s[:-1]) / 2 if len(gaps_s) > 1 else gaps_s))

    @property
    def in_bursts(self) -> float:
        """Share of messages that come within half the usual time after another."""
        if len(self.gaps_s) < _ENOUGH:
            return 0.0
        return float((self.gaps_s < self.usual_gap_s / 2).mean())

    @property
    def lag_s(self) -> float:
        """Median time by which the log is ahead of the stamps, s."""
        return float(np.median(self.lags_ns)) * 1e-9


def read_stream(bag: Bag, topic: str) -> Stream:
    """Read all messages of a topic whose type is one of `CHECKS`.

    Raises:
        ToolError: The recording is broken.
    """
    stream, check = Stream(), CHECKS[bag.topics[topic].type]
    for log_ns, message in bag.messages(topic):
        _note_times(stream, log_ns, message)
        stream.problems.update(set(check(message)))
        if hasattr(message, "header") and message.header.frame_id:
            stream.frames.add(message.header.frame_id)
        if hasattr(message, "name"):
            stream.joints.add(tuple(message.name))
    return stream


def _note_times(stream: Stream, log_ns: int, message: Any) -> None:
    stamp = stamp_ns(message)
    time_ns = log_ns if stamp is None else stamp
    if stamp is None and hasattr(message, "header"):
        stream.problems["no stamp"] += 1
    if stream.times_ns and time_ns < stream.times_ns[-1]:
        stream.problems["a stamp before the last one"] += 1
    stream.times_ns.append(time_ns)
    stream.lags_ns.append(log_ns - time_ns)


def _joint_state(message: Any) -> Iterator[str]:
    if not len(message.velocity):
        yield "no velocities, which policies need measured,"
    yield from _not_finite(message.position, message.velocity)


def _imu(message: Any) -> Iterator[str]:
    q, rate = message.orientation, message.angular_velocity
    if not has_orientation(message):
        yield "no orientation"
    yield from _not_finite((q.x, q.y, q.z, q.w), (rate.x, rate.y, rate.z))


def _odometry(message: Any) -> Iterator[str]:
    linear = message.twist.twist.linear
    return _not_finite((linear.x, linear.y, linear.z))


def _twist(message: Any) -> Iterator[str]:
    return _not_finite(velocity_of(message))


def _vector(message: Any) -> Iterator[str]:
    return _not_finite(message.data)


def _not_finite(*values: Any) -> Iterator[str]:
    if not all(np.isfinite(each).all() for each in values):
        yield "NaN or infinite values"


CHECKS: dict[str, Callable[[Any], Iterator[str]]] = {
    JointStateReader.message: _joint_state,
    ImuReader.message: _imu,
    OdometryReader.message: _odometry,
    TWIST: _twist,
    TWIST_STAMPED: _twist,
    VectorReader.message: _vector,
}
"""What to look for in a message, by its type."""
