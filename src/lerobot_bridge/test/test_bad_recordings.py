# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Errors in recordings are reported with topic, time, expected, found and remedy."""

from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lerobot_bridge.episode import EpisodeSidecar, Span, write_sidecar
from lerobot_bridge.episodes import find_episodes
from lerobot_bridge.frames import EpisodeFrames
from lerobot_bridge.mapping import RobotMapping
from model_tools.errors import ToolError
from testkit.bags import MS, S, Said
from testkit.wording import check_wording, refusal

from .bags import (
    LEADER,
    START_NS,
    STATE,
    arm_mapping,
    break_image,
    episode_of,
    leave_out,
    say_arm,
    say_compressed,
    say_images,
    say_joints,
    state_source,
    times_ns,
    twist,
    write_rosbag,
)

STATES, LEADERS, IMAGES = "/joint_states", "/leader/joint_states", "/front/image_raw"


def read_frames(
    folder: Path, said: Sequence[Said], mapping: RobotMapping | None = None, **episode: Any
) -> EpisodeFrames:
    bag = write_rosbag(folder / "bag", said)
    frames = EpisodeFrames(mapping or arm_mapping(), episode_of(bag, **episode))
    frames.refuse_gaps()
    for _ in frames.frames():
        pass
    return frames


def arm_with(topic: str, *said: Said, begin_ms: float = 0, end_ms: float = 2000) -> list[Said]:
    """Replace the messages on a topic for some time."""
    return [*leave_out(say_arm(), topic, begin_ms, end_ms), *said]


def arm_of_another_clock() -> list[Said]:
    return [
        *say_joints(times_ns(10, 1000), stamp_ns=S),
        *say_joints(times_ns(10, 1000), LEADERS, stamp_ns=S),
        *say_images(times_ns(50, 1000), stamp_ns=S),
    ]


def refuse(folder: Path, said: Sequence[Said], **given: Any) -> None:
    with refusal(ToolError):
        read_frames(folder, said, **given)


@pytest.mark.parametrize("offset_s", [3600.0, -0.8])
def test_a_topic_of_another_clock_is_named(tmp_path: Path, offset_s: float) -> None:
    """For example, a camera stamps images with the time since the computer was switched on."""
    said = arm_with(
        IMAGES, *say_images(times_ns(50, 1000), stamp_ns=START_NS + round(offset_s * S))
    )

    refuse(tmp_path, said)


def test_clocks_that_differ_by_the_way_of_a_message_are_one(tmp_path: Path) -> None:
    said = arm_with(IMAGES, *say_images(times_ns(50, 1000), stamp_ns=START_NS - 90 * MS))

    assert len(read_frames(tmp_path, said).parts[0]) == 21


def test_one_clock_need_not_be_that_of_the_log(tmp_path: Path) -> None:
    frames = read_frames(tmp_path, arm_of_another_clock())

    assert frames.parts[0].tolist() == [S + t for t in times_ns(50, 1000)]


@pytest.mark.parametrize("by", ["span", "interventions", "twist"])
def test_what_goes_by_the_log_needs_its_clock(tmp_path: Path, by: str) -> None:
    said = [*arm_of_another_clock(), *(twist(t, 0.0) for t in times_ns(10, 1000))]
    span = Span(START_NS, START_NS + S)
    given = {"span": span} if by == "span" else {"interventions": (span,)}
    base = {"topic": "cmd_vel", "type": "geometry_msgs/msg/Twist", "fields": {"x.vel": "linear.x"}}
    mapping = arm_mapping(vectors={"observation.state": [STATE], "action": [base]})

    refuse(tmp_path, said, **{"mapping": mapping} if by == "twist" else given)


def interleaved(topic: str, *, late_ms: float, stamp_late_ms: float) -> list[Said]:
    """Return two arms on one topic, 1 rad apart; the second is logged and stamped later."""
    other = [round(t + late_ms * MS) for t in times_ns(20, 1000)]
    late_ns = round((stamp_late_ms - late_ms) * MS)
    return [
        *say_joints(times_ns(20, 1000), topic),
        *say_joints(other, topic, position=np.array([0.2, 9.0, 1.5]), stamp_ns=START_NS + late_ns),
    ]


def test_two_publishers_whose_stamps_run_to_and_fro_are_refused(tmp_path: Path) -> None:
    said = arm_with(STATES, *interleaved(STATES, late_ms=4, stamp_late_ms=-7))

    refuse(tmp_path, said)


def test_stamps_of_one_publisher_that_go_back_need_not_count(tmp_path: Path) -> None:
    said = arm_with(
        STATES, *say_joints(times_ns(10, 1000, 500), stamp_ns=START_NS - 20 * MS), begin_ms=500
    )
    received = arm_mapping(
        vectors={"observation.state": [state_source(stamp="received")], "action": [LEADER]}
    )

    refuse(tmp_path / "stamped", said)
    assert len(read_frames(tmp_path / "logged", said, received).parts[0]) == 21


@pytest.mark.parametrize(
    "said",
    [
        say_images(times_ns(50, 1000), encoding="bayer_rggb8"),
        say_images(times_ns(50, 1000), size=(32, 24)),
        say_compressed(times_ns(50, 1000), end=".bmp"),
    ],
)
def test_images_that_are_not_as_the_mapping_says_are_named(
    tmp_path: Path, said: Sequence[Said]
) -> None:
    refuse(tmp_path, arm_with(IMAGES, *said))


@pytest.mark.parametrize(
    "changes",
    [
        {"position": np.array([1.0, 9.0, np.nan])},
        {"position": np.array([1.0, 9.0, 45.0])},
        {"position": np.array([60.0, 9.0, 0.0])},
    ],
)
def test_joints_that_are_not_as_the_mapping_says_are_named(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    said = arm_with(STATES, *say_joints(times_ns(10, 1000, 500), **changes), begin_ms=500)

    refuse(tmp_path, said)


def test_values_a_little_outside_of_their_range_are_reported(tmp_path: Path) -> None:
    said = arm_with(STATES, *say_joints(times_ns(10, 1000), position=np.array([2.5, 9.0, 2.05])))

    (outside,) = read_frames(tmp_path, said).ranges["observation.state"].outside

    assert (outside.name, outside.messages, outside.worst) == ("gripper.pos", 21, 125.0)
    assert (outside.low, outside.high) == (0.0, 100.0)


@pytest.mark.parametrize(
    "said",
    [
        leave_out(say_arm(), LEADERS, 0, 2000),
        [*leave_out(say_arm(), LEADERS, 0, 2000), twist(0, 0.0, LEADERS)],
        say_arm(0),
        [],
    ],
)
def test_recordings_of_something_else_are_refused(tmp_path: Path, said: Sequence[Said]) -> None:
    refuse(tmp_path, said)


def test_what_the_recorder_noted_is_a_reason(tmp_path: Path) -> None:
    bag = write_rosbag(tmp_path / "bag", say_arm(1000))
    write_sidecar(bag, EpisodeSidecar(number=0, task="wave", rate_hz=20, problems=("two leaders",)))
    (episode,) = find_episodes([bag]).episodes

    with refusal(ToolError):
        EpisodeFrames(arm_mapping(), episode)


def test_an_episode_without_messages_is_refused(tmp_path: Path) -> None:
    span = Span(START_NS + 5 * S, START_NS + 6 * S)

    refuse(tmp_path, [*say_arm(), *say_joints(times_ns(10, 7000))], span=span)


def test_a_clock_that_was_set_forward_is_named(tmp_path: Path) -> None:
    """NTP may set it after the start; frames for the gap would not fit into memory."""
    ahead_s = 1_700_000_000
    ahead = arm_with(IMAGES, *say_images(times_ns(50, 1000), stamp_ns=START_NS + ahead_s * S))
    for topic in (STATES, LEADERS):
        ahead = [each for each in ahead if each[0] != topic]
        ahead += say_joints(times_ns(10, 1000), topic, stamp_ns=START_NS + ahead_s * S)
    after = [(topic, log_ns + ahead_s * S, message) for topic, log_ns, message in ahead]
    bag = write_rosbag(tmp_path / "bag", [*say_arm(), *after])

    with refusal(ToolError):
        EpisodeFrames(arm_mapping(), episode_of(bag))


def arm_with_broken(images: Container[int]) -> list[Said]:
    said = enumerate(say_compressed(times_ns(50, 4000)))
    seen = [break_image(each) if i in images else each for i, each in said]
    return [*leave_out(say_arm(4000), IMAGES, 0, 5000), *seen]


def test_motion_is_not_made_faster_by_messages_that_cannot_be_read(tmp_path: Path) -> None:
    refuse(tmp_path, arm_with_broken(range(1, 81, 2)))


def test_messages_that_cannot_be_read_are_closed_up(tmp_path: Path) -> None:
    frames = read_frames(tmp_path, arm_with_broken((8, 20, 30)))

    assert frames.closed_up == 3
    check_wording(frames.unreadable[0])
