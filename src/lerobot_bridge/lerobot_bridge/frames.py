# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The frames of a recorded episode, as LeRobot would have recorded them.

A first pass reads the message times and computes the frame times. A second pass reads one frame at
a time, so memory use does not grow with the number of frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from lerobot_bridge.clocks import TopicTimes, read_topic_times, several_clocks, stamps_back
from lerobot_bridge.episode import SIDECAR, DatasetFrame, Episode
from lerobot_bridge.inputs import Read, camera_images, find_inputs, source_values
from lerobot_bridge.mapping import ACTION, STATE, CameraSource, RobotMapping, Source
from lerobot_bridge.resampling import LeftOut, Resampled, resample, slack_ns
from lerobot_bridge.values import MotionRange, Ranges
from model_tools.errors import ToolError
from model_tools.files.bags.bag import Bag, refuse_set_back
from model_tools.files.bags.streams import Extract, in_time
from policy_core.errors import plural
from policy_core.interfaces import Times
from policy_core.observation.pairing import Arrival, ObservationAssembler, observations

FEWEST = 2
"""Minimum number of frames in an episode; LeRobot's video statistics need two."""
MOST_CLOSED_UP, FEW = 0.05, 5
"""Maximum fraction and number of missing frames that may be closed up; this speeds the motion up.
"""


class EpisodeFrames:
    """The frames of an episode.

    Attributes:
        episode: The episode.
        parts: Times of the episode's frames (ns), split at gaps of more than the mapping's
            `max_gap_frames`; one part if there is no such gap.
        too_short: Number of parts discarded because they have only one frame.
        left_out: Number of frames left out, by the source or camera that had no message.
        apart: Number of frames left out because the cameras' images are too far apart in time.
        closed_up: Number of frames missing within parts, including those found unreadable so far.
        inputs: The sources and cameras of the mapping, by name.
        topic_times: Message times of each source and camera.
        unreadable: Messages that could not be read, in the frames yielded so far.
        ranges: For each source, the values outside their ranges, in the frames yielded so far.
        motions: Ranges of motion of the state and the action, in the frames yielded so far.
    """

    def __init__(
        self, mapping: RobotMapping, episode: Episode, topics: Mapping[str, str] | None = None
    ) -> None:
        """Find the mapping's topics in the recording, and compute the frame times.

        Args:
            mapping: Mapping that defines the content of a frame.
            episode: The episode to read.
            topics: Recorded topic for each topic of the mapping, where the names differ.
        """
        self.episode, self._mapping = episode, mapping
        if episode.problem:
            raise ToolError(*episode.problem.split("\n"))
        if episode.problems:
            raise ToolError(
                f"{episode.name}: expected a recording without problems, found some in its "
                f"{SIDECAR} ({'; '.join(episode.problems)}); record it again, or delete "
                "`problems` there to use it as it is"
            )
        self._bag = Bag(episode.bag)
        self.inputs = {each.name: each for each in find_inputs(mapping, self._bag, topics or {})}
        self._topics = {name: each.topic for name, each in self.inputs.items()}
        refuse_set_back(self._bag, self._topics)
        self._extract = self._read()
        self.topic_times: Mapping[str, TopicTimes] = read_topic_times(
            self._bag, self._topics, self._extract, self.begin_ns
        )
        wrong = [
            *stamps_back(self._bag.path, list(self.topic_times.values())),
            *several_clocks(
                self._bag.path,
                list(self.topic_times.values()),
                with_log=bool(episode.span or episode.interventions),
            ),
        ]
        if wrong:
            raise ToolError(*wrong)
        self.ranges = {
            each.name: Ranges(mapping, each.source)
            for each in self.inputs.values()
            if isinstance(each.source, Source)
        }
        self.motions = {name: MotionRange() for name in (STATE, ACTION) if name in mapping.vectors}
        self.unreadable: list[str] = []
        found = self._resampled()
        parts = found.parts((mapping.max_gap_frames + 1) * mapping.period_ns)
        self.parts: Sequence[Times] = [part for part in parts if len(part) >= FEWEST]
        self.too_short = len(parts) - len(self.parts)
        self.left_out: Sequence[LeftOut] = found.left_out
        self.apart = found.apart
        if not self.parts:
            raise self._too_short(sum(map(len, parts)))
        self.closed_up = sum(
            round(float(part[-1] - part[0]) / mapping.period_ns) + 1 - len(part)
            for part in self.parts
        )
        self._moments = sum(map(len, self.parts)) + self.closed_up

    @property
    def begin_ns(self) -> int:
        return 0 if self.episode.span is None else self.episode.span.begin_ns

    def refuse_gaps(self) -> None:
        if len(self.parts) == 1:
            return
        begin, end = int(self.parts[0][-1]), int(self.parts[1][0])
        most, count = self._mapping.max_gap_frames, len(self.parts) - 1
        missing = "; ".join(
            [
                *(
                    f"{self._topics[each.name]} for {each.longest_s:.3f} s at "
                    f"{each.at_ns * 1e-9:.3f} s"
                    for each in self.left_out
                ),
                *self._why_apart(),
            ]
        )
        raise ToolError(
            f"{self.episode.name}: expected gaps of at most {plural(most, 'frame')}, "
            f"found {plural(count, 'longer gap')} (the first lasts "
            f"{(end - begin) * 1e-9:.3f} s from {begin * 1e-9:.3f} s); messages were missing: "
            f"{missing}; use --gaps split to make an episode of each part, or raise "
            "tolerance_s or max_gap_frames in the mapping to close the gaps"
        )

    def frames(self, part: int = 0, *, pixels: bool = True) -> Iterator[DatasetFrame]:
        """Yield the frames of a part; their arrays are valid until the next frame.

        A message that cannot be read counts as missing, and each frame that needs it is left out.
        Raises an error if more than `max_gap_frames` consecutive frames are left out.

        Args:
            part: Index in `parts`.
            pixels: True to decode images; otherwise, they are only checked, and frames contain no
                images.
        """
        self._refuse_closed_up()
        period_ns, ticks = self._mapping.period_ns, self.parts[part].tolist()
        values, wrong = dict[str, Any](), dict[str, str]()
        readers, before_ns = self._readers(pixels=pixels), ticks[0] - period_ns
        read: dict[str, Arrival] = {}
        for tick, messages in zip(ticks, self._paired(ticks), strict=True):
            for name in readers:
                arrival = messages[name]
                if arrival is read.get(name):
                    continue  # one message may serve several frames
                read[name] = arrival
                try:
                    values[name] = readers[name](arrival)
                except ToolError as error:
                    values.pop(name, None)
                    wrong[name] = str(error)
                    self.unreadable.append(wrong[name])
            if len(values) == len(readers):
                yield self._frame(tick, values)
                before_ns = tick
                continue
            if tick - before_ns > self._mapping.max_gap_frames * period_ns:
                raise ToolError(*(text for name, text in wrong.items() if name not in values))
            self.closed_up += 1
            self._refuse_closed_up()

    def _paired(self, ticks: Sequence[int]) -> Iterator[Mapping[str, Arrival]]:
        slack = slack_ns(self._mapping.period_ns)
        arrivals = in_time(
            self._bag, self._topics, self._mapping.period_ns, ticks[0] + slack, self._extract
        )
        # An action belongs to the time of its frame, like the steps of a chunk.
        held = [
            name
            for name, each in self.inputs.items()
            if each.source.resample == "hold" or name.partition("[")[0] == ACTION
        ]
        others = [name for name in self.inputs if name not in (*self._paired_cameras, *held)]
        assembler = ObservationAssembler(self._mapping.pairing, self._paired_cameras, others, held)
        for paired in observations(assembler, arrivals, [tick + slack for tick in ticks]):
            assert paired is not None  # otherwise there is no frame
            yield paired.messages

    @property
    def _paired_cameras(self) -> list[str]:
        """Cameras whose images were taken at the frame's time, not kept from an earlier frame."""
        return [
            name
            for name, each in self.inputs.items()
            if isinstance(each.source, CameraSource) and each.source.resample != "hold"
        ]

    def _readers(self, *, pixels: bool) -> dict[str, Read]:
        return {
            name: camera_images(self._bag, each, pixels=pixels)
            if isinstance(each.source, CameraSource)
            else source_values(self._mapping, self._bag, each, self.ranges[name])
            for name, each in self.inputs.items()
        }

    def _frame(self, tick: int, values: Mapping[str, Any]) -> DatasetFrame:
        vectors = {
            feature: np.concatenate([values[name] for name in names])
            for feature, names in self._features.items()
        }
        for name, motion in self.motions.items():
            motion.look(vectors[name])
        spans = self.episode.interventions or ()
        return DatasetFrame(
            time_ns=tick,
            vectors=vectors,
            images={
                name: image
                for name in self._mapping.cameras
                if (image := values[f"cameras.{name}"]) is not None
            },
            intervention=any(begin <= tick < end for begin, end in spans),
        )

    @property
    def _features(self) -> dict[str, list[str]]:
        names = [name for name, each in self.inputs.items() if isinstance(each.source, Source)]
        return {
            feature: list(group)
            for feature, group in groupby(names, key=lambda name: name.partition("[")[0])
        }

    def _read(self) -> Extract:
        span = self.episode.span
        received = [name for name, each in self.inputs.items() if each.source.stamp == "received"]
        if span is None:
            return Extract(received=received)
        # The newest message at the start of the episode may be older than the episode.
        begins = {
            name: max(0, span.begin_ns - int(each.limit_ns))
            for name, each in self.inputs.items()
            if each.source.resample != "hold"
        }
        return Extract(begins_ns=begins, end_ns=span.end_ns, received=received)

    def _resampled(self) -> Resampled:
        span = self.episode.span
        try:
            return resample(
                {name: each.times_ns for name, each in self.topic_times.items()},
                {name: each.limit_ns for name, each in self.inputs.items()},
                self._mapping.period_ns,
                self._mapping.pairing,
                self._paired_cameras,
                None if span is None else span.begin_ns,
            )
        except ToolError as error:
            raise ToolError(f"{self.episode.name}: {error}") from None

    def _refuse_closed_up(self) -> None:
        if self.closed_up <= max(FEW, MOST_CLOSED_UP * self._moments):
            return
        why = [*(self._why_missing(each) for each in self.left_out), *self._why_apart()]
        if self.unreadable:
            why.append(
                f"{len(self.unreadable)} messages could not be read, the first: "
                f"{self.unreadable[0]}"
            )
        raise ToolError(
            f"{self.episode.name}: expected at most {100 * MOST_CLOSED_UP:g} % of the frames to be "
            f"missing (missing frames make the motion faster), found {self.closed_up} of "
            f"{self._moments}: {'; '.join(why)}"
        )

    def _why_missing(self, missing: LeftOut) -> str:
        heard, source = self.topic_times[missing.name], self.inputs[missing.name].source
        remedy = (
            "resample: as_of (it repeats messages)"
            if source.resample == "drop"
            else "a higher tolerance_s"
        )
        return (
            f"{heard.topic} has {heard.rate_hz:.1f} messages per second for "
            f"{self._mapping.rate_hz} frames, and {missing.frames} frames lack one: use a "
            f"lower rate_hz in the mapping, or for this topic {remedy}"
        )

    def _why_apart(self) -> Iterator[str]:
        """Explain why frames are left out for images that are too far apart in time."""
        if self.apart:
            yield (
                "the cameras' images are further apart than pairing.tolerance_s "
                f"({self._mapping.pairing.tolerance_s:g} s) in {self.apart} "
                "frames"
            )

    def _too_short(self, count: int) -> ToolError:
        why = "; ".join(
            [
                *(
                    f"{self._topics[each.name]} is missing or too old in {each.frames} frames"
                    for each in self.left_out
                ),
                *self._why_apart(),
            ]
        )
        return ToolError(
            f"{self.episode.name}: expected {FEWEST} frames in a row with a message "
            f"from each source and camera, found {count}: "
            f"{why or 'the recording is too short'}"
        )
