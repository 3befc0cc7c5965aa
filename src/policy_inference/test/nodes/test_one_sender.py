# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Of two publishers of commands one is followed, the other counted and reported."""

from collections.abc import Iterator

import pytest
import rclpy
from builtin_interfaces.msg import Duration
from policy_msgs.msg import JointCommand
from rclpy.context import Context
from rclpy.node import Node
from rclpy.publisher import Publisher

from policy_inference.nodes.one_sender import OneSender

pytestmark = pytest.mark.ros

LONG_S = 60
"""Of a command that does not expire during a test; it keeps its sender for a second at most."""
WITHIN_NS = 10_000_000_000


class Pair:
    """Two nodes that publish, and one that follows."""

    def __init__(self, context: Context) -> None:
        self.nodes = [Node(name, context=context) for name in ("robot", "first", "second")]
        self.robot, *others = self.nodes
        self.first, self.second = (
            node.create_publisher(JointCommand, "joint_command", 1) for node in others
        )

    def follow(self, *, expires: bool) -> OneSender:
        return OneSender(self.robot, "joint_command", expires=expires)


@pytest.fixture
def senders() -> Iterator[Pair]:
    context = Context()
    rclpy.init(context=context, args=[])
    pair = Pair(context)
    yield pair
    for node in pair.nodes:
        node.destroy_node()
    rclpy.shutdown(context=context)


def send_and_wait(
    commands: OneSender, publisher: Publisher, sequence: int, valid_s: int = LONG_S
) -> None:
    """Publish a command, which has come when this returns."""
    publisher.publish(JointCommand(sequence=sequence, valid_for=Duration(sec=valid_s)))
    assert commands.wait(WITHIN_NS)


def sequence_taken(commands: OneSender) -> int | None:
    command = commands.take()
    return None if command is None else int(command.sequence)


def test_commands_of_the_second_publisher_are_counted_and_reported_until_the_consumer_begins_again(
    senders: Pair,
) -> None:
    commands = senders.follow(expires=False)
    send_and_wait(commands, senders.first, 1)
    assert sequence_taken(commands) == 1
    assert commands.problem() == ""
    for sequence in (11, 12):
        send_and_wait(commands, senders.second, sequence)
        assert sequence_taken(commands) is None
    assert commands.ignored == 2
    assert "/second" in commands.problem()
    assert "/first" in commands.problem()
    send_and_wait(commands, senders.first, 2)
    assert sequence_taken(commands) == 2
    commands.clear()
    assert (commands.ignored, commands.problem()) == (0, "")
    send_and_wait(commands, senders.second, 13)
    assert sequence_taken(commands) == 13


def test_second_publisher_is_followed_when_the_first_one_is_released(senders: Pair) -> None:
    commands = senders.follow(expires=False)
    send_and_wait(commands, senders.first, 1, valid_s=0)
    assert sequence_taken(commands) == 1
    send_and_wait(commands, senders.second, 11)
    assert sequence_taken(commands) is None
    commands.release()
    send_and_wait(commands, senders.second, 12)
    assert sequence_taken(commands) == 12
    send_and_wait(commands, senders.first, 2)
    assert sequence_taken(commands) is None
    assert commands.ignored == 2


def test_second_publisher_is_followed_when_the_command_of_the_first_has_expired(
    senders: Pair,
) -> None:
    commands = senders.follow(expires=True)
    send_and_wait(commands, senders.first, 1, valid_s=0)
    assert sequence_taken(commands) == 1
    send_and_wait(commands, senders.second, 11, valid_s=0)
    assert sequence_taken(commands) == 11
    assert commands.ignored == 0


def test_followed_publisher_keeps_its_place_where_its_next_command_waits(senders: Pair) -> None:
    # As after a stall of the consumer, in which the command before has expired.
    commands = senders.follow(expires=True)
    send_and_wait(commands, senders.first, 1, valid_s=0)
    assert sequence_taken(commands) == 1
    send_and_wait(commands, senders.first, 2)
    send_and_wait(commands, senders.second, 11)
    while commands.ignored == 0:
        assert sequence_taken(commands) in (2, None)
