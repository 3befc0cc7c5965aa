# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`lerobot_bridge to-bag`: the content of the recordings, read with rosbags alone."""

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from lerobot_bridge.cli import main
from policy_core.interfaces import F64, Tensor
from testkit.lerobot_frames import write_frames
from testkit.wording import check_wording, lines_with

FPS, PERIOD_NS, FRAMES = 20, 50_000_000, 6
STATE = ["pan.pos", "gripper.pos"]
BASE = ["x.vel", "theta.vel"]
VECTORS = {
    "observation.state": STATE,
    "action": [*STATE, *BASE],
    "observation.speed": ["pan.vel"],
    "observation.height": ["height"],
    "observation.grip": ["gripper.pos"],
}
MAPPING: dict[str, Any] = yaml.safe_load("""
schema_version: 1
robot_type: mobile_arm
rate_hz: 20
joints:
  pan: {unit: degrees, ros_name: Rotation, sign: -1, zero_rad: 0.1}
  gripper: {unit: range_0_100, low_rad: -0.2, high_rad: 1.8}
vectors:
  observation.state: [{topic: joint_states, type: sensor_msgs/msg/JointState}]
  action:
    - {topic: arm/joint_trajectory, type: trajectory_msgs/msg/JointTrajectory}
    - {topic: cmd_vel, type: geometry_msgs/msg/TwistStamped,
       fields: {x.vel: twist.linear.x, theta.vel: twist.angular.z}}
  observation.speed:
    - {topic: joint_states, type: sensor_msgs/msg/JointState, joints: [pan], quantity: velocity}
  observation.height:
    - {topic: odom, type: nav_msgs/msg/Odometry, fields: {height: pose.pose.position.z}}
  observation.grip:
    - {topic: grip, type: std_msgs/msg/Float64MultiArray, joints: [gripper]}
cameras:
  front: {topic: front/image_raw, height: 24, width: 32}
  wrist: {topic: wrist/image_raw/compressed, height: 24, width: 32}
""")
Said = list[tuple[int, str, Any]]
ToBag = Callable[..., int]


def smooth_images(seed: int) -> Tensor:
    """Return smooth images in different colours, which JPEG hardly changes."""
    small = np.random.default_rng(seed).integers(0, 256, (FRAMES, 3, 4, 3)).astype(np.uint8)
    return np.stack([cv2.resize(one, (32, 24), interpolation=cv2.INTER_CUBIC) for one in small])


def episode_columns(seed: int = 0) -> dict[str, Tensor]:
    rng = np.random.default_rng(seed)
    return {
        "observation.state": rng.uniform(0, 90, (FRAMES, 2)).astype(np.float32),
        "action": rng.uniform(0, 90, (FRAMES, 4)).astype(np.float32),
        "observation.speed": rng.uniform(-9, 9, (FRAMES, 1)).astype(np.float32),
        "observation.height": rng.uniform(0, 1, (FRAMES, 1)).astype(np.float32),
        "observation.grip": rng.uniform(0, 100, (FRAMES, 1)).astype(np.float32),
        "observation.images.front": smooth_images(seed),
        "observation.images.wrist": smooth_images(seed + 1),
    }


def dataset_of(folder: Path, *episodes: dict[str, Tensor], **changes: Any) -> Path:
    names = changes.pop("names", VECTORS)
    return write_frames(
        folder,
        episodes or [episode_columns()],
        names,
        **{"fps": FPS, "tasks": ("Stack", "Sort"), **changes},
    )


@pytest.fixture
def to_bag(tmp_path: Path) -> ToBag:
    def run(dataset: Path, *arguments: str, mapping: dict[str, Any] = MAPPING) -> int:
        file = tmp_path / "given.yaml"
        file.write_text(yaml.safe_dump(mapping, sort_keys=False), "utf-8")
        words = [str(dataset), "--mapping", str(file), "--output", str(tmp_path / "session")]
        return main(["to-bag", *words, *arguments])

    return run


def said_in(folder: Path) -> Said:
    """Return (log time in ns, topic, message) for each recorded message, in log order."""
    with AnyReader([folder], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
        return [
            (log_ns, connection.topic, reader.deserialize(data, connection.msgtype))
            for connection, log_ns, data in reader.messages()
        ]


@pytest.fixture
def episode_said(tmp_path: Path, to_bag: ToBag) -> Callable[..., Said]:
    def convert(*given: dict[str, Tensor], **changes: Any) -> Said:
        assert to_bag(dataset_of(tmp_path / "dataset", *given, **changes)) == 0
        return said_in(tmp_path / "session" / "episode_0000")

    return convert


def on(said: Said, topic: str) -> list[Any]:
    return [message for _, name, message in said if name == topic]


def stamp_ns(message: Any) -> int:
    return int(message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec)


def rad(pan: Tensor, gripper: Tensor) -> F64:
    """Return the positions in rad, computed without the mapping."""
    return np.stack(
        [
            -np.radians(pan.astype(np.float64)) + 0.1,
            -0.2 + 2.0 * gripper.astype(np.float64) / 100.0,
        ],
        axis=1,
    )


def test_each_value_is_on_its_topic_in_rad(episode_said: Callable[..., Said]) -> None:
    given = episode_columns()
    said = episode_said(given)

    states = on(said, "/joint_states")
    assert all(one.name == ["Rotation", "gripper"] for one in states)
    np.testing.assert_allclose(
        [one.position for one in states], rad(*given["observation.state"].T), atol=1e-12
    )
    np.testing.assert_allclose(
        [one.velocity[0] for one in states],
        -np.radians(given["observation.speed"][:, 0]),
        atol=1e-7,
    )
    assert all(math.isnan(one.velocity[1]) for one in states)
    trajectories = on(said, "/arm/joint_trajectory")
    assert all(one.joint_names == ["Rotation", "gripper"] for one in trajectories)
    np.testing.assert_allclose(
        [one.points[0].positions for one in trajectories], rad(*given["action"].T[:2]), atol=1e-12
    )
    twists = [one.twist for one in on(said, "/cmd_vel")]
    np.testing.assert_array_equal(
        [[one.linear.x, one.angular.z] for one in twists], given["action"][:, 2:]
    )
    np.testing.assert_array_equal(
        [one.pose.pose.position.z for one in on(said, "/odom")], given["observation.height"][:, 0]
    )
    np.testing.assert_allclose(
        [one.data for one in on(said, "/grip")],
        -0.2 + 0.02 * given["observation.grip"].astype(np.float64),
    )


def test_images_are_what_they_were_or_jpegs(episode_said: Callable[..., Said]) -> None:
    given = episode_columns()
    said = episode_said(given)

    raw = on(said, "/front/image_raw")
    assert {(one.height, one.width, one.encoding, one.step) for one in raw} == {
        (24, 32, "rgb8", 96)
    }
    np.testing.assert_array_equal(
        [one.data.reshape(24, 32, 3) for one in raw], given["observation.images.front"]
    )
    jpegs = on(said, "/wrist/image_raw/compressed")
    assert {one.format for one in jpegs} == {"jpeg"}
    found: list[Any] = [cv2.imdecode(one.data, cv2.IMREAD_COLOR) for one in jpegs]
    error = np.stack(found)[..., ::-1] - given["observation.images.wrist"].astype(np.float64)
    assert 20 * math.log10(255 / np.sqrt((error**2).mean())) > 30


def test_all_of_a_frame_have_its_stamp_and_the_action_comes_last(
    episode_said: Callable[..., Said],
) -> None:
    said = episode_said()

    assert all(
        stamp_ns(message) == log_ns for log_ns, _, message in said if hasattr(message, "header")
    )
    times = sorted({log_ns for log_ns, _, _ in said})
    assert times[0] == 1_000_000_000
    assert times[0] % PERIOD_NS == 0
    assert np.diff(times).tolist() == [PERIOD_NS] * (FRAMES - 1)
    assert [topic for log_ns, topic, _ in said if log_ns == times[2]] == [
        "/joint_states",
        "/odom",
        "/grip",
        "/front/image_raw",
        "/wrist/image_raw/compressed",
        "/arm/joint_trajectory",
        "/cmd_vel",
    ]


def test_the_sidecar_says_what_the_dataset_says(tmp_path: Path, to_bag: ToBag) -> None:
    flags = {
        "next.success": np.arange(FRAMES) == FRAMES - 1,
        "intervention": np.array([1, 0, 0, 1, 1, 0], bool),
    }
    judged, failed = {**episode_columns(0), **flags}, {**episode_columns(1), **flags}
    failed["next.success"] = np.zeros(FRAMES, bool)
    assert to_bag(dataset_of(tmp_path / "dataset", judged, failed)) == 0
    found = [
        json.loads((tmp_path / "session" / name / "episode.json").read_text("utf-8"))
        for name in ("episode_0000", "episode_0001")
    ]

    assert [one["task"] for one in found] == ["Stack", "Sort"]
    assert [one["number"] for one in found] == [0, 1]
    assert [one["success"] for one in found] == [True, False]
    begin = 1_000_000_000
    assert found[0]["interventions"] == [
        [begin, begin + PERIOD_NS],
        [begin + 3 * PERIOD_NS, begin + 5 * PERIOD_NS],
    ]
    assert found[0]["rate_hz"] == FPS


def test_the_mapping_lies_beside_the_chosen_episodes(tmp_path: Path, to_bag: ToBag) -> None:
    dataset = dataset_of(tmp_path / "dataset", *(episode_columns(i) for i in range(4)))

    assert to_bag(dataset, "--episodes", "1-2") == 0
    session = tmp_path / "session"

    assert sorted(path.name for path in session.iterdir()) == [
        "episode_0001",
        "episode_0002",
        "mapping.yaml",
    ]
    assert yaml.safe_load((session / "mapping.yaml").read_text("utf-8")) == MAPPING
    np.testing.assert_array_equal(
        [one.twist.linear.x for one in on(said_in(session / "episode_0002"), "/cmd_vel")],
        episode_columns(2)["action"][:, 2],
    )


def bag_mapping_with(**changes: Any) -> dict[str, Any]:
    """Return the mapping with changed entries; a key is a path joined by __."""
    mapping: dict[str, Any] = copy.deepcopy(MAPPING)
    for path, value in changes.items():
        *parents, last = path.split("__")
        node = mapping
        for name in parents:
            node = node[name]
        node[last] = value
    return mapping


def vector_of(name: str, topic: str, kind: str, **more: Any) -> dict[str, Any]:
    source = {"topic": topic, "type": kind, **more}
    return bag_mapping_with(**{f"vectors__observation.{name}": [source]})


GRIP_OF_STATES = vector_of("grip", "joint_states", "sensor_msgs/msg/JointState", joints=["gripper"])


@pytest.mark.parametrize(
    "mapping",
    [
        bag_mapping_with(rate_hz=30),
        bag_mapping_with(cameras__side={"topic": "side/image_raw", "height": 24, "width": 32}),
        bag_mapping_with(cameras__front__height=48),
        bag_mapping_with(joints__wrist={"unit": "degrees"}),
        vector_of("tactile", "touch", "std_msgs/msg/Float64", fields={"touch": "data"}),
        vector_of("height", "odom", "my_msgs/msg/Height", fields={"height": "height"}),
        vector_of("height", "odom", "nav_msgs/msg/Odometry", fields={"height": "pose.height"}),
        GRIP_OF_STATES,
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(
    tmp_path: Path, to_bag: ToBag, caplog: pytest.LogCaptureFixture, mapping: dict[str, Any]
) -> None:
    assert to_bag(dataset_of(tmp_path / "dataset"), mapping=mapping) == 4
    check_wording(*caplog.messages)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset", "given.yaml"]


def test_joints_without_an_ending_are_positions(episode_said: Callable[..., Said]) -> None:
    given = episode_columns()
    names = {**VECTORS, "observation.state": ["gripper", "pan"]}
    states = on(episode_said(given, names=names), "/joint_states")

    np.testing.assert_allclose(
        [one.position for one in states], rad(*given["observation.state"].T[::-1]), atol=1e-12
    )


def test_what_no_topic_carries_is_left_out_and_named(
    tmp_path: Path, to_bag: ToBag, caplog: pytest.LogCaptureFixture
) -> None:
    given = {
        **episode_columns(),
        "observation.environment_state": np.zeros((FRAMES, 3), np.float32),
    }

    assert to_bag(dataset_of(tmp_path / "dataset", given)) == 0
    check_wording(*lines_with(caplog.messages, "observation.environment_state"))
