# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The private part of rclpy that `nodes.rclpy_gaps` uses: it may change with any version."""

import re
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node
from std_msgs.msg import Bool

from policy_inference.nodes.lifecycle import PeerGuard
from policy_inference.nodes.rclpy_gaps import (
    Logger,
    MessageWaitSet,
    full_name,
    never_called,
    take_with_sender,
)

pytestmark = pytest.mark.ros

CHECKED = ("3.3.", "7.1.", "9.1.")
"""Versions of rclpy in Humble, Jazzy and Kilted."""


class _GuardedNode(PeerGuard, Node):  # type: ignore[misc]  # rclpy has no types
    """A node of the suite."""


@pytest.fixture
def gaps_node() -> Iterator[Node]:
    context = Context()
    rclpy.init(context=context, args=[])
    node = Node("gaps", context=context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


def test_version_of_rclpy_was_checked() -> None:
    found = version("rclpy")
    # Another one: run the tests of the nodes with it, then add it.
    assert found.startswith(CHECKED)


def test_message_is_taken_with_the_identity_and_name_that_the_graph_has_of_its_publisher(
    gaps_node: Node,
) -> None:
    subscription: Any = gaps_node.create_subscription(Bool, "pressed", never_called, 10)
    waits = MessageWaitSet(gaps_node, 1)
    assert take_with_sender(subscription.handle) is None
    for pressed in (True, False):
        publisher = gaps_node.create_publisher(Bool, "pressed", 10)
        publisher.publish(Bool(data=pressed))
        assert waits.wait([subscription.handle], 10_000_000_000)
        taken = take_with_sender(subscription.handle)
        assert taken is not None
        data, sender = taken
        assert data[:5] == bytes([0, 1, 0, 0, pressed])
        (info,) = gaps_node.get_publishers_info_by_topic("/pressed")
        assert bytes(info.endpoint_gid).startswith(sender)
        assert full_name(info) == "/gaps"
        gaps_node.destroy_publisher(publisher)


def test_log_of_a_node_shows_control_characters_as_escapes(log_since: Callable[[], str]) -> None:
    context = Context()
    rclpy.init(context=context, args=[])
    node = _GuardedNode("guarded", context=context)
    log_since()
    node.get_logger().error("clipboard \x1b]52;c;cm0K\x07\nnext line")
    log = log_since()
    node.destroy_node()
    rclpy.shutdown(context=context)
    assert "[guarded]" in log
    assert r"clipboard \x1b]52;c;cm0K\x07" in log
    assert "\nnext line" in log
    assert not {"\x1b", "\x07"} & set(log)


def test_each_line_of_code_logs_with_its_own_severity(log_since: Callable[[], str]) -> None:
    log_since()
    logger = Logger("peer")
    logger.info("first", throttle_duration_sec=60.0)
    for _ in range(2):
        logger.error("second", throttle_duration_sec=60.0)
    log = log_since()
    assert "[INFO]" in log
    assert log.count("second") == 1


def test_every_node_logs_with_it() -> None:
    sources = Path(__file__).resolve().parents[3]
    product = [file for file in sources.rglob("*.py") if "test" not in file.parts]
    texts = {file: file.read_text("utf-8") for file in product}
    nodes = {
        (file.name, bases)
        for file, text in texts.items()
        for bases in re.findall(r"^class \w+\((.*\b(?:Lifecycle)?Node\b.*)\):", text, re.MULTILINE)
    }
    assert len(nodes) > 5
    assert not {(file, bases) for file, bases in nodes if not bases.startswith("PeerGuard, ")}
    assert not [file.name for file, text in texts.items() if "rclpy.logging" in text]
