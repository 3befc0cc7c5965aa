# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`lerobot_bridge check` says what recordings would give, and refuses what `convert` would."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from lerobot_bridge.checking import EpisodeCheck, check_episode
from lerobot_bridge.cli import main
from lerobot_bridge.commands import arguments
from lerobot_bridge.episode import Span
from lerobot_bridge.mapping import RobotMapping
from lerobot_bridge.mapping_file import load_mapping
from model_tools.errors import ToolError

from .bags import (
    LEADER,
    MS,
    START_NS,
    STATE,
    S,
    Said,
    arm,
    compressed,
    episode_of,
    images,
    joints,
    mapping_of,
    mark,
    times,
    without,
    write_bag,
)


@pytest.fixture
def mapping_file(tmp_path: Path) -> Path:
    file = tmp_path / "arm.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "schema_version": 1,
                "robot_type": "arm",
                "rate_hz": 20,
                "joints": {
                    "pan": {"unit": "degrees", "ros_name": "pan_joint"},
                    "gripper": {"unit": "range_0_100", "low_rad": 0.0, "high_rad": 2.0},
                },
                "vectors": {"observation.state": [STATE], "action": [LEADER]},
                "cameras": {"front": {"topic": "front/image_raw", "height": 16, "width": 24}},
            },
            sort_keys=False,
        ),
        "utf-8",
    )
    return file


def checked(
    folder: Path, said: list[Said], mapping: RobotMapping | None = None, *, pixels: bool = False
) -> EpisodeCheck:
    bag = write_bag(folder / "bag", said)
    return check_episode(mapping or mapping_of(), episode_of(bag), {}, pixels=pixels)


def test_a_mapping_alone_prints_its_features(
    mapping_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:

    assert main(["check", "--mapping", str(mapping_file)]) == 0

    text = " ".join(capsys.readouterr().out.split())
    assert "arm: 20 frames per second" in text
    assert "action float32 [2] pan.pos, gripper.pos" in text
    assert "observation.images.front video [16 x 24 x 3] height, width, channels" in text


def test_a_mapping_that_does_not_fit_is_refused(
    mapping_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mapping_file.write_text(mapping_file.read_text().replace("range_0_100", "percent"))

    assert main(["check", "--mapping", str(mapping_file)]) == 4
    assert "arm.yaml: joints.gripper.unit: expected one of" in caplog.text


def test_images_that_cannot_be_a_video_are_refused_as_by_a_conversion(
    mapping_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mapping_file.write_text(mapping_file.read_text().replace("width: 24", "width: 25"))

    assert main(["check", "--mapping", str(mapping_file)]) == 1
    assert (
        "cameras.front: expected an even height and width for a video, found 16"
        in capsys.readouterr().out
    )
    assert main(["check", "--mapping", str(mapping_file), "--images"]) == 0


def test_a_report_says_what_a_recording_has(mapping_file: Path, tmp_path: Path) -> None:
    write_bag(tmp_path / "session" / "one", arm(2000))
    report = tmp_path / "report.json"

    assert (
        main(
            [
                "check",
                "--mapping",
                str(mapping_file),
                str(tmp_path / "session"),
                "--report",
                str(report),
            ]
        )
        == 0
    )

    (episode,) = json.loads(report.read_text())["episodes"]
    assert (episode["name"], episode["frames"], episode["problems"]) == ("one", [41], [])
    front = {each["name"]: each for each in episode["inputs"]}["cameras.front"]
    assert front == {
        "name": "cameras.front",
        "topic": "/front/image_raw",
        "messages": 41,
        "rate_hz": 20.0,
        "age_mean_s": 0.0,
        "age_max_s": 0.0,
        "left_out": 0,
        "longest_gap_s": 0.0,
        "clock_offset_s": 0.0,
    }


def test_what_would_be_left_out_is_the_exit_status(
    mapping_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bag(tmp_path / "session" / "one", arm())
    write_bag(tmp_path / "session" / "two", without(arm(), "/front/image_raw", 400, 700))
    command = ["check", "--mapping", str(mapping_file), str(tmp_path / "session")]

    assert main(command) == 1
    shown = capsys.readouterr().out
    assert "refused: two: expected frames without gaps of more than 1" in shown
    assert "1 of 2 episodes fit the mapping" in shown
    assert main([*command, "--gaps", "split"]) == 0


def test_a_recording_without_marks_stops_no_others(
    mapping_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bag(tmp_path / "session" / "one", arm())
    write_bag(
        tmp_path / "session" / "two",
        [*arm(), mark(100 * MS, "START", task="wave"), mark(900 * MS, "STOP")],
    )

    assert (
        main(
            [
                "check",
                "--mapping",
                str(mapping_file),
                str(tmp_path / "session"),
                "--episodes",
                "marks",
            ]
        )
        == 1
    )
    shown = capsys.readouterr().out
    assert "session/one: expected messages of the input episode_marks" in shown
    assert "1 of 2 episodes fit the mapping" in shown


def test_ages_and_gaps_are_of_frames(tmp_path: Path) -> None:
    found = checked(
        tmp_path,
        [
            *joints(times(10, 1000)),
            *joints(times(10, 1000), "/leader/joint_states"),
            *without(images(times(50, 1000, 20)), "/front/image_raw", 400, 550),
        ],
    )

    front = next(each for each in found.inputs if each.name == "cameras.front")
    assert (found.frames, found.closed_up) == ([19], 1)
    assert front.left_out == 1
    assert front.longest_gap_s == pytest.approx(0.2)
    assert front.age_max_s == pytest.approx(0.1)
    state = next(each for each in found.inputs if each.name == "observation.state")
    assert state.messages == 101
    assert state.rate_hz == pytest.approx(100)


def test_broken_images_are_found_where_they_are_decoded(tmp_path: Path) -> None:
    said = without(arm(), "/front/image_raw", 0, 2000)
    for topic, log_ns, message in compressed(times(50, 1000)):
        message.data = message.data.copy()
        message.data[45:-20] = 0
        said.append((topic, log_ns, message))
    write_bag(tmp_path / "bag", said)

    quick, whole = (
        check_episode(mapping_of(), episode_of(tmp_path / "bag"), {}, pixels=pixels)
        for pixels in (False, True)
    )

    assert not quick.problems
    assert "expected a PNG of 24 x 16 pixels" in whole.problems[0]


def test_all_reasons_are_reported_and_images_judged_though_none_is_decoded(tmp_path: Path) -> None:
    given = images(times(50, 1000), size=(32, 24))
    others = [
        *without(joints(times(10, 1000)), "/joint_states", 400, 700),
        *joints(times(10, 1000), "/leader/joint_states", name=["gripper", "wheel", "tilt"]),
    ]

    gap, message = checked(tmp_path / "gap", [*others, *given]).problems

    assert "expected frames without gaps of more than 1, found 1" in gap
    assert [
        line.partition(": expected ")[2].partition(",")[0] for line in message.splitlines()
    ] == ["each joint once", "an image of 24 x 16 pixels"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            images(times(50, 1000), size=(32, 24)),
            "expected an image of 24 x 16 pixels, found 24 x 32",
        ),
        (images(times(50, 1000), encoding="bayer_rggb8"), "found 'bayer_rggb8'"),
    ],
)
def test_images_are_judged_where_frames_are_not(
    tmp_path: Path, given: list[Said], words: str
) -> None:
    topics, image = checked(tmp_path, [*joints(times(10, 1000), "/other"), *given]).problems

    assert [
        line.partition(" of the input ")[2].partition(" ")[0] for line in topics.splitlines()
    ] == ["joint_states", "leader/joint_states"]
    assert "/front/image_raw at 1000.000 s: expected " in image
    assert words in image


def test_two_publishers_and_another_clock_are_reported_together(tmp_path: Path) -> None:
    said = [
        *joints(times(10, 1000)),
        *joints(times(10, 1000), "/leader/joint_states"),
        *joints(times(10, 1000, 4), stamp_ns=START_NS - 20 * MS),
        *images(times(50, 1000), stamp_ns=START_NS - 9 * S),
    ]

    (problem,) = checked(tmp_path, said).problems

    assert "/joint_states at 999.984 s: expected stamps that go on, found 100 of 201" in problem
    assert "/front/image_raw: expected stamps on the clock of /joint_states" in problem


def test_what_is_not_as_it_should_be_is_reported(tmp_path: Path) -> None:
    leader = joints(times(10, 3000), "/leader/joint_states", position=np.array([2.5, 9.0, 0.0]))
    found = checked(tmp_path, [*joints(times(10, 6000)), *leader, *images(times(90, 6000, 1500))])

    assert not found.problems
    assert found.warnings == [
        "frames begin 1.5 s after the first message of /joint_states, when /front/image_raw began",
        "frames end 2.9 s before the last message of /joint_states, when /leader/joint_states "
        "ended",
        "/front/image_raw has 11.1 messages per second for 20 frames: values repeat",
        "action: gripper.pos is outside of 0 to 100 in 31 messages, at the most 125",
        "action does not move: each value stays within 0.001 in all frames",
    ]


@pytest.mark.parametrize(
    ("topics", "words"),
    [
        (["/joint_states", "/leader/joint_states"], "observation.state and action do"),
        (["/joint_states"], "observation.state does"),
    ],
)
def test_an_episode_in_which_nothing_moves_is_reported(
    tmp_path: Path, topics: list[str], words: str
) -> None:
    said = arm()
    for topic in topics:
        said = without(said, topic, 0, 2000)
        for t in times(10, 1000):
            said += joints([t], topic, position=np.array([1.0, 9.0, 0.5 + 1e-12 * t / S]))

    assert checked(tmp_path, said).warnings == [
        f"{words} not move: each value stays within 0.001 in all frames"
    ]


def test_a_piece_of_a_recording_is_counted_from_its_beginning(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", arm(6000))
    mapping = mapping_of(
        vectors={"observation.state": [STATE], "action": [{**LEADER, "resample": "hold"}]}
    )

    for begin_s in (0, 2, 4):
        span = Span(START_NS + begin_s * S, START_NS + (begin_s + 2) * S)
        found = check_episode(mapping, episode_of(bag, span=span), {})

        assert not found.warnings
        assert [each.messages for each in found.inputs] == [200, 200, 40]
        assert [each.rate_hz for each in found.inputs] == pytest.approx([100, 100, 20])


def test_what_was_held_before_a_piece_is_no_message_of_it(tmp_path: Path) -> None:
    said = [
        *without(arm(4000), "/leader/joint_states", 0, 5000),
        *joints(times(10, 500), "/leader/joint_states"),
    ]
    mapping = mapping_of(
        vectors={"observation.state": [STATE], "action": [{**LEADER, "resample": "hold"}]}
    )
    span = Span(START_NS + 2 * S, START_NS + 4 * S)

    found = check_episode(mapping, episode_of(write_bag(tmp_path / "bag", said), span=span), {})

    action = next(each for each in found.inputs if each.name == "action")
    assert (found.frames, found.problems, action.messages, action.rate_hz) == ([40], [], 0, 0.0)


def test_messages_without_a_stamp_of_their_own_are_reported(tmp_path: Path) -> None:
    said = without(arm(), "/joint_states", 0, 2000)
    for t in times(10, 1000):
        said += joints([t], stamp_ns=START_NS - t % (20 * MS))
    found = checked(tmp_path, said)

    state = next(each for each in found.inputs if each.name == "observation.state")
    assert state.messages == 101
    assert state.rate_hz == pytest.approx(100)
    assert found.warnings == [
        "/joint_states has 101 messages of 51 different stamps: those of a "
        "stamp that was there already are left out"
    ]


@pytest.mark.parametrize("skew_ms", [300, -300])
@pytest.mark.parametrize("topic", ["/joint_states", "/front/image_raw"])
def test_stamps_that_are_some_frames_off_are_reported(
    tmp_path: Path, topic: str, skew_ms: int
) -> None:
    stamp_ns = START_NS + skew_ms * MS
    off = (
        joints(times(10, 4000), stamp_ns=stamp_ns)
        if topic == "/joint_states"
        else images(times(50, 4000), stamp_ns=stamp_ns)
    )
    right = "/leader/joint_states" if topic == "/joint_states" else "/joint_states"

    found = checked(tmp_path, [*without(arm(4000), topic, 0, 5000), *off])

    assert not found.problems
    assert [warning.partition(", by when")[0] for warning in found.warnings] == [
        f"{topic} has stamps 0.300 s {'ahead of' if skew_ms > 0 else 'behind'} those of {right}, "
        "6.0 frames"
    ]


def test_a_topic_that_drops_frames_does_not_repeat_values(tmp_path: Path) -> None:
    camera = {"topic": "front/image_raw", "height": 16, "width": 24, "resample": "drop"}
    found = checked(
        tmp_path,
        [*without(arm(400), "/front/image_raw", 0, 500), *images(times(100, 400))],
        mapping_of(cameras={"front": camera}),
    )

    assert (found.frames, found.closed_up, found.problems) == ([5], 4, [])
    assert found.warnings == [
        "/front/image_raw has 10.0 messages per second for 20 frames: frames "
        "without one are left out"
    ]


def test_messages_that_cannot_be_read_are_reported(tmp_path: Path) -> None:
    bad = joints([400 * MS], position=np.array([1.0, 9.0, np.nan]))
    found = checked(tmp_path, [*without(arm(), "/joint_states", 400, 401), *bad])

    assert (found.frames, found.closed_up) == ([20], 1)
    (warning,) = found.warnings
    assert warning.startswith("1 messages could not be read and count as missing; the first: ")
    assert "/joint_states at 1000.400 s: pan.pos: expected a finite value" in warning


def test_a_session_brings_its_mapping_along(mapping_file: Path, tmp_path: Path) -> None:
    session, other = tmp_path / "session", tmp_path / "other"
    for folder in (session, other):
        folder.mkdir()
    assert main(["check", str(session)]) == 4  # none is named

    (session / "mapping.yaml").write_bytes(mapping_file.read_bytes())
    given = argparse.Namespace(mapping=None, recordings=[session, other])
    assert arguments.mapping_of(given) == load_mapping(mapping_file)

    (other / "mapping.yaml").write_bytes(mapping_file.read_bytes() + b"max_gap_frames: 7\n")
    with pytest.raises(ToolError, match=r"mapping.yaml of several sessions that differ: .*other"):
        arguments.mapping_of(given)


@pytest.mark.parametrize("more", [[], ["--mapping", "so101"]])
def test_a_mapping_that_is_given_as_a_recording_is_reported(
    mapping_file: Path, more: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["check", str(mapping_file), *more]) == 4
    assert (
        "arm.yaml: expected a recording, or a folder of recordings, found what looks like a "
        f"mapping; that is given with --mapping {mapping_file}"
    ) in caplog.text
