# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A recording becomes a dataset of LeRobot's, and that a recording: what was said is the same."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rosbags.highlevel import AnyReader

from lerobot_bridge.cli import main
from policy_core.interfaces import F64, Tensor

small: Any = importlib.import_module("src.model_tools.test.small_bag")
JOINTS = ("pan", "flex", "gripper")
FRAMES, HEIGHT, WIDTH = 45, 48, 64
PERIOD_NS = 33_333_333
EXACT = 1e-6
"""rad; a dataset has its values in single precision."""
PSNR_DB = 30.0
MAPPING = {
    "schema_version": 1,
    "robot_type": "arm",
    "rate_hz": 30,
    "joints": {
        "pan": {"unit": "degrees", "sign": -1, "zero_rad": 0.1},
        "flex": {"unit": "range_m100_100", "low_rad": -1.7, "high_rad": 1.6},
        "gripper": {"unit": "range_0_100", "low_rad": -0.2, "high_rad": 1.8},
    },
    "vectors": {
        "observation.state": [{"topic": "joint_states", "type": "sensor_msgs/msg/JointState"}],
        "action": [{"topic": "leader/joint_states", "type": "sensor_msgs/msg/JointState"}],
    },
    "cameras": {"front": {"topic": "front/image_raw", "height": HEIGHT, "width": WIDTH}},
}


@pytest.mark.parametrize("stored", ["images", "video"])
def test_what_was_said_comes_back(tmp_path: Path, stored: str) -> None:
    (tmp_path / "mapping.yaml").write_text(yaml.safe_dump(MAPPING, sort_keys=False), "utf-8")
    mapping, images = ("--mapping", str(tmp_path / "mapping.yaml")), stored == "images"
    bag = record_arm(tmp_path / "recorded")

    dataset, session = str(tmp_path / "dataset"), str(tmp_path / "session")
    how = ["--task", "Stack", "--processes", "1", *(["--images"] if images else [])]
    assert main(["convert", str(bag), *mapping, *how, "--output", dataset]) == 0
    assert main(["to-bag", dataset, *mapping, "--output", session]) == 0

    again = tmp_path / "session" / "episode_0000"
    for topic in ("/joint_states", "/leader/joint_states"):
        given, found = joint_positions(bag, topic), joint_positions(again, topic)
        assert given.shape == found.shape == (FRAMES, len(JOINTS))
        assert np.abs(given - found).max() <= EXACT
    error = front_images(again).astype(np.float64) - front_images(bag).astype(np.float64)
    if images:
        assert not error.any()
    else:
        assert 20 * np.log10(255 / np.sqrt((error**2).mean())) >= PSNR_DB


def record_arm(folder: Path) -> Path:
    """Record an arm that moves, and images in which something does, a message each frame."""
    rng, make = np.random.default_rng(4), small.TYPES.types
    said = []
    for frame in range(FRAMES):
        time_ns = (31 + frame) * PERIOD_NS
        for topic in ("/joint_states", "/leader/joint_states"):
            said.append(
                (
                    topic,
                    time_ns,
                    make["sensor_msgs/msg/JointState"](
                        header=small.header(time_ns),
                        name=list(JOINTS),
                        velocity=np.empty(0),
                        effort=np.empty(0),
                        position=rng.uniform(-1.5, 1.5, len(JOINTS)),
                    ),
                )
            )
        said.append(
            (
                "/front/image_raw",
                time_ns,
                make["sensor_msgs/msg/Image"](
                    header=small.header(time_ns),
                    height=HEIGHT,
                    width=WIDTH,
                    encoding="rgb8",
                    is_bigendian=0,
                    step=3 * WIDTH,
                    data=scene(frame).reshape(-1),
                ),
            )
        )
    recorded: Path = small.write_bag(folder, said)
    return recorded


def scene(frame: int) -> Tensor:
    """Return a smooth ground with a bright block that moves."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    found = np.stack([60 + x, 40 + 2 * y, 90 + x - y], axis=-1).astype(np.uint8)
    found[16:32, frame : frame + 16] = (200, 180, 60)
    return found


def joint_positions(bag: Path, topic: str) -> F64:
    return np.stack([message.position for message in messages_on(bag, topic)])


def front_images(bag: Path) -> Tensor:
    return np.stack(
        [message.data.reshape(HEIGHT, WIDTH, 3) for message in messages_on(bag, "/front/image_raw")]
    )


def messages_on(bag: Path, topic: str) -> list[Any]:
    with AnyReader([bag], default_typestore=small.TYPES) as reader:
        chosen = [one for one in reader.connections if one.topic == topic]
        return [
            reader.deserialize(data, connection.msgtype)
            for connection, _, data in reader.messages(connections=chosen)
        ]
