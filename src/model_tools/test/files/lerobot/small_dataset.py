# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Small LeRobot datasets whose values and images say which they are."""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from policy_core.interfaces import F32, Tensor
from testkit.lerobot_frames import IMAGES, write_frames

HEIGHT, WIDTH = 48, 64
JOINTS = ("shoulder_pan", "elbow_flex", "gripper")
"""In the order of the policy that `testkit.chunk_bundles` makes."""


def state(episode: int, frame: int) -> F32:
    waves = np.sin(0.1 * frame + np.arange(3) + 0.73 * episode)
    return np.asarray(waves * [20, 15, 25] + [1, 5, 40], np.float32)


def colour(camera: int, episode: int, frame: int) -> tuple[int, int, int]:
    """Return the colour of an image: red, green and blue are about those numbers."""
    return 40 + 60 * camera, 60 + 50 * episode, 40 + 9 * frame % 180


def write_dataset(
    folder: Path,
    lengths: Sequence[int] = (12, 9, 15),
    *,
    codec: str = "libx264",
    stored: str = "video",
    succeeded: Collection[int] | None = None,
) -> Path:
    """Write a dataset, with two episodes to a file; who `succeeded`, if anything was judged."""
    episodes = list[dict[str, Tensor]]()
    for i, length in enumerate(lengths):
        states = np.stack([state(i, frame) for frame in range(length + 1)])
        columns: dict[str, Tensor] = {"observation.state": states[:-1], "action": states[1:]}
        for camera, name in enumerate(("laptop", "phone")):
            images = np.empty((length, HEIGHT, WIDTH, 3), np.uint8)
            images[:] = [[[colour(camera, i, frame)]] for frame in range(length)]
            columns[IMAGES + name] = images
        if succeeded is not None:
            columns["next.success"] = (np.arange(length) == length - 1) & (i in succeeded)
        episodes.append(columns)
    names = {key: [f"{name}.pos" for name in JOINTS] for key in ("observation.state", "action")}
    return write_frames(folder, episodes, names, stored=stored, codec=codec, per_file=2)
