# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One episode as a finished dataset of its own: the parts that a conversion is joined from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset

from lerobot_bridge.episode import Episode, Frame
from lerobot_bridge.features import INTERVENTION, SUCCESS, dataset_features
from lerobot_bridge.frames import FEWEST
from lerobot_bridge.mapping import IMAGES, RobotMapping
from lerobot_bridge.writing.encoder import WaitingEncoder
from lerobot_bridge.writing.form import Form
from model_tools.errors import ToolError

_QUEUE = 8
"""Frames that wait for an encoder, each as large as a picture."""


def write_part(
    folder: Path,
    mapping: RobotMapping,
    episode: Episode,
    frames: Iterable[Frame],
    form: Form,
    tell: Callable[[int], None] = lambda count: None,
) -> int:
    """Write a dataset of one episode, with statistics.

    Args:
        folder: Where; it must not be there yet.
        mapping: Says what the features are.
        episode: Its task, and how it ended.
        frames: Of it, in their order.
        form: As for all other parts.
        tell: Gets the number of frames after each.

    Returns:
        The number of frames.

    Raises:
        ToolError: It has fewer than two frames.
        OSError: It cannot be written.
    """
    features = dataset_features(mapping, videos=form.codec is not None, judged=form.judged)
    dataset = LeRobotDataset.create(
        f"local/{folder.name}",
        mapping.rate_hz,
        features,
        root=folder,
        robot_type=mapping.robot_type,
        use_videos=form.codec is not None,
        vcodec=form.codec or "h264",
        streaming_encoding=form.codec is not None,
    )
    if form.codec is not None and mapping.cameras:
        made = dataset._streaming_encoder  # LeRobot has no argument for another one
        dataset._streaming_encoder = WaitingEncoder(
            mapping.rate_hz,
            made.vcodec,
            made.pix_fmt,
            made.g,
            made.crf,
            made.preset,
            _QUEUE,
            form.encoder_threads,
        )
    count = 0
    try:
        for frame in frames:
            dataset.add_frame(_entry(frame, episode.task, form))
            count += 1
            tell(count)
        if count < FEWEST:
            raise ToolError(f"{episode.name}: expected at least {FEWEST} frames, found {count}")
        if SUCCESS in form.judged:
            dataset.episode_buffer[SUCCESS][-1] = np.array([episode.success is True])
        dataset.save_episode()
    finally:
        dataset.finalize()
    return count


def _entry(frame: Frame, task: str, form: Form) -> dict[str, Any]:
    entry: dict[str, Any] = {
        name: np.asarray(values, np.float32) for name, values in frame.vectors.items()
    }
    entry |= {IMAGES + name: picture for name, picture in frame.pictures.items()}
    if INTERVENTION in form.judged:
        entry[INTERVENTION] = np.array([frame.intervention])
    if SUCCESS in form.judged:
        entry[SUCCESS] = np.array([False])
    return {**entry, "task": task}
