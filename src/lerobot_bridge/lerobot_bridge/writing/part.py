# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Writes one episode as a separate dataset, which becomes a part of a converted dataset."""

from __future__ import annotations

import inspect
import queue
import threading
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset

from lerobot_bridge.dataset_form import INTERVENTION, SUCCESS, DatasetForm, dataset_features
from lerobot_bridge.episode import DatasetFrame, Episode
from lerobot_bridge.frames import FEWEST
from lerobot_bridge.mapping import IMAGES, RobotMapping
from model_tools.errors import ToolError
from policy_core.interfaces import U8


def codec_arguments(codec: str) -> dict[str, Any]:
    """Return the arguments of `LeRobotDataset.create` that choose the video codec."""
    if "vcodec" in inspect.signature(LeRobotDataset.create).parameters:
        return {"vcodec": codec}
    return {"rgb_encoder": import_module("lerobot.configs.video").RGBEncoderConfig(vcodec=codec)}


def episode_writer(dataset: LeRobotDataset) -> Any:
    """Return the writer of the episode's frames; before LeRobot 0.6, the dataset itself."""
    return dataset if hasattr(dataset, "_save_episode_data") else dataset.writer


_LOOK_S = 1.0
"""Interval, while waiting for a full queue, between checks that its encoder is alive, s."""
_QUEUE = 8
"""Number of frames that may wait for an encoder; each takes as much memory as an image."""


def write_part(
    folder: Path,
    mapping: RobotMapping,
    episode: Episode,
    frames: Iterable[DatasetFrame],
    form: DatasetForm,
    on_progress: Callable[[int], None] = lambda count: None,
) -> int:
    """Write a dataset of one episode, with statistics.

    Args:
        folder: Folder of the dataset; it must not exist yet.
        mapping: Mapping that defines the features.
        episode: Episode that provides the task and the outcome.
        frames: Frames of the episode, in order.
        form: Form of the dataset, the same for all parts.
        on_progress: Called after each frame, with the number of frames written.

    Returns:
        The number of frames.
    """
    features = dataset_features(mapping, videos=form.codec is not None, judged=form.judged)
    dataset = LeRobotDataset.create(
        f"local/{folder.name}",
        mapping.rate_hz,
        features,
        root=folder,
        robot_type=mapping.robot_type,
        use_videos=form.codec is not None,
        **codec_arguments(form.codec or "h264"),
        streaming_encoding=form.codec is not None,
        encoder_queue_maxsize=_QUEUE,
        encoder_threads=form.encoder_threads,
    )
    writer = episode_writer(dataset)
    if writer._streaming_encoder is not None:  # LeRobot has no argument for an encoder
        writer._streaming_encoder = _WaitingEncoder(writer._streaming_encoder)
    count = 0
    try:
        for frame in frames:
            dataset.add_frame(_entry(frame, episode.task, form))
            count += 1
            on_progress(count)
        if count < FEWEST:
            raise ToolError(f"{episode.name}: expected at least {FEWEST} frames, found {count}")
        if SUCCESS in form.judged:
            writer.episode_buffer[SUCCESS][-1] = np.array([episode.success is True])
        dataset.save_episode()
    finally:
        dataset.finalize()
    return count


def _entry(frame: DatasetFrame, task: str, form: DatasetForm) -> dict[str, Any]:
    entry: dict[str, Any] = {
        name: np.asarray(values, np.float32) for name, values in frame.vectors.items()
    }
    entry |= {IMAGES + name: image for name, image in frame.images.items()}
    if INTERVENTION in form.judged:
        entry[INTERVENTION] = np.array([frame.intervention])
    if SUCCESS in form.judged:
        entry[SUCCESS] = np.array([False])
    return {**entry, "task": task}


class _WaitingEncoder:
    """Encoder that waits where LeRobot's own, made for real time, would drop a frame after 0.1 s.

    A conversion has time to wait, and a dropped frame would shift all later frames of the video
    against their rows.
    """

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def feed_frame(self, video_key: str, image: U8) -> None:
        self._await_room(video_key)
        try:
            self._encoder.feed_frame(video_key, image)
        except RuntimeError as error:
            raise OSError(
                f"{video_key}: expected an encoder that writes its video, found: {error}"
            ) from error

    def finish_episode(self) -> dict[str, tuple[Path, dict[str, Any] | None]]:
        """Finish the videos; return each one's file and statistics."""
        for key in self._encoder._frame_queues:
            self._await_room(key)
        try:
            found: dict[str, tuple[Path, dict[str, Any] | None]] = self._encoder.finish_episode()
        except RuntimeError as error:
            raise OSError(f"expected encoders that write their videos, found: {error}") from error
        return found

    def _await_room(self, key: str) -> None:
        """Wait until a queue has room for a frame or its encoder has exited."""
        frames: queue.Queue[object] = self._encoder._frame_queues[key]
        encoder: threading.Thread = self._encoder._threads[key]
        with frames.not_full:
            while len(frames.queue) >= frames.maxsize:
                if not encoder.is_alive():
                    raise OSError(
                        f"{key}: expected an encoder that writes its video, found one that has "
                        "ended; is the disk full?"
                    )
                frames.not_full.wait(_LOOK_S)
