# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a recording is named: topic, time, expected, found, remedy."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from lerobot_bridge.episode import EpisodeSidecar, Span, write_sidecar
from lerobot_bridge.episodes import find_episodes
from lerobot_bridge.frames import EpisodeFrames
from lerobot_bridge.mapping import RobotMapping
from model_tools.errors import ToolError

from .bags import (
    LEADER,
    MS,
    NAMES,
    START_NS,
    STATE,
    TYPES,
    S,
    Said,
    arm,
    changed,
    compressed,
    episode_of,
    images,
    joints,
    mapping_of,
    mark,
    times,
    twist,
    without,
    write_bag,
)

STATES, LEADERS, IMAGES = "/joint_states", "/leader/joint_states", "/front/image_raw"


def read(
    folder: Path, said: Sequence[Said], mapping: RobotMapping | None = None, **episode: Any
) -> EpisodeFrames:
    """Read all frames of a recording."""
    bag = write_bag(folder / "bag", said)
    frames = EpisodeFrames(mapping or mapping_of(), episode_of(bag, **episode))
    frames.refuse_gaps()
    for _ in frames.frames():
        pass
    return frames


def replaced(topic: str, *said: Said, begin_ms: float = 0, end_ms: float = 2000) -> list[Said]:
    """Say something else on a topic for some time."""
    return [*without(arm(), topic, begin_ms, end_ms), *said]


def refuse(folder: Path, said: Sequence[Said], message: str, **given: Any) -> None:
    with pytest.raises(ToolError, match=message):
        read(folder, said, **given)


@pytest.mark.parametrize("offset_s", [3600.0, 0.8, -0.8, -3600.0])
def test_a_topic_of_another_clock_is_named(tmp_path: Path, offset_s: float) -> None:
    """A camera that is stamped with the time since the computer was switched on, say."""
    said = replaced(IMAGES, *images(times(50, 1000), stamp_ns=START_NS + round(offset_s * S)))
    where = "ahead of" if offset_s > 0 else "behind"

    refuse(
        tmp_path,
        said,
        f"bag: {IMAGES}: expected stamps on the clock of {STATES}, found them "
        f"{abs(offset_s):.3f} s {where} it; write `stamp: received` where the mapping names "
        f"{IMAGES}, or record with one clock",
    )


def test_clocks_that_differ_by_the_way_of_a_message_are_one(tmp_path: Path) -> None:
    said = replaced(IMAGES, *images(times(50, 1000), stamp_ns=START_NS - 90 * MS))

    assert len(read(tmp_path, said).parts[0]) == 21


def test_one_clock_need_not_be_that_of_the_log(tmp_path: Path) -> None:
    """As in a simulation."""
    said = [
        *joints(times(10, 1000), stamp_ns=S),
        *joints(times(10, 1000), LEADERS, stamp_ns=S),
        *images(times(50, 1000), stamp_ns=S),
    ]

    assert read(tmp_path, said).parts[0].tolist() == [S + t for t in times(50, 1000)]


@pytest.mark.parametrize("by", ["span", "interventions", "twist"])
def test_what_goes_by_the_log_needs_its_clock(tmp_path: Path, by: str) -> None:
    said = [
        *joints(times(10, 1000), stamp_ns=S),
        *joints(times(10, 1000), LEADERS, stamp_ns=S),
        *images(times(50, 1000), stamp_ns=S),
        *(twist(t, 0.0) for t in times(10, 1000)),
    ]
    span = Span(START_NS, START_NS + S)
    given = {"span": span} if by == "span" else {"interventions": (span,)}
    base = {"topic": "cmd_vel", "type": "geometry_msgs/msg/Twist", "fields": {"x.vel": "linear.x"}}
    mapping = mapping_of(vectors={"observation.state": [STATE], "action": [base]})
    clock = "/cmd_vel" if by == "twist" else "the log"

    refuse(
        tmp_path,
        said,
        f"expected stamps on the clock of {clock}, found them 999.000 s behind",
        **({"mapping": mapping} if by == "twist" else given),
    )


def test_stamps_that_begin_again_are_named(tmp_path: Path) -> None:
    anew = joints(times(10, 1000, 500), stamp_ns=START_NS - 100 * S)
    refuse(
        tmp_path,
        replaced(STATES, *anew, begin_ms=500),
        f"{STATES} at 900.500 s: expected stamps that go on, found one 99.990 s before the "
        "last; the clock was reset: cut the recording there",
    )


def interleaved(topic: str, *, late_ms: float, stamp_late_ms: float) -> list[Said]:
    """Two arms on one topic, a rad apart, of which the second is logged and stamped later."""
    other = [round(t + late_ms * MS) for t in times(20, 1000)]
    late_ns = round((stamp_late_ms - late_ms) * MS)
    return [
        *joints(times(20, 1000), topic),
        *joints(other, topic, position=np.array([0.2, 9.0, 1.5]), stamp_ns=START_NS + late_ns),
    ]


@pytest.mark.parametrize("topic", [STATES, LEADERS])
def test_two_publishers_whose_stamps_run_to_and_fro_are_refused(tmp_path: Path, topic: str) -> None:
    said = replaced(topic, *interleaved(topic, late_ms=4, stamp_late_ms=-7))

    refuse(
        tmp_path,
        said,
        f"{topic} at 999.993 s: expected stamps that go on, found 51 of 102 "
        "before that of the message before, by up to 0.007 s: most likely two publishers are "
        "on the topic .*; record one of them, or, .* `stamp: received`",
    )


@pytest.mark.parametrize("topic", [STATES, LEADERS])
@pytest.mark.parametrize("velocity", [[0.0, 0.0, 0.1], []])
def test_two_publishers_whose_stamps_go_on_are_refused(
    tmp_path: Path, topic: str, velocity: list[float]
) -> None:
    said = replaced(topic, *interleaved(topic, late_ms=4, stamp_late_ms=4))
    for _, _, message in said:
        if hasattr(message, "velocity"):
            message.velocity = np.array(velocity)

    refuse(
        tmp_path,
        said,
        f"{topic} at 1000.000 s: expected the messages of one publisher, found "
        r"positions that jump to and fro by 1\.\d rad from message to message: .*; record one",
    )


def test_stamps_of_one_publisher_that_go_back_need_not_count(tmp_path: Path) -> None:
    said = replaced(
        STATES, *joints(times(10, 1000, 500), stamp_ns=START_NS - 20 * MS), begin_ms=500
    )
    received = mapping_of(
        vectors={"observation.state": [changed(stamp="received")], "action": [LEADER]}
    )

    refuse(tmp_path / "stamped", said, "found 1 of 101 before that of the message before")
    assert len(read(tmp_path / "logged", said, received).parts[0]) == 21


@pytest.mark.parametrize(
    "pan",
    [
        lambda t: 1.5 * math.sin(12 * t),  # as fast as arms are
        lambda t: 0.2 * math.sin(987 * t * t),
    ],
)  # trembling
def test_one_arm_that_moves_is_not_taken_for_two(
    tmp_path: Path, pan: Callable[[float], float]
) -> None:
    said = [
        each
        for t in times(33, 2000)
        for each in joints([t], position=np.array([1.0 + pan(t / S) / 2, 9.0, pan(t / S)]))
    ]

    assert len(read(tmp_path, [*without(arm(2000), STATES, 0, 3000), *said]).parts[0]) == 41


def test_a_log_whose_clock_was_set_back_is_refused(tmp_path: Path) -> None:
    """SQLite keeps the order of writing."""
    kind = "sensor_msgs/msg/JointState"
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        connection = writer.add_connection(STATES, kind, typestore=TYPES)
        for _, log_ns, message in [*joints(times(10, 8000)), *joints(times(10, 8000, 4000))]:
            writer.write(connection, log_ns, TYPES.serialize_cdr(message, kind))
    mapping = mapping_of(vectors={"observation.state": [STATE]}, cameras={})

    with pytest.raises(ToolError, match=f"{STATES} at .*: expected times in the log that go on"):
        EpisodeFrames(mapping, episode_of(tmp_path / "bag"))


def test_a_gap_is_named_with_its_topic_and_what_to_do(tmp_path: Path) -> None:
    refuse(
        tmp_path,
        without(arm(), IMAGES, 400, 700),
        "bag: expected frames without gaps of more than 1, found 1, the first 0.250 s long at "
        f"1000.450 s, since messages were missing: {IMAGES} for 0.350 s at 1000.350 s; "
        "--gaps split makes an episode of each part, a higher tolerance_s or max_gap_frames in "
        "the mapping closes them up",
    )


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            images(times(50, 1000), encoding="bayer_rggb8"),
            "expected one of the encodings rgb8, .*, found 'bayer_rggb8'",
        ),
        (
            images(times(50, 1000), size=(32, 24)),
            "expected an image of 24 x 16 pixels, found 24 x 32; set the camera to that size, or "
            "let its entry in the contract or mapping say `resize: true`",
        ),
        (
            compressed(times(50, 1000), end=".bmp"),
            "expected a JPEG or a PNG, found .* something else",
        ),
    ],
)
def test_images_that_are_not_as_the_mapping_says_are_named(
    tmp_path: Path, said: Sequence[Said], message: str
) -> None:
    refuse(tmp_path, replaced(IMAGES, *said), f"{IMAGES} at 1000.050 s: {message}")


def test_an_image_size_that_changes_is_named(tmp_path: Path) -> None:
    larger = images(times(50, 1000, 500), size=(32, 48))

    refuse(
        tmp_path,
        replaced(IMAGES, *larger, begin_ms=500),
        f"{IMAGES} at 1000.550 s: expected an image of 24 x 16 pixels, found 48 x 32",
    )


def broken(said: Said) -> Said:
    """Lose some bytes of a compressed image."""
    topic, log_ns, message = said
    message.data = message.data.copy()
    message.data[45:-20] = 0
    return topic, log_ns, message


def test_a_single_image_that_is_broken_is_left_out(tmp_path: Path) -> None:
    said = [broken(each) if i == 8 else each for i, each in enumerate(compressed(times(50, 1000)))]

    frames = read(tmp_path, replaced(IMAGES, *said))

    assert len(list(frames.frames())) == 20
    assert "/front/image_raw at 1000.400 s: expected a PNG of 24 x 16" in frames.unreadable[0]


def test_broken_images_in_a_row_are_refused(tmp_path: Path) -> None:
    said = [
        broken(each) if i in (8, 9) else each for i, each in enumerate(compressed(times(50, 1000)))
    ]

    refuse(tmp_path, replaced(IMAGES, *said), f"{IMAGES} at 1000.450 s: expected a PNG of 24")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"position": np.array([1.0, 9.0, np.nan])},
            r"pan\.pos: expected a finite value, found NaN",
        ),
        (
            {"name": ["gripper", "wheel", "shoulder"]},
            "expected each joint once, found missing: pan_joint; the message has gripper, wheel, "
            "shoulder",
        ),
        (
            {"name": ["gripper", "pan_joint", "pan_joint"]},
            "expected each joint once, found named twice: pan_joint",
        ),
        ({"position": np.array([1.0, 9.0])}, "expected 3 values, one per name, found 2"),
        ({"position": np.empty(0)}, "expected a position for each joint, found none"),
        (
            {"position": np.array([1.0, 9.0, 45.0])},
            r"pan\.pos: expected a position between -114.6 and 114.6 in LeRobot's units, "
            r"found 2578: most "
            "likely the topic does not use rad as ROS does, or the mapping's range or limits",
        ),
        (
            {"position": np.array([60.0, 9.0, 0.0])},
            r"gripper\.pos: expected a position between 0 and 100 in LeRobot's units, found 3000",
        ),
    ],
)
def test_joints_that_are_not_as_the_mapping_says_are_named(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    """From the middle on."""
    said = replaced(STATES, *joints(times(10, 1000, 500), **changes), begin_ms=500)

    refuse(tmp_path, said, f"{STATES} at 1000.550 s: {message}")


def test_joints_may_change_their_order(tmp_path: Path) -> None:
    turned = joints(times(10, 1000, 500), name=NAMES[::-1], position=np.array([0.5, 9.0, 1.0]))
    frames = read(tmp_path, replaced(STATES, *turned, begin_ms=500))

    *_, last = frames.frames()

    np.testing.assert_allclose(last.vectors["observation.state"], [math.degrees(0.5), 50.0])


def test_values_a_little_outside_of_their_range_are_reported(tmp_path: Path) -> None:
    said = replaced(STATES, *joints(times(10, 1000), position=np.array([2.5, 9.0, 2.05])))

    (outside,) = read(tmp_path, said).ranges["observation.state"].outside

    assert (outside.name, outside.messages, outside.worst) == ("gripper.pos", 21, 125.0)
    assert (outside.low, outside.high) == (0.0, 100.0)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            without(arm(), LEADERS, 0, 2000),
            r"expected messages of the input leader/joint_states "
            r"\(sensor_msgs/msg/JointState\), found "
            f"those of {IMAGES}, {STATES}; it may be --topic leader/joint_states={STATES}",
        ),
        (
            [*without(arm(), LEADERS, 0, 2000), twist(0, 0.0, LEADERS)],
            f"{LEADERS}: expected sensor_msgs/msg/JointState for the input leader/joint_states, "
            "found geometry_msgs/msg/Twist",
        ),
        (
            [
                (f"/{robot}{topic}", log_ns, message)
                for robot in ("left", "right")
                for topic, log_ns, message in arm()
            ],
            "expected one topic for the input joint_states, found /left/joint_states, ",
        ),
        (
            [
                ("/right" + topic if topic == IMAGES else topic, log_ns, message)
                for topic, log_ns, message in arm()
            ],
            "expected one topic for the input joint_states, "
            "found /joint_states, /leader/joint_states",
        ),
        (
            arm(0),
            "bag: expected 2 frames in a row with a message of each source and camera, found 1: "
            "it is shorter than that",
        ),
    ],
)
def test_recordings_of_something_else_are_refused(
    tmp_path: Path, said: Sequence[Said], message: str
) -> None:
    refuse(tmp_path, said, message)


def test_what_the_recorder_noted_is_a_reason(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", arm(1000))
    write_sidecar(bag, EpisodeSidecar(number=0, task="wave", rate_hz=20, problems=("two leaders",)))
    (episode,) = find_episodes([bag]).episodes

    with pytest.raises(ToolError, match=r"bag: .*episode\.json: two leaders; record it again"):
        EpisodeFrames(mapping_of(), episode)


def test_an_empty_recording_is_refused(tmp_path: Path) -> None:
    refuse(tmp_path, [], "expected messages of the input joint_states .*, found those of no topic")


def test_an_episode_without_messages_is_refused(tmp_path: Path) -> None:
    span = Span(START_NS + 5 * S, START_NS + 6 * S)

    refuse(
        tmp_path,
        [*arm(), *joints(times(10, 7000))],
        f"{LEADERS}, {IMAGES} during the episode, found none",
        span=span,
    )


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_a_recording_that_was_not_written_to_its_end_is_refused(
    tmp_path: Path, storage: StoragePlugin
) -> None:
    bag = write_bag(tmp_path / "bag", arm(3000), storage)
    (file,) = bag.glob("*.mcap" if storage is StoragePlugin.MCAP else "*.db3")
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])

    with pytest.raises(
        ToolError,
        match=rf"{bag}(/{file.name})?: expected a whole rosbag2 recording, found a "
        r"broken one .*; `ros2 bag reindex` or `mcap recover`",
    ):
        list(EpisodeFrames(mapping_of(), episode_of(bag)).frames())


def test_a_recording_without_metadata_is_refused(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", arm())
    (bag / "metadata.yaml").unlink()

    with pytest.raises(ToolError, match=r"expected metadata\.yaml beside the files of a recording"):
        EpisodeFrames(mapping_of(), episode_of(bag))


def test_a_mapping_of_absolute_topics_takes_no_others(tmp_path: Path) -> None:
    said = [("/robot" + topic, log_ns, message) for topic, log_ns, message in arm()]
    vectors = {"observation.state": [changed(topic="/joint_states")], "action": [LEADER]}

    refuse(
        tmp_path,
        said,
        "expected messages on /joint_states, found them on /robot/front",
        mapping=mapping_of(vectors=vectors),
    )


def test_a_recording_that_does_not_say_what_its_messages_are_is_refused(tmp_path: Path) -> None:
    """As those of Humble in sqlite3, of other types than its own."""
    bag = write_bag(tmp_path / "bag", [*arm(), mark(0, "START")], StoragePlugin.SQLITE3)
    with closing(sqlite3.connect(bag / "bag.db3")) as file:
        file.execute("DELETE FROM message_definitions")
        file.commit()

    assert len(list(EpisodeFrames(mapping_of(), episode_of(bag)).frames())) == 21
    (episode,) = find_episodes([bag], "marks").episodes
    with pytest.raises(
        ToolError,
        match="/episode_marks: expected a definition of "
        "policy_msgs/msg/EpisodeMark in the recording, found none",
    ):
        EpisodeFrames(mapping_of(), episode)


@pytest.mark.parametrize("ahead_s", [30 * 86400, 1_700_000_000])
def test_a_clock_that_was_set_forward_is_named(tmp_path: Path, ahead_s: int) -> None:
    """As by NTP after the start; frames of the time between would not fit into memory."""
    ahead = replaced(IMAGES, *images(times(50, 1000), stamp_ns=START_NS + ahead_s * S))
    for topic in (STATES, LEADERS):
        ahead = [each for each in ahead if each[0] != topic]
        ahead += joints(times(10, 1000), topic, stamp_ns=START_NS + ahead_s * S)
    after = [(topic, log_ns + ahead_s * S, message) for topic, log_ns, message in ahead]
    bag = write_bag(tmp_path / "bag", [*arm(), *after])

    frames = EpisodeFrames(mapping_of(), episode_of(bag))

    assert [len(list(frames.frames(part))) for part in range(len(frames.parts))] == [21, 21]
    with pytest.raises(
        ToolError,
        match=rf"bag: .* one from 1001.000 s to {1000 + ahead_s}.000 s: "
        "most likely the clock was set forward; set it",
    ):
        frames.refuse_gaps()


def test_motion_is_not_made_faster_by_a_slow_topic(tmp_path: Path) -> None:
    said = [*without(arm(4000), IMAGES, 0, 5000), *images(times(100, 4000))]
    camera = {"topic": "front/image_raw", "height": 16, "width": 24, "resample": "drop"}

    refuse(
        tmp_path,
        said,
        "bag: expected up to 5 % of the frames missing between others, since "
        f"motion becomes as much faster, found 40 of 81: {IMAGES} has 10.0 messages per "
        "second for 20 frames, and none that counts in 40: use a lower rate_hz in the mapping, "
        "or for this topic resample: as_of, which repeats messages",
        mapping=mapping_of(cameras={"front": camera}),
    )


def test_motion_is_not_made_faster_by_messages_that_cannot_be_read(tmp_path: Path) -> None:
    said = [broken(each) if i % 2 else each for i, each in enumerate(compressed(times(50, 4000)))]

    refuse(
        tmp_path,
        [*without(arm(4000), IMAGES, 0, 5000), *said],
        "found 6 of 81: 6 messages could not be read, the first: .* at 1000.050 s: expected a "
        "PNG of 24",
    )


def test_messages_that_cannot_be_read_are_closed_up(tmp_path: Path) -> None:
    said = [
        broken(each) if i in (8, 20, 30) else each
        for i, each in enumerate(compressed(times(50, 4000)))
    ]

    frames = read(tmp_path, [*without(arm(4000), IMAGES, 0, 5000), *said])

    assert frames.closed_up == 3
