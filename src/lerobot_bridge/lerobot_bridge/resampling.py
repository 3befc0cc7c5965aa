# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Resamples messages of different rates to frames at one rate, each with all inputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_tools.errors import ToolError
from policy_core.bundle.chunk_contract import Pairing
from policy_core.interfaces import Times
from policy_core.observation.pairing import belong_together
from policy_core.observation.ticks import fresh_at

_SILENT_NS = 3_600_000_000_000
"""Maximum gap between messages: a longer gap means that the clock was changed, and frames for the
gap would fill the memory.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Report on the frames that are left out because one input has no valid message.

    Attributes:
        name: Name of the input.
        frames: Number of frames.
        longest_s: Longest time without a message in these frames.
        at_ns: Start of that time.
    """

    name: str
    frames: int
    longest_s: float
    at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resampled:
    """The frames of a recording.

    Attributes:
        ticks_ns: [ticks] times, one period apart.
        kept: [ticks] True where each input has a valid message, and the images are close in time.
        left_out: A report for each input that lacks messages.
        apart: Number of frames whose images are too far apart in time.
    """

    ticks_ns: Times
    kept: npt.NDArray[np.bool_]
    left_out: tuple[LeftOut, ...]
    apart: int

    def parts(self, longest_ns: int) -> list[Times]:
        """Return the times of the frames, split at gaps longer than `longest_ns`."""
        moments = self.ticks_ns[self.kept]
        if not len(moments):
            return []
        return np.split(moments, 1 + np.flatnonzero(np.diff(moments) > longest_ns))


def slack_ns(period_ns: int) -> int:
    """Return how long after a frame's time a message may arrive and still belong to the frame.

    The first frame is at the time of a message, often from the slowest camera. Without slack,
    jitter would decide whether each later message from that camera falls into its own frame or the
    next.
    """
    return period_ns // 8


def resample(
    times_ns: Mapping[str, Times],
    limits_ns: Mapping[str, float],
    period_ns: int,
    pairing: Pairing,
    cameras: Collection[str] = (),
    begin_ns: int | None = None,
) -> Resampled:
    """Return the frames from the time when every input has a message up to the last message.

    Args:
        times_ns: For each input, the increasing times of its messages; at least one.
        limits_ns: For each input, the maximum age at which its newest message is valid.
        period_ns: Time between two frames.
        pairing: Rule that defines which images belong together.
        cameras: Inputs with images.
        begin_ns: Earliest time of a frame.
    """
    first = max(int(times[0]) for times in times_ns.values())
    first = first if begin_ns is None else max(first, begin_ns)
    last = max(int(times[-1]) for times in times_ns.values())
    ticks = _ticks(times_ns, first, period_ns)
    slack = slack_ns(period_ns)
    newest = {
        name: fresh_at(times, ticks, limits_ns[name], slack) for name, times in times_ns.items()
    }
    left_out = (
        _left_out(name, times_ns[name], places[~fresh], last)
        for name, (places, fresh) in newest.items()
        if not fresh.all()
    )
    fresh = np.logical_and.reduce([each for _, each in newest.values()])
    images = {name: times_ns[name] for name in cameras}
    together = belong_together(pairing, images, ticks + slack, period_ns)
    return Resampled(
        ticks_ns=ticks,
        left_out=tuple(left_out),
        kept=fresh & together,
        apart=int(np.count_nonzero(fresh & ~together)),
    )


def _ticks(times_ns: Mapping[str, Times], first: int, period_ns: int) -> Times:
    """Return the times of the frames, one period apart, from `first` to the last message."""
    said = np.unique(np.concatenate(list(times_ns.values())))
    said = np.append(first, said[said > first])
    longest = int(np.argmax(np.diff(said, append=said[-1])))
    if said[min(longest + 1, len(said) - 1)] - said[longest] > _SILENT_NS:
        raise ToolError(
            "expected no gap of more than an hour between messages, found one that begins at time "
            f"{said[longest] * 1e-9:.3f} s: the clock was probably set forward; synchronize it "
            "(NTP) before recording"
        )
    return np.arange(first, int(said[-1]) + 1, period_ns, dtype=np.int64)


def _left_out(name: str, times: Times, newest: npt.NDArray[np.intp], last: int) -> LeftOut:
    """Return the report on an input whose newest messages were too old at some frames."""
    begins = times[newest]
    lengths = np.append(times, last)[newest + 1] - begins
    longest = int(np.argmax(lengths))
    return LeftOut(
        name=name,
        frames=len(newest),
        longest_s=float(lengths[longest]) * 1e-9,
        at_ns=int(begins[longest]),
    )
