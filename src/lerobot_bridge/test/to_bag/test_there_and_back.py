# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A dataset written as recordings, then read with the same mapping, has the same frames."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from lerobot_bridge.cli import main
from lerobot_bridge.episode import DatasetFrame
from lerobot_bridge.episodes import find_episodes
from lerobot_bridge.frames import EpisodeFrames
from lerobot_bridge.mapping import RobotMapping
from lerobot_bridge.mapping_file import load_mapping
from model_tools.files.lerobot.dataset import Dataset
from policy_core.interfaces import Tensor
from testkit.lerobot_frames import IMAGES, write_frames

JOINTS: dict[str, Any] = {
    "pan": {"unit": "degrees", "ros_name": "Rotation", "sign": -1, "zero_rad": 0.1},
    "lift": {"unit": "radians"},
    "flex": {"unit": "range_m100_100", "low_rad": -1.7, "high_rad": 1.6},
    "gripper": {"unit": "range_0_100", "low_rad": 1.8, "high_rad": -0.2},
}
POSITIONS = [f"{joint}.pos" for joint in JOINTS]
GAINS = {"stiffness": 10.0, "damping": 1.0, "effort_limit": 2.0}
TYPES = (
    "sensor_msgs/msg/JointState",
    "policy_msgs/msg/JointCommand",
    "trajectory_msgs/msg/JointTrajectory",
    "std_msgs/msg/Float64MultiArray",
)
EXACT = 1e-6


def joint_state_source(topic: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"topic": topic, "type": kind, **more}


def there_and_back(
    dataset: Path, mapping: dict[str, Any], folder: Path
) -> tuple[RobotMapping, list[list[DatasetFrame]]]:
    """Write a dataset as recordings; return the mapping and the frames read from them."""
    file = folder / "given.yaml"
    file.write_text(yaml.safe_dump(mapping, sort_keys=False), "utf-8")
    words = [str(dataset), "--mapping", str(file), "--output", str(folder / "session")]
    assert main(["to-bag", *words]) == 0
    read = load_mapping(folder / "session" / "mapping.yaml")
    found = find_episodes([folder / "session"])
    assert not found.skipped
    episodes = []
    for episode in found.episodes:
        frames = EpisodeFrames(read, episode)
        assert len(frames.parts) == 1
        assert not frames.left_out
        episodes.append([copy.deepcopy(frame) for frame in frames.frames()])
    return read, episodes


def assert_same_dataset(
    dataset: Path, mapping: RobotMapping, episodes: list[list[DatasetFrame]]
) -> None:
    """Check the values of all frames, and the images of uncompressed cameras."""
    given = Dataset(dataset)
    assert [len(frames) for frames in episodes] == [one.length for one in given.episodes]
    for episode, frames in zip(given.episodes, episodes, strict=True):
        for feature, rows in given.rows(episode, list(mapping.vectors)).items():
            values = np.stack([frame.vectors[feature] for frame in frames])
            assert np.abs(values - rows.astype(np.float64)).max() <= EXACT
        for name, camera in mapping.cameras.items():
            if not camera.topic.endswith("compressed"):
                images = given.images(IMAGES + name, episode)
                assert all(
                    np.array_equal(frame.images[name], image)
                    for frame, image in zip(frames, images, strict=True)
                )


@pytest.mark.parametrize(("kind", "fps"), list(zip(TYPES, (30, 7, 30, 30), strict=True)))
def test_positions_in_every_unit_and_message(tmp_path: Path, kind: str, fps: int) -> None:
    rng = np.random.default_rng(fps)
    columns: list[dict[str, Tensor]] = [
        {
            "observation.state": rng.uniform(-90, 90, (frames, 4)).astype(np.float32),
            "action": rng.uniform(-90, 90, (frames, 4)).astype(np.float32),
            "observation.images.front": rng.integers(0, 256, (frames, 8, 12, 3)).astype(np.uint8),
        }
        for frames in (95, 2, 40)
    ]
    names = {"observation.state": POSITIONS, "action": POSITIONS}
    dataset = write_frames(tmp_path / "dataset", columns, names, fps=fps)

    mapping, found = there_and_back(
        dataset,
        {
            "schema_version": 1,
            "robot_type": "arm",
            "rate_hz": fps,
            "joints": {name: {**joint, **GAINS} for name, joint in JOINTS.items()},
            "vectors": {
                "observation.state": [joint_state_source("joint_states", TYPES[0])],
                "action": [joint_state_source("sent", kind, joints=list(JOINTS))],
            },
            "cameras": {"front": {"topic": "front/image_raw", "height": 8, "width": 12}},
        },
        tmp_path,
    )

    assert_same_dataset(dataset, mapping, found)


@pytest.mark.real_data
def test_a_dataset_of_lerobot(shared_data: Path, tmp_path: Path) -> None:
    joints = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")
    dataset = shared_data / "act" / "dataset_v3"

    mapping, found = there_and_back(
        dataset,
        {
            "schema_version": 1,
            "robot_type": "so100_follower",
            "rate_hz": 30,
            "joints": {
                **{name: {"unit": "degrees"} for name in joints},
                "gripper": {"unit": "range_0_100", "low_rad": -0.17453, "high_rad": 1.74533},
            },
            "vectors": {
                "observation.state": [joint_state_source("joint_states", TYPES[0])],
                "action": [joint_state_source("leader/joint_states", TYPES[0])],
            },
            "cameras": {
                name: {"topic": f"{name}/image_raw", "height": 48, "width": 64}
                for name in ("laptop", "phone")
            },
        },
        tmp_path,
    )

    assert sum(map(len, found)) == 77
    assert_same_dataset(dataset, mapping, found)
