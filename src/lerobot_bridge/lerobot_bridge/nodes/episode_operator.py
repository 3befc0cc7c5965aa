# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Ask the episode recorder for something, or what it does: for those without the `ros2` command."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from std_srvs.srv import Trigger

from policy_inference.nodes import qos

REQUESTS = {
    "start": "begin, after the warm-up where there is one",
    "stop": "end the episode and keep it",
    "discard": "end the episode and keep nothing of it",
    "next": "end the episode and keep it; the next one begins after the reset",
    "success": "the episode, or the last one, reached what it was about",
    "failure": "it did not",
    "finish": "end the session",
}
_STATUS = "status"
_TIMEOUT_S = 10.0


def main(args: Sequence[str] | None = None) -> int:
    """Do one thing and print what came of it.

    Returns:
        0; 1 where the recorder refused or did not answer.
    """
    parser = argparse.ArgumentParser("episode_operator", description=__doc__)
    parser.add_argument("--node", default="episode_recorder", help="name of the recorder's node "
                        "(default: %(default)s)")
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    for name, doc in {**REQUESTS, _STATUS: "print state, time, rates, space"}.items():
        actions.add_parser(name, help=doc)
    given = parser.parse_args(args)
    with _node() as node:
        did, text = (_status if given.action == _STATUS else _ask)(node, given)
    (sys.stdout if did else sys.stderr).write(f"{text}\n")
    return 0 if did else 1


def _ask(node: Node, given: argparse.Namespace) -> tuple[bool, str]:
    client = node.create_client(Trigger, f"{given.node}/{given.action}")
    if not _until(node, client.service_is_ready):
        return False, _nobody(given.node)
    answer = client.call_async(Trigger.Request())
    if not _until(node, answer.done):
        return False, _nobody(given.node)
    response = answer.result()
    return response.success, response.message


def _status(node: Node, given: argparse.Namespace) -> tuple[bool, str]:
    heard: list[DiagnosticArray] = []
    node.create_subscription(DiagnosticArray, f"{given.node}/status", heard.append, qos.STATUS)
    if not _until(node, lambda: bool(heard)):
        return False, _nobody(given.node)
    (status,) = heard[-1].status
    width = max(len(entry.key) for entry in status.values)
    lines = [f"{entry.key:<{width}}  {entry.value}" for entry in status.values]
    return True, "\n".join([status.message, *lines])


def _nobody(name: str) -> str:
    return (f"{name}: expected an answer within {_TIMEOUT_S:g} s, found none; does it run, in this "
            "ROS_DOMAIN_ID? --node names another one")


def _until(node: Node, condition: Callable[[], bool]) -> bool:
    """Spin until the condition holds; return whether it did in time."""
    ends_s = time.monotonic() + _TIMEOUT_S
    while not condition() and time.monotonic() < ends_s:
        rclpy.spin_once(node, timeout_sec=0.05)
    return condition()


@contextmanager
def _node() -> Iterator[Node]:
    rclpy.init(args=[])
    node = Node("episode_operator", enable_rosout=False, start_parameter_services=False)
    try:
        yield node
    finally:
        node.destroy_node()
        rclpy.shutdown()


if __name__ == "__main__":
    sys.exit(main())
