# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Demonstrations as a dataset, written with LeRobot's own API."""

from collections.abc import Iterable
from pathlib import Path

from lerobot.datasets.lerobot_dataset import LeRobotDataset

from robot_sim.arm_figures import SO101
from robot_sim.arm_world import IMAGE_SIZE
from tools.train_arm.demonstrations import RATE_HZ, TASK, Demonstration
from tools.train_arm.frames import ACTION, CUBE, IMAGES, STATE


def write_dataset(episodes: Iterable[Demonstration], folder: Path) -> None:
    """Write a LeRobotDataset v3 with images as PNG; the folder must not exist yet."""
    joints = {
        "dtype": "float32",
        "shape": (len(SO101.joint_names),),
        "names": [f"{name}.pos" for name in SO101.joint_names],
    }
    features = {
        STATE: joints,
        ACTION: joints,
        CUBE: {"dtype": "float32", "shape": (3,), "names": ["x", "y", "z"]},
    }
    for key in IMAGES.values():
        features[key] = {
            "dtype": "image",
            "shape": (*IMAGE_SIZE, 3),
            "names": ["height", "width", "channels"],
        }
    dataset = LeRobotDataset.create(
        f"local/{folder.name}",
        RATE_HZ,
        features,
        root=folder,
        robot_type="so_follower",
        use_videos=False,
    )
    for episode in episodes:
        for row in range(len(episode.state)):
            images = {
                key: episode.images[name][row].transpose(1, 2, 0) for name, key in IMAGES.items()
            }
            dataset.add_frame(
                {
                    STATE: episode.state[row],
                    ACTION: episode.action[row],
                    CUBE: episode.cube[row],
                    **images,
                    "task": TASK,
                }
            )
        dataset.save_episode()
    dataset.finalize()
