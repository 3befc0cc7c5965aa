# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Commands that are sent while no action arrives, and the last command."""

from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.ros
pytest.importorskip("rclpy")

from policy_msgs.msg import JointCommand  # noqa: E402  not without rclpy

from lerobot_bridge.nodes.command_sender import CommandSender  # noqa: E402
from testkit.waiting import until  # noqa: E402
from testkit.wording import check_wording, lines_with  # noqa: E402

from .test_robot_link import ACTION, MAPPING, Robot, commanded_modes  # noqa: E402

MEASURED = {"pan.pos": 1.0, "lift.pos": 2.0}
HOLD, RUN = JointCommand.MODE_HOLD_MEASURED, JointCommand.MODE_RUN
NEXT = {**ACTION, "x.vel": 0.25}
MORE = 100
"""Number of times that the sender is polled, far more than a message needs to arrive."""


@pytest.fixture
def commanded_robot() -> Iterator[Robot]:
    made = Robot()
    yield made
    made.close()


def sender_of(robot: Robot, hold_s: float) -> CommandSender:
    sender = CommandSender(robot.node, MAPPING, hold_s)
    until(lambda: not sender.troubles())
    return sender


def base_speeds(robot: Robot) -> list[float]:
    return [message.linear.x for message in robot.heard["cmd_vel"]]


def test_holding_ends_with_one_last_message_and_begins_again_with_an_action(
    commanded_robot: Robot,
) -> None:
    sender = sender_of(commanded_robot, hold_s=0.15)

    def holds() -> bool:
        sender.bridge(MEASURED, [])
        return HOLD in commanded_modes(commanded_robot)

    sender.send(ACTION)
    until(holds)
    for _ in range(MORE):
        sender.bridge(MEASURED, [])
    sender.leave(MEASURED)
    sender.send(NEXT)
    until(lambda: commanded_modes(commanded_robot)[-1] == RUN)
    assert commanded_modes(commanded_robot).count(HOLD) == 1, "it was sent after the last message"
    assert commanded_modes(commanded_robot)[-2:] == [HOLD, RUN], (
        "it was repeated after the last message"
    )


@pytest.mark.parametrize("then", [[], ["it is gone"]])
def test_a_trouble_ends_holding_even_when_it_is_over(
    commanded_robot: Robot, then: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    sender = sender_of(commanded_robot, hold_s=30.0)

    def ends() -> bool:
        sender.bridge(MEASURED, ["it is gone"])
        return "no longer repeated" in caplog.text

    sender.send(ACTION)
    until(ends)
    for _ in range(MORE):
        sender.bridge(MEASURED, then)
    sender.leave(MEASURED)
    sender.send(NEXT)
    until(lambda: len(commanded_modes(commanded_robot)) == 2)
    assert [message.sequence for message in commanded_robot.heard["joint_command"]] == [0, 1]
    assert commanded_modes(commanded_robot) == [RUN, RUN]


def test_a_base_is_stopped_once_for_each_action_that_moves_it(
    commanded_robot: Robot, caplog: pytest.LogCaptureFixture
) -> None:
    sender = sender_of(commanded_robot, hold_s=30.0)

    expected = list[Any]()

    def stops() -> bool:
        sender.bridge({}, ["troubles do not matter"])
        return base_speeds(commanded_robot) == expected

    for action in (ACTION, NEXT):
        sender.send(action)
        expected += [action["x.vel"], 0.0]
        until(stops)
        for _ in range(MORE):
            sender.bridge({}, [])
    sender.send(ACTION)
    until(lambda: base_speeds(commanded_robot)[-1:] == [0.5])
    assert base_speeds(commanded_robot) == [*expected, 0.5]
    assert len(lines_with(caplog.messages, "logged")) == 1
    check_wording(*lines_with(caplog.messages, "logged"))
