# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Converts recorded episodes into one dataset, which appears only when complete.

Each episode is written and checked by its own process, in a folder next to the output. Finished
episodes are not converted again: after an interruption, a full disk or a power cut, repeat the same
command to continue. At the end, the parts are joined, checked as a whole and moved into place.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from lerobot_bridge.converting.parts_folder import (
    LOG,
    locked,
    parts_name,
    parts_path,
    read_parts,
    remove_parts,
    remove_unfinished,
    sync_all,
)
from lerobot_bridge.converting.processes import Refused, run_apart
from lerobot_bridge.converting.work import join, make_parts
from lerobot_bridge.dataset_form import INTERVENTION, SUCCESS, DatasetForm, not_for_videos
from lerobot_bridge.episode import Episode
from lerobot_bridge.mapping import RobotMapping
from model_tools.errors import ToolError
from model_tools.files.lerobot.dataset_info import CONVERSION_REPORT, INFO
from model_tools.files.outputs import new_folder
from policy_inference.bag_file import sync

OWNED = ("meta/**", "data/**", "videos/**", "images/**", "README.md", CONVERSION_REPORT)
"""Files that belong to a dataset, so they may be replaced together with it."""
_WRITING = "lerobot_bridge.writing.part"
_log = logging.getLogger("lerobot_bridge")


class _Job(NamedTuple):
    """An episode, and the function that makes its parts of the dataset."""

    episode: Episode
    work: Callable[[Callable[[float], None]], dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionSettings:
    """Settings for a conversion.

    Attributes:
        repo_id: Name of the dataset: user/name.
        codec: Codec of the videos; if None, each image is stored as a PNG.
        topics: Recorded topic for each topic of the mapping, where the names differ.
        split: True if gaps split an episode into several episodes.
        processes: Number of concurrent processes.
        force: True to allow replacing an existing dataset.
    """

    repo_id: str
    codec: str | None = "h264"
    topics: Mapping[str, str] = field(default_factory=dict)
    split: bool = False
    processes: int = 1
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """The result of a conversion.

    Attributes:
        made: Episodes in the dataset, each with the result of `make_parts`.
        refused: Episodes that were left out, with the reason for each.
    """

    made: Sequence[tuple[Episode, Mapping[str, Any]]]
    refused: Sequence[tuple[Episode, str]]

    @property
    def frames(self) -> int:
        return sum(length for _, made in self.made for _, length in made["parts"])


def convert(
    episodes: Sequence[Episode],
    mapping: RobotMapping,
    output: Path,
    settings: ConversionSettings,
    report: Callable[[Conversion], Mapping[str, Any]],
    on_progress: Callable[[float, int], None] = lambda done, total: None,
) -> Conversion:
    """Write the given episodes as a dataset.

    An episode whose recording does not fit the mapping is left out; the finished parts are then
    kept for the next attempt.

    Args:
        episodes: The episodes, in order.
        mapping: Mapping that defines the features.
        output: Folder of the dataset.
        settings: Settings for the conversion.
        report: Function that returns the content of CONVERSION_REPORT.
        on_progress: Called with the amount of work done and the total.
    """
    if settings.codec is not None:
        for problem in not_for_videos(mapping):
            raise ToolError(problem)
    folder = parts_path(output)
    with locked(folder):
        with new_folder(output, marker=str(INFO), owned=OWNED, force=settings.force) as growing:
            found = _convert(
                _jobs(episodes, mapping, folder, settings), growing, folder, settings, on_progress
            )
            text = json.dumps(report(found), indent=1) + "\n"
            (growing / CONVERSION_REPORT).write_text(text, "utf-8")
            sync_all(growing)
        sync(output.resolve().parent)
        if not found.refused:
            remove_parts(folder)
    return found


def _convert(
    jobs: Mapping[str, _Job],
    growing: Path,
    folder: Path,
    settings: ConversionSettings,
    on_progress: Callable[[float, int], None],
) -> Conversion:
    total = len(jobs) + 1  # joining counts as one more job
    done = _parts(jobs, settings.processes, folder, lambda part: on_progress(part, total))
    made = {name: each for name, each in done.items() if not isinstance(each, Refused)}
    found = Conversion(
        made=[(jobs[name].episode, each) for name, each in made.items()],
        refused=[
            (jobs[name].episode, each.why)
            for name, each in done.items()
            if isinstance(each, Refused)
        ],
    )
    if not found.made:
        raise ToolError(
            "expected an episode that can be converted, found none:",
            *(f"  {line}" for _, why in found.refused for line in why.split("\n")),
        )
    growing.rmdir()  # LeRobot creates it, and fails if it exists
    parts = [
        (folder / name / part, length)
        for name, each in made.items()
        for part, length in each["parts"]
    ]
    _join(
        parts,
        growing,
        settings,
        found,
        folder / LOG,
        lambda part: on_progress(len(jobs) + part, total),
    )
    return found


def _jobs(
    episodes: Sequence[Episode], mapping: RobotMapping, folder: Path, settings: ConversionSettings
) -> dict[str, _Job]:
    at_once = min(settings.processes, len(episodes))
    form = DatasetForm(
        codec=settings.codec, judged=_judged(episodes), encoder_threads=1 if at_once > 1 else None
    )
    jobs, topics, split = dict[str, _Job](), settings.topics, settings.split
    for episode in episodes:
        key = parts_name(episode, mapping, topics, split, form)
        if key in jobs:
            raise ToolError(f"{episode.name}: expected each episode once, found it twice")
        work = partial(make_parts, mapping, episode, topics, split, form, folder / key)
        jobs[key] = _Job(episode, work)
    return jobs


def _judged(episodes: Sequence[Episode]) -> tuple[str, ...]:
    """Return which of SUCCESS and INTERVENTION all episodes have, since datasets allow no gaps."""
    episodes = [each for each in episodes if not each.problem]
    known = {
        SUCCESS: [each.success is not None for each in episodes],
        INTERVENTION: [each.interventions is not None for each in episodes],
    }
    for name, each in known.items():
        if any(each) and not all(each):
            unknown = [
                episode.name for episode, said in zip(episodes, each, strict=True) if not said
            ]
            _log.warning(
                "the dataset has no %s, because it is unknown for %s; write it into episode.json "
                "beside the recording",
                name,
                ", ".join(unknown),
            )
    return tuple(name for name, each in known.items() if episodes and all(each))


def _parts(
    jobs: Mapping[str, _Job], processes: int, folder: Path, on_progress: Callable[[float], None]
) -> dict[str, dict[str, Any] | Refused]:
    kept = {name: made for name in jobs if (made := read_parts(folder / name)) is not None}
    remove_unfinished(folder)
    try:
        found = run_apart(
            {name: job.work for name, job in jobs.items() if name not in kept},
            at_once=processes,
            needs=_WRITING,
            log=folder / LOG,
            on_progress=lambda count: on_progress(len(kept) + count),
        )
    finally:
        remove_unfinished(folder)
    both = kept | found
    return {name: both[name] for name in jobs}


def _join(
    parts: Sequence[tuple[Path, int]],
    output: Path,
    settings: ConversionSettings,
    found: Conversion,
    log: Path,
    on_progress: Callable[[float], None],
) -> None:
    tags = dict.fromkeys(tag for episode, _ in found.made for tag in episode.tags)
    tasks = dict.fromkeys(episode.task for episode, _ in found.made)
    description = (
        f"{len(parts)} episodes of ROS 2 recordings, converted with lerobot_bridge. "
        f"Tasks: {'; '.join(tasks)}"
    )
    work = partial(join, parts, output, settings.repo_id, list(tags), description)
    done = run_apart({"joining": work}, at_once=1, needs=_WRITING, log=log, on_progress=on_progress)
    for each in done.values():
        if isinstance(each, Refused):
            raise ToolError(f"{each.why}; remove {log.parent} and try again")
