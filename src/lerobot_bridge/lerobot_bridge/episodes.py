# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Finds the episodes of recordings: one for each, those between marks, or parts of equal length."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from lerobot_bridge.episode import SIDECAR, Episode, FoundEpisodes, Skipped, Span, read_sidecar
from lerobot_bridge.marks import MARKS, marked_episodes
from lerobot_bridge.recording.folder import UNFINISHED
from model_tools.errors import ToolError
from model_tools.files.bags.bag import Bag, is_bag
from policy_core.errors import BundleError

How = Literal["bag", "marks"] | float
"""Each recording is an episode, its marks separate episodes, or each has this length, s."""

_SHORTEST_REST = 0.5
"""Share of the length that the last episode of a recording must have."""
_MOST = 10_000
"""Largest number of episodes in a recording."""
_log = logging.getLogger("lerobot_bridge")


def find_episodes(
    paths: Sequence[Path],
    how: How = "bag",
    *,
    task: str = "",
    tags: Sequence[str] = (),
    marks: str = MARKS,
) -> FoundEpisodes:
    """Return the episodes of recordings.

    A recording that is broken or lacks the requested marks becomes an episode with a `problem`.

    Args:
        paths: Recordings, and folders of recordings, such as the session of a recorder.
        how: What an episode is.
        task: Task of episodes without one in their marks or in the file beside the recording.
        tags: More tags for each episode.
        marks: Topic of the marks.
    """
    found = FoundEpisodes()
    if isinstance(how, float) and not 1e-9 <= how < math.inf:
        raise ToolError(f"expected a length of episodes of more than 0 s, found {how:g}")
    for path in paths:
        for bag in _recordings(path, found.skipped):
            whole = _whole(bag, task, tags)
            try:
                _add(found, _episodes(whole, how, marks))
            except ToolError as error:
                found.episodes.append(replace(whole, problem=str(error)))
    for episode in found.episodes:
        if not episode.task and not episode.problem:
            raise ToolError(
                f"{episode.name}: expected a task, found none "
                f"in its {'marks' if how == 'marks' else SIDECAR}; name it with --task"
            )
    return found


def _recordings(path: Path, skipped: list[Skipped]) -> Iterator[Path]:
    """Yield the recordings of a path, by name; note those that were never finished."""
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


def _episodes(whole: Episode, how: How, marks: str) -> FoundEpisodes:
    if how == "bag" or whole.problem:
        return FoundEpisodes(episodes=[whole])
    bag = Bag(whole.bag)
    return marked_episodes(bag, whole, marks) if how == "marks" else _cut(bag, whole, float(how))


def _whole(bag: Path, task: str, tags: Sequence[str]) -> Episode:
    """Return a recording as an episode, with the content of the file beside it."""
    if not (bag / SIDECAR).is_file():
        return Episode(bag=bag, task=task, tags=tuple(tags))
    try:
        said = read_sidecar(bag)
    except BundleError as error:
        return Episode(bag=bag, task=task, tags=tuple(tags), problem=str(error))
    if said.lost:
        _log.warning(
            "%s: %d messages are missing, which came faster than the recorder could write",
            bag,
            said.lost,
        )
    interventions = said.interventions
    return Episode(
        bag=bag,
        task=said.task or task,
        tags=_together(said.tags, tags),
        success=said.success,
        number=said.number,
        problems=said.problems,
        interventions=None
        if interventions is None
        else tuple(Span(*each) for each in interventions),
    )


def _together(tags: Sequence[str], more: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*tags, *more)))


def _add(found: FoundEpisodes, more: FoundEpisodes) -> None:
    found.episodes.extend(more.episodes)
    found.skipped.extend(more.skipped)


def _cut(bag: Bag, whole: Episode, length_s: float) -> FoundEpisodes:
    """Cut a recording into parts of this length; the last one may be shorter."""
    found, length_ns, end_ns = (
        FoundEpisodes(),
        round(length_s * 1e9),
        bag.start_ns + bag.duration_ns,
    )
    if bag.duration_ns > _MOST * length_ns:
        raise ToolError(
            f"{bag.path}: expected at most {_MOST} episodes of {length_s:g} s, found a "
            f"recording of {bag.duration_ns * 1e-9:.0f} s; if it is shorter than that, "
            "the clock was set forward in it: cut the recording there"
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
                    f"recording are less than half of {length_s:g} s",
                )
            )
        else:
            found.episodes.append(episode)
    if not found.episodes:
        raise ToolError(f"{bag.path}: expected messages, found none")
    return found
