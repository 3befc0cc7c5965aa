# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is done in a process of its own, where LeRobot is imported: an episode's parts, the join."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lerobot_bridge.episode import Episode
from lerobot_bridge.frames import EpisodeFrames
from lerobot_bridge.mapping import RobotMapping
from lerobot_bridge.writing.form import Form
from model_tools.errors import ToolError

MADE = "made.json"
"""File of a finished folder of parts."""
GROWING = "."
"""How folders begin that are not finished."""
_TELL_EACH = 15
"""Frames between two words on how far it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeJob:
    """An episode to be written.

    Attributes:
        mapping: What its features are.
        episode: Which.
        topics: Topics of the recording by those of the mapping, where they have other names.
        split: Whether its parts between gaps become episodes; else it is refused for a gap.
        form: As for all episodes.
        folder: Where its parts will be.
    """

    mapping: RobotMapping
    episode: Episode
    topics: Mapping[str, str]
    split: bool
    form: Form
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinJob:
    """Parts to be joined: datasets of one episode and so many frames each."""

    parts: tuple[tuple[Path, int], ...]
    output: Path
    repo_id: str
    tags: tuple[str, ...]
    description: str


def make_parts(job: EpisodeJob, tell: Callable[[float], None]) -> dict[str, Any]:
    """Write and check the parts of an episode; return what is said of them in MADE.

    Raises:
        ToolError: The recording does not fit the mapping, or has a gap.
        OSError: Something cannot be read or written.
    """
    from lerobot_bridge.writing.check import check_dataset
    from lerobot_bridge.writing.part import FEWEST, write_part

    frames = EpisodeFrames(job.mapping, job.episode, job.topics)
    if not job.split:
        frames.refuse_gaps()
    long = [number for number, times in enumerate(frames.parts) if len(times) >= FEWEST]
    if not long:
        raise ToolError(f"{job.episode.name}: expected at least {FEWEST} frames in a row, found "
                        "fewer")
    total, before = sum(len(frames.parts[number]) for number in long), 0
    growing = job.folder.with_name(f"{GROWING}{job.folder.name}.{os.getpid()}")
    growing.mkdir()

    def told(count: int) -> None:
        if count % _TELL_EACH == 0:
            tell((before + count) / total)

    try:
        for number in long:
            part = growing / _name(number)
            # What came at the end is said of the last part.
            episode = job.episode if number == long[-1] else replace(job.episode, success=None)
            count = write_part(part, job.mapping, episode, frames.frames(number), job.form, told)
            check_dataset(part, [count])
            before += count
        made = {
            "parts": [[_name(number), len(frames.parts[number])] for number in long],
            "too_short": len(frames.parts) - len(long), "closed_up": frames.closed_up,
            "left_out": [asdict(each) for each in frames.left_out],
        }
        (growing / MADE).write_text(json.dumps(made), "utf-8")
        growing.rename(job.folder)
    except BaseException:
        shutil.rmtree(growing)
        raise
    return made


def join(job: JoinJob, tell: Callable[[float], None]) -> None:
    """Join parts, and check the whole.

    Raises:
        ToolError: The whole is not what went in.
        OSError: Something cannot be read or written.
    """
    from lerobot_bridge.writing.check import check_dataset
    from lerobot_bridge.writing.join import join_parts

    join_parts([folder for folder, _ in job.parts], job.output, job.repo_id, job.tags,
               job.description, lambda count: tell(count / len(job.parts)))
    check_dataset(job.output, [length for _, length in job.parts])


def _name(number: int) -> str:
    return f"part_{number:03}"
