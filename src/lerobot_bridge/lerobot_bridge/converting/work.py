# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The jobs of processes that import LeRobot: write the parts of an episode, and join parts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lerobot_bridge.checking import warnings_of_times, warnings_of_values
from lerobot_bridge.converting.parts_folder import finish, unfinished
from lerobot_bridge.dataset_form import DatasetForm
from lerobot_bridge.episode import Episode
from lerobot_bridge.frames import EpisodeFrames
from lerobot_bridge.mapping import RobotMapping

_REPORT_EACH = 15
"""Frames between two reports of progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeJob:
    """An episode to write.

    Attributes:
        mapping: Defines its features.
        episode: The episode.
        topics: Topics of the recording by those of the mapping, where they have other names.
        split: Whether its parts between gaps become episodes; otherwise a gap refuses it.
        form: Form of the dataset, the same for all episodes.
        folder: Folder for its parts.
    """

    mapping: RobotMapping
    episode: Episode
    topics: Mapping[str, str]
    split: bool
    form: DatasetForm
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinJob:
    """Parts to join: datasets of one episode, each with its number of frames."""

    parts: tuple[tuple[Path, int], ...]
    output: Path
    repo_id: str
    tags: tuple[str, ...]
    description: str


def make_parts(job: EpisodeJob, on_progress: Callable[[float], None]) -> dict[str, Any]:
    """Write and check the parts of an episode; return their description."""
    from lerobot_bridge.writing.check import check_dataset
    from lerobot_bridge.writing.part import write_part

    frames = EpisodeFrames(job.mapping, job.episode, job.topics)
    if not job.split:
        frames.refuse_gaps()
    total, before = sum(map(len, frames.parts)), 0
    parts = list[tuple[str, int]]()
    growing = unfinished(job.folder, os.getpid())
    growing.mkdir()

    def count_frame(count: int) -> None:
        if count % _REPORT_EACH == 0:
            on_progress((before + count) / total)

    try:
        for number in range(len(frames.parts)):
            part = growing / f"part_{number:03}"
            # The verdict on the end belongs to the last part.
            is_last = number == len(frames.parts) - 1
            episode = job.episode if is_last else replace(job.episode, success=None)
            count = write_part(
                part, job.mapping, episode, frames.frames(number), job.form, count_frame
            )
            check_dataset(part, [count])
            before += count
            parts.append((part.name, count))
        made = {
            "parts": parts,
            "too_short": frames.too_short,
            "closed_up": frames.closed_up,
            "left_out": [asdict(each) for each in frames.left_out],
            "warnings": [*warnings_of_times(job.mapping, frames), *warnings_of_values(frames)],
        }
        finish(growing, job.folder, made)
    except BaseException:
        shutil.rmtree(growing, ignore_errors=True)
        raise
    return made


def join(job: JoinJob, on_progress: Callable[[float], None]) -> None:
    from lerobot_bridge.writing.check import check_dataset
    from lerobot_bridge.writing.join import join_parts

    join_parts(
        [folder for folder, _ in job.parts],
        job.output,
        job.repo_id,
        job.tags,
        job.description,
        lambda count: on_progress(count / len(job.parts)),
    )
    check_dataset(job.output, [length for _, length in job.parts])
