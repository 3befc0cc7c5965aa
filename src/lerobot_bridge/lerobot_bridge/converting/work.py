# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Jobs for processes that import LeRobot: write the parts of an episode, and join parts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lerobot_bridge.checking import warnings_of_times, warnings_of_values
from lerobot_bridge.converting.parts_folder import finish, unfinished
from lerobot_bridge.dataset_form import DatasetForm
from lerobot_bridge.episode import Episode
from lerobot_bridge.frames import EpisodeFrames
from lerobot_bridge.mapping import RobotMapping

_REPORT_EACH = 15
"""Number of frames between progress reports."""


def make_parts(
    mapping: RobotMapping,
    episode: Episode,
    topics: Mapping[str, str],
    split: bool,
    form: DatasetForm,
    folder: Path,
    on_progress: Callable[[float], None],
) -> dict[str, Any]:
    """Write and check the parts of an episode; return their description.

    Args:
        mapping: Mapping that defines the features.
        episode: The episode.
        topics: Recorded topic for each topic of the mapping, where the names differ.
        split: True to split an episode with gaps into several; False to refuse it.
        form: Form of the dataset; the same for all episodes.
        folder: Folder for the parts.
        on_progress: Called with the fraction of the frames written so far.
    """
    from lerobot_bridge.writing.check import check_dataset
    from lerobot_bridge.writing.part import write_part

    frames = EpisodeFrames(mapping, episode, topics)
    if not split:
        frames.refuse_gaps()
    total, before = sum(map(len, frames.parts)), 0
    parts = list[tuple[str, int]]()
    growing = unfinished(folder, os.getpid())
    growing.mkdir()

    def count_frame(count: int) -> None:
        if count % _REPORT_EACH == 0:
            on_progress((before + count) / total)

    try:
        for number in range(len(frames.parts)):
            part = growing / f"part_{number:03}"
            # The verdict on the end belongs to the last part.
            is_last = number == len(frames.parts) - 1
            judged = episode if is_last else replace(episode, success=None)
            count = write_part(part, mapping, judged, frames.frames(number), form, count_frame)
            check_dataset(part, [count])
            before += count
            parts.append((part.name, count))
        made = {
            "parts": parts,
            "too_short": frames.too_short,
            "closed_up": frames.closed_up,
            "left_out": [asdict(each) for each in frames.left_out],
            "warnings": [*warnings_of_times(mapping, frames), *warnings_of_values(frames)],
        }
        finish(growing, folder, made)
    except BaseException:
        shutil.rmtree(growing, ignore_errors=True)
        raise
    return made


def join(
    parts: Sequence[tuple[Path, int]],
    output: Path,
    repo_id: str,
    tags: Sequence[str],
    description: str,
    on_progress: Callable[[float], None],
) -> None:
    """Join parts into one dataset.

    Each part is a dataset with one episode, paired with its number of frames.
    """
    from lerobot_bridge.writing.check import check_dataset
    from lerobot_bridge.writing.join import join_parts

    join_parts(
        [folder for folder, _ in parts],
        output,
        repo_id,
        tags,
        description,
        lambda count: on_progress(count / len(parts)),
    )
    check_dataset(output, [length for _, length in parts])
