# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The format of the datasets that a mapping defines: LeRobot feature descriptions, and videos."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from lerobot_bridge.mapping import IMAGES, RobotMapping

SUCCESS, INTERVENTION = "next.success", "intervention"
"""Features of episodes that were judged. SUCCESS is true in the last frame of a successful episode,
INTERVENTION in each frame in which a person, not the policy, drove.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetForm:
    """Format in which all episodes of a dataset are written.

    Attributes:
        codec: Codec of the videos; if None, each image is stored as a PNG in the dataset's rows.
        judged: Which of SUCCESS and INTERVENTION the dataset has.
        encoder_threads: Number of threads for each video; None to let the codec decide.
    """

    codec: str | None = "h264"
    judged: tuple[str, ...] = ()
    encoder_threads: int | None = None


def dataset_features(
    mapping: RobotMapping, *, videos: bool = True, judged: Collection[str] = ()
) -> dict[str, dict[str, Any]]:
    """Return the features for `LeRobotDataset.create`, without those that LeRobot itself adds.

    Args:
        mapping: Mapping that defines the features.
        videos: True to store images as videos; otherwise, each image is a file.
        judged: SUCCESS, INTERVENTION, both or neither.
    """
    vectors = {
        name: {
            "dtype": "float32",
            "shape": (len(mapping.names(name)),),
            "names": list(mapping.names(name)),
        }
        for name in mapping.vectors
    }
    cameras = {
        IMAGES + name: {
            "dtype": "video" if videos else "image",
            "shape": (camera.height, camera.width, 3),
            "names": ["height", "width", "channels"],
        }
        for name, camera in mapping.cameras.items()
    }
    verdicts = {name: {"dtype": "bool", "shape": (1,), "names": None} for name in sorted(judged)}
    return {**vectors, **cameras, **verdicts}


def not_for_videos(mapping: RobotMapping) -> Iterator[str]:
    """Yield a problem per camera with an odd width or height: video colors cover 2 x 2 pixels."""
    for name, camera in mapping.cameras.items():
        if camera.height % 2 or camera.width % 2:
            yield (
                f"cameras.{name}: expected an even height and width for a video, found "
                f"{camera.height} and {camera.width}; write images with --images, or set resize "
                "and an even size in the mapping"
            )
