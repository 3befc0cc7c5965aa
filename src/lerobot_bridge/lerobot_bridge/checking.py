# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Checks a recorded episode: what it would add to a dataset, and any reasons to refuse it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from lerobot_bridge.clocks import skewed_clocks
from lerobot_bridge.episode import Episode
from lerobot_bridge.frames import EpisodeFrames
from lerobot_bridge.mapping import RobotMapping
from lerobot_bridge.resampling import slack_ns
from lerobot_bridge.values import STILL
from policy_core.errors import PolicyError

_LATE_S = 1.0
"""Maximum time from the first message to the first frame, and from the last frame to the last
message.
"""
_SLOW = 0.9
"""Minimum share of frames with a new message."""
_SKEWED = 2
"""Number of periods by which the stamps of two topics may differ."""
_NEW = 0.9
"""Minimum share of messages with a new stamp."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputCheck:
    """Statistics of one input (a source or camera) in a recording.

    Attributes:
        name: Name in the mapping, such as `action` or `cameras.front`.
        topic: Full name of the input's topic.
        messages: Number of messages.
        rate_hz: Messages per second.
        age_mean_s, age_max_s: Mean and maximum age of the newest message at a frame.
        left_out: Number of frames left out because this input has no message.
        longest_gap_s: Longest time without a message during the episode's frames.
        clock_offset_s: Smallest delay from a message's stamp to its time in the log.
    """

    name: str
    topic: str
    messages: int
    rate_hz: float
    age_mean_s: float
    age_max_s: float
    left_out: int
    longest_gap_s: float
    clock_offset_s: float


@dataclass(slots=True, kw_only=True)
class EpisodeCheck:
    """The result of checking an episode.

    Attributes:
        name: Name of the episode.
        frames: Number of frames in each part; parts are separated by gaps.
        closed_up: Number of frames missing within parts.
        inputs: Statistics of each source and camera.
        problems: All reasons to refuse the episode; empty if it can be converted.
        warnings: Other findings that a user should know.
    """

    name: str
    frames: list[int] = field(default_factory=list)
    closed_up: int = 0
    inputs: list[InputCheck] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def check_episode(
    mapping: RobotMapping,
    episode: Episode,
    topics: Mapping[str, str],
    *,
    split: bool = False,
    pixels: bool = False,
) -> EpisodeCheck:
    """Check an episode by reading it as a conversion would.

    Args:
        mapping: Mapping that defines what is read.
        episode: The episode.
        topics: Recorded topic for each topic of the mapping, where the names differ.
        split: True to split an episode with gaps into several episodes.
        pixels: True to decode images; otherwise, only the image messages are examined.
    """
    found = EpisodeCheck(name=episode.name)
    try:
        frames = EpisodeFrames(mapping, episode, topics)
    except PolicyError as error:
        found.problems.append(str(error))
        return found
    found.frames = [len(part) for part in frames.parts]
    found.closed_up = frames.closed_up
    found.inputs = list(_inputs(frames, mapping.period_ns))
    found.warnings += warnings_of_times(mapping, frames)
    try:
        if not split:
            frames.refuse_gaps()
    except PolicyError as error:
        found.problems.append(str(error))
    try:
        for part in range(len(frames.parts)):
            found.frames[part] = sum(1 for _ in frames.frames(part, pixels=pixels))
        found.closed_up = frames.closed_up
        found.warnings += warnings_of_values(frames)
    except PolicyError as error:
        found.problems.append(str(error))
    return found


def _inputs(frames: EpisodeFrames, period_ns: int) -> Iterator[InputCheck]:
    ticks, left_out = np.concatenate(frames.parts), {each.name: each for each in frames.left_out}
    for name, heard in frames.topic_times.items():
        times, missing = heard.times_ns, left_out.get(name)
        newest = np.searchsorted(times, ticks + slack_ns(period_ns), "right") - 1
        ages_s = np.maximum(ticks - times[newest], 0) * 1e-9
        yield InputCheck(
            name=name,
            topic=heard.topic,
            messages=heard.count,
            rate_hz=heard.rate_hz,
            age_mean_s=float(ages_s.mean()),
            age_max_s=float(ages_s.max()),
            left_out=missing.frames if missing else 0,
            longest_gap_s=missing.longest_s if missing else 0.0,
            clock_offset_s=heard.offset_ns * 1e-9,
        )


def warnings_of_times(mapping: RobotMapping, frames: EpisodeFrames) -> Iterator[str]:
    heard = frames.topic_times.values()
    # a held message may be much older than the episode
    begins = {each.topic: max(int(each.times_ns[0]), frames.begin_ns) for each in heard}
    first, late = min(begins, key=begins.__getitem__), max(begins, key=begins.__getitem__)
    late_s = float(frames.parts[0][0] - begins[first]) * 1e-9
    if late_s > _LATE_S:
        yield (f"frames begin {late_s:.1f} s after the first message on {first}, when {late} began")
    end = max(heard, key=lambda each: int(each.times_ns[-1]))
    early = min(heard, key=lambda each: int(each.times_ns[-1]))
    early_s = float(end.times_ns[-1] - frames.parts[-1][-1]) * 1e-9
    if early_s > _LATE_S:
        yield (
            f"frames end {early_s:.1f} s before the last message on {end.topic}, when "
            f"{early.topic} ended"
        )
    if frames.apart:
        yield (
            f"{frames.apart} frames are left out: the cameras' images are further apart than "
            f"{mapping.pairing.tolerance_s:g} s (pairing.tolerance_s in the mapping)"
        )
    yield from skewed_clocks(list(heard), _SKEWED * mapping.period_ns, mapping.period_ns)
    for name, each in frames.topic_times.items():
        times = each.times_ns[len(each.times_ns) - each.new :]
        period_s = float(np.median(np.diff(times))) * 1e-9 if len(times) > 1 else 0.0
        if _SLOW * period_s * mapping.rate_hz > 1.0:
            drops = frames.inputs[name].source.resample == "drop"
            yield (
                f"{each.topic} has {1 / period_s:.1f} messages per second for "
                f"{mapping.rate_hz} frames per second: "
                f"{'frames without one are left out' if drops else 'values repeat'}"
            )
        if each.new < _NEW * each.count:
            yield (
                f"{each.topic} has {each.count} messages with {each.new} different "
                "stamps: repeats of a stamp are left out"
            )


def warnings_of_values(frames: EpisodeFrames) -> Iterator[str]:
    """Yield warnings about the values in `frames`; all frames must have been read before."""
    for name, ranges in frames.ranges.items():
        for each in ranges.outside:
            yield (
                f"{name}: {each.name} is outside {each.low:.4g} to {each.high:.4g} in "
                f"{each.messages} messages, at worst {each.worst:.4g}"
            )
    still = [name for name, motion in frames.motions.items() if motion.is_still]
    if still:
        yield (
            f"{' and '.join(still)} never change{'' if len(still) > 1 else 's'}: each value varies "
            f"by at most {STILL:g} over all frames"
        )
    if frames.unreadable:
        yield (
            f"{len(frames.unreadable)} messages could not be read and count as missing; the "
            f"first: {frames.unreadable[0]}"
        )
