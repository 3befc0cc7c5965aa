# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The frames of recordings are those that LeRobot would have recorded."""

import math
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from lerobot_bridge.episode import Span
from lerobot_bridge.frames import EpisodeFrames
from model_tools.errors import ToolError
from testkit.bags import MS, S
from testkit.wording import refusal

from .bags import (
    LEADER,
    START_NS,
    STATE,
    arm_mapping,
    episode_of,
    leave_out,
    say_arm,
    say_compressed,
    say_images,
    say_joints,
    times_ns,
    twist,
    write_rosbag,
)

FRONT = {"topic": "front/image_raw", "height": 16, "width": 24}
BY_ARRIVAL = {
    "pairing": {"rule": "newest"},
    "vectors": {"observation.state": [{**STATE, "stamp": "received"}], "action": [LEADER]},
    "cameras": {"front": {**FRONT, "stamp": "received"}},
}


@pytest.mark.parametrize(
    ("storage", "compression", "rule"),
    [
        (StoragePlugin.MCAP, CompressionMode.NONE, {}),
        (StoragePlugin.SQLITE3, CompressionMode.NONE, BY_ARRIVAL),
        (StoragePlugin.MCAP, CompressionMode.STORAGE, {}),
        (StoragePlugin.SQLITE3, CompressionMode.FILE, {}),
        (StoragePlugin.SQLITE3, CompressionMode.MESSAGE, {}),
    ],
)
def test_a_frame_has_the_newest_of_everything(
    tmp_path: Path, storage: StoragePlugin, compression: CompressionMode, rule: dict[str, object]
) -> None:
    said = [
        *say_joints(times_ns(10, 1000)),
        *say_images(times_ns(30, 1000, 7)),
        *say_joints(times_ns(20, 1000, 5), "/leader/joint_states", offset_rad=0.05),
    ]
    bag = write_rosbag(tmp_path / "bag", said, storage, compression)

    frames = EpisodeFrames(arm_mapping(**rule), episode_of(bag))

    moments_ms = list(range(7, 1001, 50))
    assert [len(part) for part in frames.parts] == [len(moments_ms)]
    assert not frames.left_out
    for frame, ms in zip(frames.frames(), moments_ms, strict=True):
        assert frame.time_ns == START_NS + ms * MS
        # An eighth of a period is 6.25 ms: the message 3 ms after the moment belongs to it.
        state, leader = ms + 3, ms + 6 - (ms + 1) % 20
        np.testing.assert_allclose(
            frame.vectors["observation.state"], [math.degrees(state / 1e4), 50.0], atol=1e-9
        )
        np.testing.assert_allclose(
            frame.vectors["action"], [math.degrees(leader / 1e4 + 0.05), 50.0], atol=1e-9
        )
        image = frame.images["front"]
        assert image.shape == (16, 24, 3)
        assert image[3, 4].tolist() == [(ms - (ms - 7) % 30) // 10, 50, 100]


@pytest.mark.parametrize(("rule", "state_ms"), [({}, 400), (BY_ARRIVAL, 450)])
def test_an_image_that_is_shown_again_comes_with_the_values_of_its_rule(
    tmp_path: Path, rule: dict[str, object], state_ms: int
) -> None:
    bag = write_rosbag(tmp_path / "bag", leave_out(say_arm(), "/front/image_raw", 410, 460))

    frame = list(EpisodeFrames(arm_mapping(**rule), episode_of(bag)).frames())[9]

    assert frame.time_ns == START_NS + 450 * MS
    assert frame.images["front"][0, 0, 0] == 40
    pan = [math.radians(frame.vectors[name][0]) for name in ("observation.state", "action")]
    np.testing.assert_allclose(pan, [state_ms / 1e4, 0.045 + 0.05], atol=1e-9)


@pytest.mark.parametrize(("tolerance_s", "count"), [(0.02, 0), (0.05, 21)])
def test_images_of_different_times_make_no_frame(
    tmp_path: Path, tolerance_s: float, count: int
) -> None:
    said = [*say_arm(1025), *say_images(times_ns(50, 1025, 25), "/wrist/image_raw")]
    wrist = {**FRONT, "topic": "wrist/image_raw"}
    mapping = arm_mapping(
        cameras={"front": FRONT, "wrist": wrist}, pairing={"tolerance_s": tolerance_s}
    )
    episode = episode_of(write_rosbag(tmp_path / "bag", said))

    if count:
        assert len(list(EpisodeFrames(mapping, episode).frames())) == count
        return
    with refusal(ToolError):
        EpisodeFrames(mapping, episode)


def test_each_image_of_a_trembling_camera_is_in_its_frame(tmp_path: Path) -> None:
    """The first image is on time; later ones are early or late by up to 3 ms."""
    trembles = [round((i / 20 + 0.003 * math.sin(i)) * S) for i in range(100)]
    said = [
        *say_joints(times_ns(10, 5000)),
        *say_joints(times_ns(10, 5000), "/leader/joint_states"),
        *say_images(trembles),
    ]

    frames = EpisodeFrames(arm_mapping(), episode_of(write_rosbag(tmp_path / "bag", said)))

    reds = [frame.images["front"][0, 0, 0] for frame in frames.frames()]
    assert reds[:100] == [t // (10 * MS) % 256 for t in trembles]


@pytest.mark.parametrize("end", [".png", ".jpg"])
def test_images_may_be_compressed_and_of_another_size(tmp_path: Path, end: str) -> None:
    said = [each for each in say_arm() if each[0] != "/front/image_raw"]
    said += say_compressed(times_ns(50, 1000), end=end, size=(32, 48))
    camera = {"topic": "front/image_raw", "height": 16, "width": 24, "resize": True}

    frames = EpisodeFrames(
        arm_mapping(cameras={"front": camera}), episode_of(write_rosbag(tmp_path / "bag", said))
    )

    images = [frame.images["front"].copy() for frame in frames.frames()]
    for i, image in enumerate(images):
        assert image.shape == (16, 24, 3)
        np.testing.assert_allclose(image[8, 8], [5 * i, 50, 100], atol=3)


def test_what_has_no_stamp_counts_when_it_came(tmp_path: Path) -> None:
    said = [*say_arm(), *(twist(t, t / S) for t in times_ns(25, 1000))]
    fields = {"x.vel": "linear.x", "theta.vel": "angular.z"}
    mapping = arm_mapping(
        vectors={
            "observation.state": [STATE],
            "action": [
                LEADER,
                {"topic": "cmd_vel", "type": "geometry_msgs/msg/Twist", "fields": fields},
            ],
        }
    )

    found = list(EpisodeFrames(mapping, episode_of(write_rosbag(tmp_path / "bag", said))).frames())

    assert [round(frame.vectors["action"][2], 6) for frame in found] == [i / 20 for i in range(21)]


@pytest.mark.parametrize(
    ("rule", "missing"),
    [
        ({"resample": "as_of"}, 2),  # two periods: 100 ms
        ({"resample": "as_of", "tolerance_s": 0.15}, 1),
        ({"resample": "drop"}, 4),
        ({"resample": "hold"}, 0),
    ],
)
def test_a_frame_without_a_message_of_everything_is_left_out(
    tmp_path: Path, rule: dict[str, object], missing: int
) -> None:
    bag = write_rosbag(tmp_path / "bag", leave_out(say_arm(), "/leader/joint_states", 410, 645))
    mapping = arm_mapping(
        vectors={"observation.state": [STATE], "action": [{**LEADER, **rule}]}, max_gap_frames=4
    )

    frames = EpisodeFrames(mapping, episode_of(bag))

    assert len(list(frames.frames())) == 21 - missing
    assert frames.closed_up == missing
    assert [(each.name, each.frames) for each in frames.left_out] == (
        [("action", missing)] if missing else []
    )
    for each in frames.left_out:
        assert each.longest_s == pytest.approx(0.25)
        assert each.at_ns == START_NS + 400 * MS


def test_long_gaps_part_an_episode(tmp_path: Path) -> None:
    bag = write_rosbag(tmp_path / "bag", leave_out(say_arm(), "/front/image_raw", 400, 700))

    frames = EpisodeFrames(arm_mapping(), episode_of(bag))

    assert [((part - START_NS) // MS).tolist() for part in frames.parts] == [
        list(range(0, 451, 50)),
        list(range(700, 1001, 50)),
    ]
    assert frames.closed_up == 0
    assert [frame.images["front"][0, 0, 0] for frame in frames.frames(1)] == [
        70 + 5 * i for i in range(7)
    ]


@pytest.mark.parametrize(
    ("storage", "compression"),
    [(StoragePlugin.MCAP, CompressionMode.NONE), (StoragePlugin.SQLITE3, CompressionMode.FILE)],
)
def test_an_episode_is_what_happened_in_its_span(
    tmp_path: Path, storage: StoragePlugin, compression: CompressionMode
) -> None:
    """The newest image before the span counts, and so does an old message on a held topic."""
    said = [
        *say_joints(times_ns(10, 1000)),
        *say_images(times_ns(60, 1000)),
        *say_joints(times_ns(1, 100), "/leader/joint_states"),
    ]
    span = Span(START_NS + 410 * MS, START_NS + 610 * MS)
    mapping = arm_mapping(
        vectors={"observation.state": [STATE], "action": [{**LEADER, "resample": "hold"}]}
    )

    bag = write_rosbag(tmp_path / "bag", said, storage, compression)

    frames = EpisodeFrames(mapping, episode_of(bag, span=span))

    found = [
        (
            (frame.time_ns - START_NS) // MS,
            frame.images["front"][0, 0, 0],
            frame.vectors["action"][0],
        )
        for frame in frames.frames()
    ]
    assert [(ms, red) for ms, red, _ in found] == [(410, 36), (460, 42), (510, 48), (560, 54)]
    assert [action for _, _, action in found] == [pytest.approx(math.degrees(0.01))] * 4


def test_interventions_are_marked(tmp_path: Path) -> None:
    spans = (Span(START_NS + 100 * MS, START_NS + 200 * MS),)

    frames = EpisodeFrames(
        arm_mapping(), episode_of(write_rosbag(tmp_path / "bag", say_arm(400)), interventions=spans)
    )

    flags = [frame.intervention for frame in frames.frames()]
    assert flags == [i in (2, 3) for i in range(9)]
