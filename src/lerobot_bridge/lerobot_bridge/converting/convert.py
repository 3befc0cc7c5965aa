# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Episodes of recordings to one dataset, which is there at the end, whole, or not at all.

Each episode is written and checked apart, in a process of its own, into a folder beside the output.
What is finished there is not done again: after an interruption, a full disk or a power cut the same
command goes on. At the end the parts are joined, the whole is checked and moved into place.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lerobot_bridge.converting.parts_folder import (
    LOG,
    locked,
    made_of,
    name_of,
    note_growing,
    parts_of,
    remove_parts,
    remove_unfinished,
    sync_all,
)
from lerobot_bridge.converting.processes import Refused, run_apart
from lerobot_bridge.converting.work import EpisodeJob, JoinJob, join, make_parts
from lerobot_bridge.episode import Episode
from lerobot_bridge.features import INTERVENTION, SUCCESS
from lerobot_bridge.mapping import RobotMapping
from lerobot_bridge.writing.form import Form, not_for_videos
from model_tools.errors import ToolError
from model_tools.files.lerobot.dataset_info import CONVERSION_REPORT, INFO
from model_tools.files.outputs import new_folder
from policy_inference.bag_file import sync

OWNED = ("meta/**", "data/**", "videos/**", "images/**", "README.md", CONVERSION_REPORT)
"""Files of a dataset, which may be replaced with it."""
_WRITING = "lerobot_bridge.writing.part"
_log = logging.getLogger("lerobot_bridge")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to convert.

    Attributes:
        repo_id: What the dataset is called: user/name.
        codec: Of the videos; None: a PNG for each picture.
        topics: Topics of the recordings by those of the mapping, where they have other names.
        split: Whether parts of an episode between gaps become episodes.
        processes: How many work at once.
        force: Whether an older dataset may be replaced.
    """

    repo_id: str
    codec: str | None = "h264"
    topics: Mapping[str, str] = field(default_factory=dict)
    split: bool = False
    processes: int = 1
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What became of a conversion.

    Attributes:
        made: Episodes that are in the dataset, each with what `make_parts` says.
        refused: Episodes that are not, and why.
    """

    made: Sequence[tuple[Episode, Mapping[str, Any]]]
    refused: Sequence[tuple[Episode, str]]

    @property
    def frames(self) -> int:
        """In the whole dataset."""
        return sum(length for _, made in self.made for _, length in made["parts"])


def convert(
    episodes: Sequence[Episode],
    mapping: RobotMapping,
    output: Path,
    settings: Settings,
    report: Callable[[Conversion], Mapping[str, Any]],
    tell: Callable[[float, int], None] = lambda done, total: None,
) -> Conversion:
    """Write the dataset of some episodes.

    An episode whose recording does not fit is left out; then its parts are kept, too, for the next
    try.

    Args:
        episodes: In their order.
        mapping: What the features are.
        output: The folder to be.
        settings: How.
        report: Makes the content of CONVERSION_REPORT.
        tell: Gets how much is done, and of how much.

    Raises:
        ToolError: The output is there, no episode can be converted, pictures cannot be videos,
            another command converts into the same folder, the folder for parts is somebody
            else's, or a process died.
        OSError: Something cannot be read or written.
    """
    if settings.codec is not None:
        for problem in not_for_videos(mapping):
            raise ToolError(problem)
    folder = parts_of(output)
    with locked(folder):
        with new_folder(output, marker=str(INFO), owned=OWNED, force=settings.force) as growing:
            note_growing(folder, growing.parent)
            found = _convert(
                _jobs(episodes, mapping, folder, settings), growing, folder, settings, tell
            )
            text = json.dumps(report(found), indent=1) + "\n"
            (growing / CONVERSION_REPORT).write_text(text, "utf-8")
            sync_all(growing)
        sync(output.resolve().parent)
        if not found.refused:
            remove_parts(folder)
    return found


def _convert(
    jobs: Mapping[str, EpisodeJob],
    growing: Path,
    folder: Path,
    settings: Settings,
    tell: Callable[[float, int], None],
) -> Conversion:
    """Make what is missing of the parts, and join them."""
    total = len(jobs) + 1  # joining counts as one more
    done = _parts(jobs, settings.processes, folder / LOG, lambda part: tell(part, total))
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
            "\n  ".join(
                [
                    "expected an episode that can be converted, found none:",
                    *(why for _, why in found.refused),
                ]
            )
        )
    growing.rmdir()  # LeRobot makes it
    parts = tuple(
        (jobs[name].folder / part, length)
        for name, each in made.items()
        for part, length in each["parts"]
    )
    _join(parts, growing, settings, found, folder / LOG, lambda part: tell(len(jobs) + part, total))
    return found


def _jobs(
    episodes: Sequence[Episode], mapping: RobotMapping, folder: Path, settings: Settings
) -> dict[str, EpisodeJob]:
    """Return the jobs, by the names of their folders."""
    at_once = min(settings.processes, len(episodes))
    form = Form(
        codec=settings.codec, judged=_judged(episodes), encoder_threads=1 if at_once > 1 else None
    )
    jobs = dict[str, EpisodeJob]()
    for episode in episodes:
        key = name_of(episode, mapping, settings.topics, settings.split, form)
        if key in jobs:
            raise ToolError(f"{episode.name}: expected each episode once, found it twice")
        jobs[key] = EpisodeJob(
            mapping=mapping,
            episode=episode,
            topics=settings.topics,
            split=settings.split,
            form=form,
            folder=folder / key,
        )
    return jobs


def _judged(episodes: Sequence[Episode]) -> tuple[str, ...]:
    """Return what is known of all episodes; a verdict on some alone would be one on all."""
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
                "the dataset has no %s, since nothing is known of %s; episode.json beside "
                "a recording says it",
                name,
                ", ".join(unknown),
            )
    return tuple(name for name, each in known.items() if episodes and all(each))


def _parts(
    jobs: Mapping[str, EpisodeJob], processes: int, log: Path, tell: Callable[[float], None]
) -> dict[str, dict[str, Any] | Refused]:
    """Make the parts that are not there yet; return what is said of all of them."""
    kept = {name: made for name, job in jobs.items() if (made := made_of(job.folder)) is not None}
    missing = {name: job for name, job in jobs.items() if name not in kept}
    for job in missing.values():
        if job.folder.exists():
            _log.warning("%s is not as it was made, and is made anew", job.folder)
            shutil.rmtree(job.folder)
    remove_unfinished(log.parent)
    try:
        found = run_apart(
            make_parts,
            missing,
            at_once=processes,
            needs=_WRITING,
            log=log,
            tell=lambda count: tell(len(kept) + count),
        )
    finally:
        remove_unfinished(log.parent)
    both = kept | found
    return {name: both[name] for name in jobs}


def _join(
    parts: tuple[tuple[Path, int], ...],
    output: Path,
    settings: Settings,
    found: Conversion,
    log: Path,
    tell: Callable[[float], None],
) -> None:
    tags = dict.fromkeys(tag for episode, _ in found.made for tag in episode.tags)
    tasks = dict.fromkeys(episode.task for episode, _ in found.made)
    description = (
        f"{len(parts)} episodes of ROS 2 recordings, converted with lerobot_bridge. "
        f"Tasks: {'; '.join(tasks)}"
    )
    job = JoinJob(
        parts=parts,
        output=output,
        repo_id=settings.repo_id,
        tags=tuple(tags),
        description=description,
    )
    done = run_apart(join, {"joining": job}, at_once=1, needs=_WRITING, log=log, tell=tell)
    for each in done.values():
        if isinstance(each, Refused):
            raise ToolError(f"{each.why}; remove {log.parent} and try again")
