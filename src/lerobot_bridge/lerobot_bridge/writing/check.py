# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Checks that a written dataset is complete, and that its videos are in sync with its rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.lerobot.dataset import Dataset
from model_tools.files.lerobot.dataset_files import opened_video
from policy_core.interfaces import F64

TOLERANCE_S = 1e-4
"""Maximum difference that LeRobot allows between the times of an image and its row, s."""
_ROWS = ("timestamp", "frame_index", "episode_index", "index")


def check_dataset(path: Path, lengths: Sequence[int]) -> None:
    """Check a dataset.

    Args:
        path: Folder of the dataset.
        lengths: Number of frames that the writer was given for each episode.
    """
    dataset = Dataset(path)
    found = [episode.length for episode in dataset.episodes]
    if found != list(lengths):
        raise ToolError(f"{path}: expected episodes of {list(lengths)} frames, found {found}")
    times_s: dict[Path, F64] = {}
    for episode in dataset.episodes:
        count = np.arange(episode.length)
        rows = dataset.rows(episode, _ROWS)
        expected = (
            count / dataset.info.fps,
            count,
            np.full(episode.length, episode.index),
            count + episode.first_frame,
        )
        for name, values in zip(_ROWS, expected, strict=True):
            if np.abs(rows[name].ravel() - values).max() > TOLERANCE_S:
                raise ToolError(
                    f"{episode.data}: episode {episode.index}: expected {name} {values[0]:g} to "
                    f"{values[-1]:g} in even steps, found other values"
                )
        for camera, video in episode.videos.items():
            if video.file not in times_s:
                times_s[video.file] = _times_s(video.file)
            _check_video(
                video.file,
                f"{camera}: episode {episode.index}",
                times_s[video.file],
                video.begin_s + count / dataset.info.fps,
            )
    _check_counts(times_s, dataset)


def _check_video(file: Path, where: str, found_s: F64, expected_s: F64) -> None:
    begin = int(np.searchsorted(found_s, expected_s[0] - TOLERANCE_S))
    part = found_s[begin : begin + len(expected_s)]
    if len(part) != len(expected_s):
        raise ToolError(f"{file}: {where}: expected {len(expected_s)} images, found {len(part)}")
    if np.abs(part - expected_s).max() > TOLERANCE_S:
        worst = int(np.abs(part - expected_s).argmax())
        raise ToolError(
            f"{file}: {where}: expected frame {worst} at {expected_s[worst]:.4f} s, "
            f"found it at {part[worst]:.4f} s"
        )


def _check_counts(times_s: dict[Path, F64], dataset: Dataset) -> None:
    for file, found_s in times_s.items():
        expected = sum(
            episode.length
            for episode in dataset.episodes
            for video in episode.videos.values()
            if video.file == file
        )
        if len(found_s) != expected:
            raise ToolError(f"{file}: expected {expected} images, found {len(found_s)}")


def _times_s(file: Path) -> F64:
    with opened_video(file) as (container, stream):
        return np.sort(
            [
                float(packet.pts * packet.time_base)
                for packet in container.demux(stream)
                if packet.pts is not None
            ]
        )
