# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Plays a recording on live topics: python player.py BAG [--rate R] [--best-effort] ...

Publishes the bytes that were recorded, in the order of the log and at its pace times the rate, as
soon as each topic has a subscriber, or at once (`--unheard`). `--stay`: stays there until the
standard input ends.
"""

import argparse
import importlib
import os
import sys
import time
from pathlib import Path

import rclpy
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bag", type=Path)
    parser.add_argument("--rate", type=float, default=1.0)
    parser.add_argument("--best-effort", action="store_true")
    parser.add_argument("--unheard", action="store_true")
    parser.add_argument("--stay", action="store_true")
    args = parser.parse_args()
    os.environ.update(dict.fromkeys(PROFILES, str(Path(__file__).with_suffix(".xml"))))
    rclpy.init()
    node = Node("player")
    with AnyReader([args.bag], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
        publishers = {
            name: publisher_of(node, name, info.msgtype or "", args.best_effort)
            for name, info in reader.topics.items()
        }
        if not args.unheard:
            wait_for_listeners(publishers)
        began_s, start_ns = time.monotonic(), reader.start_time
        for connection, log_ns, data in reader.messages():
            due_s = began_s + (log_ns - start_ns) * 1e-9 / args.rate
            time.sleep(max(0.0, due_s - time.monotonic()))
            publishers[connection.topic].publish(bytes(data))
    for publisher in publishers.values():
        publisher.wait_for_all_acked(Duration(seconds=10))
    if args.stay:
        sys.stdin.read()
    node.destroy_node()
    rclpy.shutdown()


def publisher_of(node: Node, topic: str, kind: str, best_effort: bool) -> Publisher:
    """Return a publisher whose messages are not lost on its side."""
    package, _, name = kind.split("/")
    policy = ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE
    return node.create_publisher(
        getattr(importlib.import_module(f"{package}.msg"), name),
        topic,
        QoSProfile(depth=2000, reliability=policy),
    )


def wait_for_listeners(publishers: dict[str, Publisher]) -> None:
    """Wait until each topic has one; give up after 20 s."""
    give_up_s = time.monotonic() + 20.0
    while not all(publisher.get_subscription_count() for publisher in publishers.values()):
        if time.monotonic() > give_up_s:
            sys.exit("nobody listens")
        time.sleep(0.01)


if __name__ == "__main__":
    main()
