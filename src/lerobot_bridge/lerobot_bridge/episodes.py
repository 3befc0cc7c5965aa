# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Finds episodes in recordings: whole recordings, parts between marks, or parts of equal length."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from lerobot_bridge.clocks import AGREE_NS
from lerobot_bridge.episode import (
    SIDECAR,
    Episode,
    FoundEpisodes,
    Mark,
    Skipped,
    Span,
    read_sidecar,
)
from lerobot_bridge.recording.folder import UNFINISHED
from model_tools.errors import ToolError
from model_tools.files.bags.bag import Bag, is_bag
from model_tools.files.bags.topics import find_topics
from policy_core.errors import BundleError, plural

MARKS = "episode_marks"
"""Name of the topic with the marks, in any namespace."""
MARK = "policy_msgs/msg/EpisodeMark"
_INTERVENTIONS = (Mark.INTERVENTION_BEGINS, Mark.INTERVENTION_ENDS)


def marked_episodes(bag: Bag, whole: Episode) -> FoundEpisodes:
    """Return the episodes of a recording, delimited by the stamps of its start and stop marks.

    A mark counts at the time of its stamp, even if it arrived late, since the topic keeps marks for
    late subscribers.

    Args:
        bag: The recording.
        whole: The whole recording as an episode; its values apply wherever an episode's marks set
            none.
    """
    full = find_topics(bag, {MARKS: (MARK,)}, {})[MARKS]
    marks = list(bag.messages(full))
    watched = any(mark.kind in _INTERVENTIONS for _, mark in marks)
    reader = _MarkReader(replace(whole, interventions=() if watched else None))
    for time_ns, mark in marks:
        if mark.kind not in list(Mark):
            raise bag.problem(
                full, time_ns, f"expected a kind of 0 to {max(Mark)}, found {mark.kind}"
            )
    for time_ns, mark in _by_stamp(marks, f"{bag.path}: {full}"):
        reader.take(time_ns, mark)
    reader.drop("the recording ends before its STOP")
    if not reader.found.episodes:
        why = "; ".join(f"{each.name}: {each.why}" for each in reader.found.skipped)
        raise ToolError(
            f"{bag.path}: expected an episode between START and STOP on {full}, found "
            f"none among {plural(len(marks), 'mark')}"
            f"{': ' if why else ''}{why}"
        )
    return reader.found


def _by_stamp(marks: Sequence[tuple[int, Any]], place: str) -> list[tuple[int, Any]]:
    """Return marks with their stamps, or with log times if they have no stamp.

    Log times are also used if the stamps come from a clock other than the recording's.
    """
    stamps_ns = [mark.stamp.sec * 1_000_000_000 + mark.stamp.nanosec for _, mark in marks]
    # at least one mark was logged without delay
    delay_ns = min(
        (
            time_ns - stamp_ns
            for (time_ns, _), stamp_ns in zip(marks, stamps_ns, strict=True)
            if stamp_ns
        ),
        default=0,
    )
    if abs(delay_ns) > AGREE_NS:
        _log.warning(
            "%s: expected stamps from the recording's clock, found a clock that is %.3f s %s; the "
            "recording's times are used",
            place,
            abs(delay_ns) * 1e-9,
            "behind" if delay_ns > 0 else "ahead",
        )
        return list(marks)
    timed = [
        (stamp_ns or time_ns, mark)
        for (time_ns, mark), stamp_ns in zip(marks, stamps_ns, strict=True)
    ]
    return sorted(timed, key=lambda each: each[0])


class _MarkReader:
    """Builds episodes from marks in time order.

    Attributes:
        found: Finished and skipped episodes.
    """

    def __init__(self, whole: Episode) -> None:
        self._whole = whole
        self._running: Episode | None = None
        self._begin_ns = 0
        self._driven_since_ns: int | None = None
        self.found = FoundEpisodes()

    def take(self, time_ns: int, mark: Any) -> None:
        kind = Mark(mark.kind)
        if kind is Mark.START:
            self.drop("the next episode began before its STOP")
            self._start(time_ns, mark)
        elif kind is Mark.STOP:
            self._stop(time_ns)
        elif kind is Mark.DISCARD:
            self._discard(mark.episode)
        elif kind is Mark.INTERVENTION_BEGINS:
            self._driven_since_ns = self._driven_since_ns or time_ns
        elif kind is Mark.INTERVENTION_ENDS:
            self._note_driven_until(time_ns)
            self._driven_since_ns = None
        else:
            self._judge(kind, mark.episode)

    def drop(self, why: str) -> None:
        if self._running is not None:
            self.found.skipped.append(Skipped(name=self._running.name, why=why))
            self._running = None

    def _start(self, time_ns: int, mark: Any) -> None:
        self._begin_ns, whole = time_ns, self._whole
        self._running = replace(
            whole,
            span=Span(time_ns, time_ns),
            number=mark.episode,
            task=mark.task or whole.task,
            tags=tuple(dict.fromkeys((*mark.tags, *whole.tags))),
            success=None,
        )

    def _stop(self, time_ns: int) -> None:
        self._note_driven_until(time_ns)
        if self._running is not None:
            span = Span(self._begin_ns, time_ns)
            self.found.episodes.append(replace(self._running, span=span))
            self._running = None

    def _discard(self, number: int) -> None:
        episodes = self.found.episodes
        # the last episode can be discarded even if it has ended
        if self._running is None and episodes and episodes[-1].number == number:
            self._running = episodes.pop()
        self.drop("it was discarded")

    def _judge(self, kind: Mark, number: int) -> None:
        episodes, success = self.found.episodes, kind is Mark.SUCCESS
        places = [i for i, each in enumerate(episodes) if each.number == number]
        if self._running is not None and self._running.number == number:
            self._running = replace(self._running, success=success)
        elif places:
            episodes[places[-1]] = replace(episodes[places[-1]], success=success)
        else:
            name = replace(self._whole, span=Span(0, 0), number=number).name
            self.found.skipped.append(
                Skipped(
                    name=name,
                    why=f"its {kind.name} belongs to an episode that was not started, or not kept",
                )
            )

    def _note_driven_until(self, time_ns: int) -> None:
        """Note that a person has been driving until now, possibly since before the episode."""
        if self._running is not None and self._driven_since_ns is not None:
            driven = Span(max(self._driven_since_ns, self._begin_ns), time_ns)
            before = self._running.interventions or ()
            self._running = replace(self._running, interventions=(*before, driven))


How = Literal["bag", "marks"] | float
"""What counts as an episode: a whole recording, a part between marks, or a part of this length, s.
"""

_SHORTEST_REST = 0.5
"""Minimum length of a recording's last episode, as a fraction of the episode length."""
_MOST = 10_000
"""Maximum number of episodes in a recording."""
_log = logging.getLogger("lerobot_bridge")


def find_episodes(
    paths: Sequence[Path],
    how: How = "bag",
    *,
    task: str = "",
    tags: Sequence[str] = (),
) -> FoundEpisodes:
    """Return the episodes of recordings.

    A recording that is broken or lacks the requested marks becomes an episode with a `problem`.

    Args:
        paths: Recordings, and folders of recordings, such as a recorder's session.
        how: What counts as an episode.
        task: Task of episodes for which neither marks nor the sidecar file name one.
        tags: Additional tags for each episode.
    """
    found = FoundEpisodes()
    for path in paths:
        for bag in _recordings(path, found.skipped):
            whole = _whole(bag, task, tags)
            try:
                more = _episodes(whole, how)
            except ToolError as error:
                more = FoundEpisodes(episodes=[replace(whole, problem=str(error))])
            found.episodes.extend(more.episodes)
            found.skipped.extend(more.skipped)
    for episode in found.episodes:
        if not episode.task and not episode.problem:
            raise ToolError(
                f"{episode.name}: expected a task, found none "
                f"in its {'marks' if how == 'marks' else SIDECAR}; pass it with --task"
            )
    return found


def _recordings(path: Path, skipped: list[Skipped]) -> Iterator[Path]:
    """Yield the recordings under a path, sorted by name; note those that were never finished."""
    if not path.exists():
        raise ToolError(f"{path}: expected a recording, or a folder of recordings, found nothing")
    if is_bag(path):
        yield path
        return
    finished, unfinished = (
        [each for each in sorted(folder.glob("*")) if is_bag(each)]
        for folder in (path, path / UNFINISHED)
    )
    skipped += [
        Skipped(name=str(each), why="its recording was not finished") for each in unfinished
    ]
    if not finished:
        raise ToolError(
            f"{path}: expected a rosbag2 recording, or a folder of recordings, found "
            f"none{', only unfinished ones' if unfinished else ''}"
        )
    yield from finished


def _episodes(whole: Episode, how: How) -> FoundEpisodes:
    if how == "bag" or whole.problem:
        return FoundEpisodes(episodes=[whole])
    bag = Bag(whole.bag)
    return marked_episodes(bag, whole) if how == "marks" else _cut(bag, whole, float(how))


def _whole(bag: Path, task: str, tags: Sequence[str]) -> Episode:
    """Return a recording as one episode, with the content of its sidecar file."""
    if not (bag / SIDECAR).is_file():
        return Episode(bag=bag, task=task, tags=tuple(tags))
    try:
        said = read_sidecar(bag)
    except BundleError as error:
        return Episode(bag=bag, task=task, tags=tuple(tags), problem=str(error))
    if said.lost:
        _log.warning(
            "%s: %d messages are missing: they arrived faster than the recorder could write",
            bag,
            said.lost,
        )
    interventions = said.interventions
    return Episode(
        bag=bag,
        task=said.task or task,
        tags=tuple(dict.fromkeys((*said.tags, *tags))),
        success=said.success,
        number=said.number,
        problems=said.problems,
        interventions=None
        if interventions is None
        else tuple(Span(*each) for each in interventions),
    )


def _cut(bag: Bag, whole: Episode, length_s: float) -> FoundEpisodes:
    """Cut a recording into parts of length `length_s`; the last part may be shorter."""
    found, length_ns, end_ns = (
        FoundEpisodes(),
        round(length_s * 1e9),
        bag.start_ns + bag.duration_ns,
    )
    if bag.duration_ns > _MOST * length_ns:
        raise ToolError(
            f"{bag.path}: expected at most {_MOST} episodes of {length_s:g} s, found a recording "
            f"of {bag.duration_ns * 1e-9:.0f} s; if the recording took less time, the clock was "
            "set forward during the recording: cut the recording at that point"
        )
    for number, begin_ns in enumerate(range(bag.start_ns, end_ns, length_ns)):
        span = Span(begin_ns, min(begin_ns + length_ns, end_ns))
        episode = replace(whole, span=span, number=number)
        if number and span.end_ns - span.begin_ns < _SHORTEST_REST * length_ns:
            rest_s = (span.end_ns - span.begin_ns) * 1e-9
            found.skipped.append(
                Skipped(
                    name=episode.name,
                    why=f"the last {rest_s:.3f} s of the "
                    f"recording are less than half an episode ({length_s:g} s)",
                )
            )
        else:
            found.episodes.append(episode)
    if not found.episodes:
        raise ToolError(f"{bag.path}: expected messages, found none")
    return found
