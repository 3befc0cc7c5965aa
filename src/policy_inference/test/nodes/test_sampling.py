# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Messages are taken when they are needed, never by the executor."""

import threading
from collections.abc import Callable

import pytest
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Int32

from policy_inference.nodes import qos
from policy_inference.nodes.sampling import Arrivals, Sampled, SampleGroup

from .harness import Robot, Stage

pytestmark = pytest.mark.ros
SHORT_NS = 1_000_000
LONG_NS = 10_000_000_000


@pytest.fixture
def node(stage: Stage) -> Node:
    return stage.robot.node


@pytest.fixture
def sampled(node: Node) -> Sampled[Int32]:
    return Sampled(node, SampleGroup(), Int32, "number")


@pytest.fixture
def arrivals(node: Node, sampled: Sampled[Int32]) -> Arrivals:
    return Arrivals(node, [sampled])


@pytest.fixture
def send(
    node: Node, robot: Robot, sampled: Sampled[Int32], arrivals: Arrivals
) -> Callable[..., None]:
    """Publish numbers; afterwards the last of them is there to be taken."""
    publisher: Publisher = node.create_publisher(Int32, "number", 10)
    # A second listener without depth shows when everything has been delivered.
    heard: list[int] = []
    node.create_subscription(Int32, "number", lambda m: heard.append(m.data), 100)
    robot.until(lambda: publisher.get_subscription_count() == 2, "both subscriptions")

    def publish(*numbers: int) -> None:
        for number in numbers:
            publisher.publish(Int32(data=number))
        robot.until(lambda: heard[-1:] == [numbers[-1]], "the numbers")
        assert arrivals.wait(LONG_NS)

    return publish


def number(message: Int32 | None) -> int | None:
    return None if message is None else int(message.data)


def test_executor_leaves_messages_where_they_are(
    sampled: Sampled[Int32], send: Callable[..., None], robot: Robot
) -> None:
    send(1)
    for _ in range(20):
        robot.executor.spin_once(timeout_sec=0.0)
    assert number(sampled.take()) == 1


def test_newest_message_wins(sampled: Sampled[Int32], send: Callable[..., None]) -> None:
    send(1, 2, 3)
    assert number(sampled.take()) == 3


def test_message_is_taken_once(sampled: Sampled[Int32], send: Callable[..., None]) -> None:
    send(1)
    sampled.take()
    assert sampled.take() is None


def test_nothing_is_taken_where_nothing_came(sampled: Sampled[Int32]) -> None:
    assert sampled.take() is None


def test_held_message_is_not_lost(sampled: Sampled[Int32], send: Callable[..., None]) -> None:
    send(1)
    sampled.hold()
    sampled.hold()
    assert number(sampled.take()) == 1
    assert sampled.take() is None


def test_newer_message_replaces_the_held_one(
    sampled: Sampled[Int32], send: Callable[..., None]
) -> None:
    send(1)
    sampled.hold()
    send(2)
    assert number(sampled.take()) == 2
    assert sampled.take() is None


def test_arrival_wakes_and_takes_nothing(
    sampled: Sampled[Int32], arrivals: Arrivals, send: Callable[..., None]
) -> None:
    woken = threading.Event()

    def wait() -> None:
        if arrivals.wait(LONG_NS):
            woken.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    send(1)
    waiting.join()
    assert woken.is_set()
    assert number(sampled.take()) == 1


def test_held_message_is_no_arrival(
    sampled: Sampled[Int32], arrivals: Arrivals, send: Callable[..., None]
) -> None:
    send(1)
    assert arrivals.wait(SHORT_NS)
    sampled.hold()
    assert not arrivals.wait(SHORT_NS)


def test_waiting_gives_up_at_a_time_that_has_passed(arrivals: Arrivals) -> None:
    assert not arrivals.wait(-SHORT_NS)


def test_publishers_are_counted(sampled: Sampled[Int32], node: Node, robot: Robot) -> None:
    assert sampled.publishers() == 0
    node.create_publisher(Int32, "number", 10)
    node.create_publisher(Int32, "number", 10)
    robot.until(lambda: sampled.publishers() == 2, "two publishers")


def test_best_effort_publisher_is_heard(sampled: Sampled[Int32], node: Node, robot: Robot) -> None:
    best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    publisher = node.create_publisher(Int32, "number", best_effort)
    robot.until(lambda: publisher.get_subscription_count() == 1, "the subscription")


def test_executor_does_not_wake_for_the_events_of_a_sampled_topic(
    sampled: Sampled[Int32], robot: Robot
) -> None:
    # In Fast DDS such a wait ends whenever a message is there, which is nearly always.
    handlers = sampled.subscription.event_handlers
    assert handlers
    assert not any(robot.executor.can_execute(handler) for handler in handlers)


def test_inputs_are_sampled_at_depth_one() -> None:
    assert (qos.SAMPLE.depth, qos.SAMPLE.history) == (1, HistoryPolicy.KEEP_LAST)


def test_closed_input_has_no_subscription(sampled: Sampled[Int32], node: Node) -> None:
    sampled.close()
    assert "number" not in [s.topic_name.strip("/") for s in node.subscriptions]
