# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The features of a mapping's datasets, as LeRobot describes them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from lerobot_bridge.mapping import IMAGES, RobotMapping

SUCCESS, INTERVENTION = "next.success", "intervention"
"""Features of episodes that were judged: true in the last frame of one that succeeded; and in those
frames in which a person drove in the policy's place."""


def dataset_features(
    mapping: RobotMapping, *, videos: bool = True, judged: Collection[str] = ()
) -> dict[str, dict[str, Any]]:
    """Return the features for `LeRobotDataset.create`, less those that LeRobot adds itself.

    Args:
        mapping: Says which there are.
        videos: Whether pictures become videos, or a file each.
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
