# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The private part of rclpy that `nodes.rclpy_gaps` uses: it may change with any version."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node
from std_msgs.msg import Bool

from policy_inference.nodes.rclpy_gaps import (
    Logger,
    MessageWaitSet,
    full_name,
    never_called,
    take_message,
    take_with_sender,
)

pytestmark = pytest.mark.ros

CHECKED = ("3.3.", "7.1.", "9.1.")
"""Versions of rclpy in Humble, Jazzy and Kilted."""


@pytest.fixture
def node() -> Iterator[Node]:
    context = Context()
    rclpy.init(context=context, args=[])
    node = Node("gaps", context=context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


def test_version_of_rclpy_was_checked() -> None:
    found = version("rclpy")
    assert found.startswith(CHECKED), (
        f"nodes/rclpy_gaps.py uses private parts of rclpy, which was checked with {CHECKED}, and "
        f"not with {found}: run the tests of the nodes with it, then add it"
    )


def test_no_other_module_uses_what_is_private() -> None:
    sources = Path(__file__).resolve().parents[3]
    modules = {
        file.name
        for file in sources.rglob("*.py")
        if re.search(r"rclpy\.impl|rclpy_implementation", file.read_text("utf-8"))
    }
    assert modules == {"rclpy_gaps.py", "test_rclpy_gaps.py"}


def test_message_is_waited_for_and_taken_as_bytes(node: Node) -> None:
    subscription: Any = node.create_subscription(Bool, "pressed", never_called, 10)
    waits = MessageWaitSet(node, 1)
    publisher = node.create_publisher(Bool, "pressed", 10)
    assert waits.wait([subscription.handle], 0) == []
    assert take_message(subscription.handle, Bool) is None

    publisher.publish(Bool(data=True))

    assert waits.wait([subscription.handle], 10_000_000_000) == [subscription.handle.pointer]
    taken = take_message(subscription.handle, Bool)
    assert taken is not None
    data, info = taken
    assert data[:5] == b"\x00\x01\x00\x00\x01"  # CDR, little endian; true
    assert info["source_timestamp"] > 0


def test_message_is_taken_with_the_identity_that_the_graph_has_of_its_publisher(node: Node) -> None:
    subscription: Any = node.create_subscription(Bool, "pressed", never_called, 10)
    waits = MessageWaitSet(node, 1)
    assert take_with_sender(subscription.handle) is None
    for pressed in (True, False):
        publisher = node.create_publisher(Bool, "pressed", 10)
        publisher.publish(Bool(data=pressed))
        assert waits.wait([subscription.handle], 10_000_000_000)
        taken = take_with_sender(subscription.handle)
        assert taken is not None
        data, sender = taken
        assert data[:5] == bytes([0, 1, 0, 0, pressed])
        (info,) = node.get_publishers_info_by_topic("/pressed")
        assert bytes(info.endpoint_gid).startswith(sender)
        node.destroy_publisher(publisher)


def test_nodes_of_a_topic_have_their_full_names(node: Node) -> None:
    node.create_publisher(Bool, "pressed", 10)

    (found,) = node.get_publishers_info_by_topic("/pressed")

    assert full_name(found) == "/gaps"


def test_logger_of_a_node_has_the_type(node: Node) -> None:
    assert isinstance(node.get_logger(), Logger)
