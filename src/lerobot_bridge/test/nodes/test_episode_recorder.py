# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The episode recorder beside a robot, over real DDS."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from policy_msgs.msg import EpisodeMark, PolicyStatus
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool
from std_srvs.srv import SetBool

from lerobot_bridge.episode import Mark, read_sidecar

from .robot import IMAGE, LATCHED, RELIABLE, Robot, read

pytestmark = pytest.mark.ros


def test_marks_are_those_of_the_message() -> None:
    assert {kind.name: int(kind) for kind in Mark} == {
        name: getattr(EpisodeMark, name) for name in Mark.__members__
    }


def test_episode_holds_the_messages_as_they_were_sent(robot: Robot, tmp_path: Path) -> None:
    robot.recorder(tmp_path, tags="red, left")
    robot.appears()
    robot.begins()
    first = robot.sent
    robot.sends_seen(20)
    robot.request("success")
    robot.request("stop")
    robot.hears("episode_0000: ")

    episode = tmp_path / "session" / "episode_0000"
    messages = read(episode)
    assert messages.keys() == {
        "/joint_states",
        "/leader/joint_states",
        "/front/image_raw/compressed",
    }
    numbers = [message.position[0] for _, message in messages["/joint_states"]]
    assert numbers == list(range(int(numbers[0]), int(numbers[-1]) + 1))
    assert {*range(first + 1, first + 21)} <= {*map(int, numbers)}
    assert all(
        message.header.stamp.sec * 10**9 + message.header.stamp.nanosec <= log_ns
        for log_ns, message in messages["/joint_states"]
    )
    sidecar = read_sidecar(episode)
    assert (sidecar.task, sidecar.tags, sidecar.success) == ("Wave.", ("red", "left"), True)
    assert (sidecar.number, sidecar.rate_hz, sidecar.policy) == (0, 30, None)
    assert sidecar.ended == "stop was asked for"
    assert [mark.kind for mark in robot.marks] == [
        EpisodeMark.START,
        EpisodeMark.SUCCESS,
        EpisodeMark.STOP,
    ]


def test_start_is_refused_with_the_names_of_what_is_missing(robot: Robot, tmp_path: Path) -> None:
    node = robot.recorder(tmp_path)
    response = robot.ask("start")
    assert not response.success
    for topic in ("/joint_states", "/leader/joint_states", "/front/image_raw/compressed"):
        assert f"{topic}: expected a publisher of " in response.message

    robot.appears()
    robot.silent.add("front")
    robot.until(
        lambda: "messages, found none yet" in robot.ask("start").message, "the camera to be found"
    )
    robot.silent.clear()
    robot.is_ready()
    robot.silent.add("joint_states")
    robot.until(
        lambda: node.recorder.obstacle(node.now_ns()), "the joints to be missed", sends=True
    )
    response = robot.ask("start")
    assert response.message.startswith("/joint_states: expected a message within 0.5 s, found")

    assert [*(tmp_path / "session").glob("episode_*")] == []


def test_topic_of_another_type_is_refused(robot: Robot, tmp_path: Path) -> None:
    robot.recorder(tmp_path)
    robot.appears()
    robot.node.destroy_publisher(robot.publishers.pop("leader/joint_states"))
    robot.node.create_publisher(Bool, "leader/joint_states", 1)

    robot.until(
        lambda: (
            "/leader/joint_states: expected sensor_msgs/msg/JointState, found "
            "std_msgs/msg/Bool" in robot.ask("start").message
        ),
        "the type",
        sends=True,
    )


def test_messages_of_which_no_frame_can_be_made_are_refused(robot: Robot, tmp_path: Path) -> None:
    robot.recorder(tmp_path)
    robot.appears()
    robot.image = cv2.imencode(".jpg", np.zeros((6, 8, 3), np.uint8))[1].tobytes()
    robot.joints = ["pan", "tilt"]
    wanted = [
        "/joint_states: expected each joint once, found missing: lift",
        "/leader/joint_states: expected each joint once, found missing: lift",
        "/front/image_raw/compressed: expected an image of 6 x 4 pixels, found 8 x 6",
    ]
    robot.until(
        lambda: all(each in robot.ask("start").message for each in wanted),
        "what is wrong",
        sends=True,
    )

    robot.image, robot.joints = b"an image of an unknown kind", ["pan", "lift"]
    robot.until(
        lambda: robot.ask("start").message.startswith(
            "/front/image_raw/compressed: expected a JPEG or a PNG, found 27 bytes"
        ),
        "the encoding",
        sends=True,
    )

    robot.image = IMAGE
    robot.begins()


def test_topic_of_two_publishers_is_refused_with_their_names(robot: Robot, tmp_path: Path) -> None:
    robot.recorder(tmp_path, extra_topics="wrench")
    robot.appears()
    second = Node("second_leader")
    several = [node.create_publisher(Bool, "wrench", 1) for node in (robot.node, second)]
    second.create_publisher(JointState, "leader/joint_states", RELIABLE)

    watch = robot.recorders[-1].recorder.watches["/leader/joint_states"]
    robot.until(lambda: len(watch.publishers) == 2, "both", sends=True)
    robot.until(lambda: not robot.ask("start").message.count("\n"), "the others", sends=True)
    refused = robot.ask("start").message
    assert refused == (
        "/leader/joint_states: expected one publisher, found 2 (/robot, "
        "/second_leader), whose messages alternate; stop all but one (one that "
        "was killed disappears after some seconds)"
    )
    second.destroy_node()
    del several
    robot.begins()


def test_second_publisher_in_an_episode_is_reported_and_noted(robot: Robot, tmp_path: Path) -> None:
    robot.recorder(tmp_path)
    robot.appears()
    robot.begins()
    second = robot.node.create_publisher(JointState, "joint_states", RELIABLE)
    robot.until(
        lambda: "/joint_states: expected one publisher, found 2" in robot.log,
        "an error",
        sends=True,
    )
    robot.node.destroy_publisher(second)
    robot.is_ready()
    robot.request("stop")
    robot.begins()
    robot.request("stop")
    robot.ends(robot.recorders[-1])

    (problem,) = read_sidecar(tmp_path / "session" / "episode_0000").problems
    assert problem.startswith("/joint_states: expected one publisher, found 2 (/robot, /robot)")
    assert read_sidecar(tmp_path / "session" / "episode_0001").problems == ()


def test_topic_that_dies_in_an_episode_is_reported_at_once(robot: Robot, tmp_path: Path) -> None:
    robot.recorder(tmp_path)
    robot.appears()
    robot.begins()

    robot.silent.add("front")
    robot.until(
        lambda: "/front/image_raw/compressed: expected a message within 0.5 s, found" in robot.log,
        "the camera to be missed",
        sends=True,
    )
    robot.until(
        lambda: "/front/image_raw/compressed: expected" in robot.statuses[-1].status[0].message,
        "a status",
        sends=True,
    )

    assert robot.value("state") == "episode"
    assert robot.log.count("/front/image_raw/compressed: expected a message") == 1


def test_discarded_episode_leaves_nothing(robot: Robot, tmp_path: Path) -> None:
    robot.recorder(tmp_path)
    robot.appears()
    robot.begins()
    robot.sends_seen(5)
    robot.request("discard")
    robot.begins()
    robot.request("stop")
    robot.hears("episode_0000: ")

    session = tmp_path / "session"
    assert sorted(path.name for path in session.iterdir()) == [
        ".unfinished",
        "episode_0000",
        "mapping.yaml",
    ]
    assert [*(session / ".unfinished").iterdir()] == []
    assert [mark.kind for mark in robot.marks] == [
        EpisodeMark.START,
        EpisodeMark.DISCARD,
        EpisodeMark.START,
        EpisodeMark.STOP,
    ]


def test_success_afterwards_is_written_to_the_last_episode(robot: Robot, tmp_path: Path) -> None:
    robot.recorder(tmp_path)
    robot.appears()
    robot.begins()
    robot.request("stop")
    robot.request("failure")
    robot.ends(robot.recorders[-1])

    assert read_sidecar(tmp_path / "session" / "episode_0000").success is False


def test_what_holds_is_in_each_episode(robot: Robot, tmp_path: Path) -> None:
    recorder = robot.recorder(tmp_path, extra_topics="description").recorder
    robot.appears()
    latched = robot.node.create_publisher(Bool, "description", LATCHED)
    latched.publish(Bool(data=True))
    robot.until(lambda: recorder.watches["/description"].newest, "what is latched", sends=True)
    for _ in range(2):
        robot.begins()
        robot.request("stop")
    robot.ends(robot.recorders[-1])

    for number in range(2):
        messages = read(tmp_path / "session" / f"episode_{number:04d}")
        assert [message.data for _, message in messages["/description"]] == [True]


def test_interventions_are_in_the_sidecar(robot: Robot, tmp_path: Path) -> None:
    node = robot.recorder(tmp_path)
    drives = robot.node.create_publisher(Bool, "intervention", 1)
    robot.appears()
    robot.begins()
    begun_ns = node.now_ns()
    robot.call(SetBool, "episode_recorder/intervention", SetBool.Request(data=True))
    robot.call(SetBool, "episode_recorder/intervention", SetBool.Request(data=False))
    robot.until(lambda: drives.get_subscription_count() == 1, "a listener", sends=True)
    drives.publish(Bool(data=True))
    robot.until(lambda: node.recorder.session.intervening, "an intervention", sends=True)
    robot.request("stop")
    robot.ends(node)

    spans = read_sidecar(tmp_path / "session" / "episode_0000").interventions
    assert spans is not None
    times = [time for span in spans for time in span]
    assert len(spans) == 2
    assert [begun_ns, *times] == sorted([begun_ns, *times])


def test_policy_in_an_unknown_mode_does_not_drive(robot: Robot, tmp_path: Path) -> None:
    robot.recorder(tmp_path, policy_node="act")
    robot.appears()
    status = robot.node.create_publisher(PolicyStatus, "act/status", LATCHED)
    status.publish(PolicyStatus(mode=99, reason="new"))

    robot.until(
        lambda: "/act: expected the mode RUN, found 99 (new)" in robot.ask("start").message,
        "the mode",
        sends=True,
    )


def test_a_session_is_continued_with_the_next_number(robot: Robot, tmp_path: Path) -> None:
    robot.appears()
    for _ in range(2):
        robot.recorder(tmp_path)
        robot.begins()
        robot.request("stop")
        robot.ends(robot.recorders[-1])

    session = tmp_path / "session"
    assert [read_sidecar(session / f"episode_{number:04d}").number for number in range(2)] == [0, 1]


def test_episode_that_is_recorded_when_the_node_ends_is_kept(robot: Robot, tmp_path: Path) -> None:
    robot.recorder(tmp_path)
    robot.appears()
    robot.begins()
    robot.sends_seen(3)
    robot.ends(robot.recorders[-1])

    episode = tmp_path / "session" / "episode_0000"
    assert read_sidecar(episode).ended == "the node was ended"
    assert len(read(episode)["/joint_states"]) >= 3
