# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`lerobot_bridge check` reports the frames of recordings, and refuses what `convert` refuses."""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from lerobot_bridge.checking import EpisodeCheck, check_episode
from lerobot_bridge.cli import main
from lerobot_bridge.commands import arguments
from lerobot_bridge.mapping import RobotMapping
from lerobot_bridge.mapping_file import load_mapping
from model_tools.errors import ToolError
from testkit.bags import MS, S, Said
from testkit.edits import reword
from testkit.wording import check_wording, lines_with, refusal

from .bags import (
    ARM,
    START_NS,
    arm_mapping,
    break_image,
    episode_of,
    leave_out,
    say_arm,
    say_compressed,
    say_images,
    say_joints,
    times_ns,
    write_rosbag,
)


@pytest.fixture
def arm_mapping_file(tmp_path: Path) -> Path:
    file = tmp_path / "arm.yaml"
    file.write_text(yaml.safe_dump(dict(ARM), sort_keys=False), "utf-8")
    return file


def check_bag(
    folder: Path, said: list[Said], mapping: RobotMapping | None = None, *, pixels: bool = False
) -> EpisodeCheck:
    bag = write_rosbag(folder / "bag", said)
    return check_episode(mapping or arm_mapping(), episode_of(bag), {}, pixels=pixels)


def test_images_that_cannot_be_a_video_are_refused_as_by_a_conversion(
    arm_mapping_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reword(arm_mapping_file, ("width: 24", "width: 25"))

    assert main(["check", "--mapping", str(arm_mapping_file)]) == 1
    check_wording(*lines_with(capsys.readouterr().out, "cameras.front"))
    assert main(["check", "--mapping", str(arm_mapping_file), "--images"]) == 0


def test_a_report_says_what_a_recording_has(
    arm_mapping_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rosbag(tmp_path / "session" / "one", say_arm(2000))

    words = ["check", "--mapping", str(arm_mapping_file), str(tmp_path / "session")]
    assert main([*words, "--json"]) == 0

    (episode,) = json.loads(capsys.readouterr().out)["episodes"]
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
    arm_mapping_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rosbag(tmp_path / "session" / "one", say_arm())
    write_rosbag(tmp_path / "session" / "two", leave_out(say_arm(), "/front/image_raw", 400, 700))
    write_rosbag(tmp_path / "session" / "without_messages", [])
    command = ["check", "--mapping", str(arm_mapping_file), str(tmp_path / "session")]

    assert main(command) == 1
    shown = capsys.readouterr().out
    check_wording(*lines_with(shown, "refused"))
    check_wording(*lines_with(shown, "episodes"))
    shutil.rmtree(tmp_path / "session" / "without_messages")
    assert main([*command, "--gaps", "split"]) == 0


def test_ages_and_gaps_are_of_frames(tmp_path: Path) -> None:
    found = check_bag(
        tmp_path,
        [
            *say_joints(times_ns(10, 1000)),
            *say_joints(times_ns(10, 1000), "/leader/joint_states"),
            *leave_out(say_images(times_ns(50, 1000, 20)), "/front/image_raw", 400, 550),
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
    broken = map(break_image, say_compressed(times_ns(50, 1000)))
    write_rosbag(tmp_path / "bag", [*leave_out(say_arm(), "/front/image_raw", 0, 2000), *broken])

    quick, whole = (
        check_episode(arm_mapping(), episode_of(tmp_path / "bag"), {}, pixels=pixels)
        for pixels in (False, True)
    )

    assert not quick.problems
    check_wording(whole.problems[0])


def test_all_reasons_are_reported_and_images_judged_though_none_is_decoded(tmp_path: Path) -> None:
    given = say_images(times_ns(50, 1000), size=(32, 24))
    others = [
        *leave_out(say_joints(times_ns(10, 1000)), "/joint_states", 400, 700),
        *say_joints(times_ns(10, 1000), "/leader/joint_states", name=["gripper", "wheel", "tilt"]),
    ]

    gap, message = check_bag(tmp_path / "gap", [*others, *given]).problems

    check_wording(gap)
    check_wording(message)


def test_what_is_not_as_it_should_be_is_reported(tmp_path: Path) -> None:
    leader = say_joints(
        times_ns(10, 3000), "/leader/joint_states", position=np.array([2.5, 9.0, 0.0])
    )
    found = check_bag(
        tmp_path, [*say_joints(times_ns(10, 6000)), *leader, *say_images(times_ns(90, 6000, 1500))]
    )

    assert not found.problems
    assert len(found.warnings) == 5
    check_wording(*found.warnings)


@pytest.mark.parametrize("topics", [["/joint_states", "/leader/joint_states"], ["/joint_states"]])
def test_an_episode_in_which_nothing_moves_is_reported(tmp_path: Path, topics: list[str]) -> None:
    said = say_arm()
    for topic in topics:
        said = leave_out(said, topic, 0, 2000)
        for t in times_ns(10, 1000):
            said += say_joints([t], topic, position=np.array([1.0, 9.0, 0.5 + 1e-12 * t / S]))

    (warning,) = check_bag(tmp_path, said).warnings
    check_wording(warning)


@pytest.mark.parametrize(("topic", "skew_ms"), [("/joint_states", 300), ("/front/image_raw", -300)])
def test_stamps_that_are_some_frames_off_are_reported(
    tmp_path: Path, topic: str, skew_ms: int
) -> None:
    stamp_ns = START_NS + skew_ms * MS
    off = (
        say_joints(times_ns(10, 4000), stamp_ns=stamp_ns)
        if topic == "/joint_states"
        else say_images(times_ns(50, 4000), stamp_ns=stamp_ns)
    )
    found = check_bag(tmp_path, [*leave_out(say_arm(4000), topic, 0, 5000), *off])

    assert not found.problems
    (warning,) = found.warnings
    check_wording(warning)


def test_a_session_brings_its_mapping_along(arm_mapping_file: Path, tmp_path: Path) -> None:
    session, other = tmp_path / "session", tmp_path / "other"
    for folder in (session, other):
        folder.mkdir()
    assert main(["check", str(session)]) == 4  # none is named

    (session / "mapping.yaml").write_bytes(arm_mapping_file.read_bytes())
    given = argparse.Namespace(mapping=None, recordings=[session, other])
    assert arguments.read_mapping(given) == load_mapping(arm_mapping_file)

    (other / "mapping.yaml").write_bytes(arm_mapping_file.read_bytes() + b"max_gap_frames: 7\n")
    with refusal(ToolError):
        arguments.read_mapping(given)
