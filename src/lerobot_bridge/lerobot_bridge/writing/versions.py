# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What LeRobot 0.4 and 0.6 call differently where datasets are written: the only such place."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

from lerobot.datasets.lerobot_dataset import LeRobotDataset


def codec_arguments(codec: str) -> dict[str, Any]:
    """Return the arguments of `LeRobotDataset.create` that choose the codec of the videos."""
    if "vcodec" in inspect.signature(LeRobotDataset.create).parameters:
        return {"vcodec": codec}
    return {"rgb_encoder": import_module("lerobot.configs.video").RGBEncoderConfig(vcodec=codec)}


def writer_of(dataset: LeRobotDataset) -> Any:
    """Return what holds the frames of the episode, and writes them: since 0.6 not the dataset."""
    return dataset if hasattr(dataset, "_save_episode_data") else dataset.writer
