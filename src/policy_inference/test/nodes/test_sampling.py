# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Messages are taken when they are needed, never by the executor."""

from collections.abc import Callable

import pytest
from rclpy.node import Node
from rclpy.publisher import Publisher
from std_msgs.msg import Int32

from policy_inference.nodes.sampling import Arrivals, Sampled, SampleGroup

from .harness import Robot

pytestmark = pytest.mark.ros
Send = Callable[..., None]
SHORT_NS = 1_000_000
LONG_NS = 10_000_000_000


@pytest.fixture
def robot_node(partner: Robot) -> Node:
    return partner.node


@pytest.fixture
def sampled_number(robot_node: Node) -> Sampled[Int32]:
    return Sampled(robot_node, SampleGroup(), Int32, "number")


@pytest.fixture
def arrivals(robot_node: Node, sampled_number: Sampled[Int32]) -> Arrivals:
    return Arrivals(robot_node, [sampled_number])


@pytest.fixture
def send_numbers(
    robot_node: Node, partner: Robot, sampled_number: Sampled[Int32], arrivals: Arrivals
) -> Send:
    publisher: Publisher = robot_node.create_publisher(Int32, "number", 10)
    # A second listener without depth shows when everything has been delivered.
    heard: list[int] = []
    robot_node.create_subscription(Int32, "number", lambda m: heard.append(m.data), 100)
    partner.until(lambda: publisher.get_subscription_count() == 2, "both subscriptions")

    def publish(*numbers: int) -> None:
        for number in numbers:
            publisher.publish(Int32(data=number))
        partner.until(lambda: heard[-1:] == [numbers[-1]], "the numbers")
        assert arrivals.wait(LONG_NS)

    return publish


def number_in(message: Int32 | None) -> int | None:
    return None if message is None else int(message.data)


def test_executor_leaves_messages_where_they_are(
    sampled_number: Sampled[Int32], send_numbers: Send, partner: Robot
) -> None:
    send_numbers(1)
    for _ in range(20):
        partner.executor.spin_once(timeout_sec=0.0)
    assert number_in(sampled_number.take()) == 1


def test_newest_message_is_taken_once(sampled_number: Sampled[Int32], send_numbers: Send) -> None:
    assert sampled_number.take() is None
    send_numbers(1, 2, 3)
    assert number_in(sampled_number.take()) == 3
    assert sampled_number.take() is None


def test_held_message_is_no_arrival_and_is_taken_unless_a_newer_one_comes(
    sampled_number: Sampled[Int32], arrivals: Arrivals, send_numbers: Send
) -> None:
    send_numbers(1)
    sampled_number.hold()
    sampled_number.hold()
    assert not arrivals.wait(SHORT_NS)
    assert not arrivals.wait(-SHORT_NS)
    assert number_in(sampled_number.take()) == 1
    send_numbers(2)
    sampled_number.hold()
    send_numbers(3)
    assert number_in(sampled_number.take()) == 3
    assert sampled_number.take() is None
