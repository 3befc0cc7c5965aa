# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The episode recorder with a robot, over real DDS."""

from pathlib import Path

import pytest
from policy_msgs.msg import EpisodeMark
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool

from lerobot_bridge.episode import Mark, read_sidecar
from testkit.wording import check_wording, lines_with

from .robot import RELIABLE, Robot, read_episode

pytestmark = pytest.mark.ros


def test_marks_are_those_of_the_message() -> None:
    assert {kind.name: int(kind) for kind in Mark} == {
        name: getattr(EpisodeMark, name) for name in Mark.__members__
    }


def test_episode_holds_the_messages_as_they_were_sent(rig: Robot, tmp_path: Path) -> None:
    rig.recorder(tmp_path, tags="red, left")
    rig.appears()
    rig.begins()
    first = rig.sent
    rig.sends_seen(20)
    rig.request("success")
    rig.request("stop")
    rig.hears("episode_0000: ")

    episode = tmp_path / "session" / "episode_0000"
    messages = read_episode(episode)
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
    check_wording(sidecar.ended)
    assert [mark.kind for mark in rig.marks] == [
        EpisodeMark.START,
        EpisodeMark.SUCCESS,
        EpisodeMark.STOP,
    ]


def test_topic_of_two_publishers_is_refused_with_their_names(rig: Robot, tmp_path: Path) -> None:
    rig.recorder(tmp_path, extra_topics="wrench")
    rig.appears()
    second = Node("second_leader")
    several = [node.create_publisher(Bool, "wrench", 1) for node in (rig.node, second)]
    second.create_publisher(JointState, "leader/joint_states", RELIABLE)

    watch = rig.recorders[-1].recorder.watches["/leader/joint_states"]
    rig.until(lambda: len(watch.publishers) == 2, "both", sends=True)
    rig.until(lambda: not rig.ask("start").message.count("\n"), "the others", sends=True)
    refused = rig.ask("start").message
    check_wording(refused)
    second.destroy_node()
    del several
    rig.begins()


def test_second_publisher_in_an_episode_is_reported_and_noted(rig: Robot, tmp_path: Path) -> None:
    rig.recorder(tmp_path)
    rig.appears()
    rig.begins()
    second = rig.node.create_publisher(JointState, "joint_states", RELIABLE)
    rig.until(
        lambda: "/joint_states: expected one publisher, found 2" in rig.log, "an error", sends=True
    )
    rig.node.destroy_publisher(second)
    rig.is_ready()
    rig.request("stop")
    rig.begins()
    rig.request("stop")
    rig.ends(rig.recorders[-1])

    (problem,) = read_sidecar(tmp_path / "session" / "episode_0000").problems
    check_wording(problem)
    assert read_sidecar(tmp_path / "session" / "episode_0001").problems == ()


def test_topic_that_dies_in_an_episode_is_reported_at_once(rig: Robot, tmp_path: Path) -> None:
    rig.recorder(tmp_path)
    rig.appears()
    rig.begins()

    rig.silent.add("front")
    rig.until(
        lambda: (
            "/front/image_raw/compressed: expected a message within the last 0.5 s, found"
            in rig.log
        ),
        "the camera to be missed",
        sends=True,
    )
    rig.until(
        lambda: "/front/image_raw/compressed: expected" in rig.statuses[-1].status[0].message,
        "a status",
        sends=True,
    )

    assert rig.value("state") == "episode"
    assert len(lines_with(rig.log, "/front/image_raw/compressed")) == 1
    check_wording(*lines_with(rig.log, "/front/image_raw/compressed"))
