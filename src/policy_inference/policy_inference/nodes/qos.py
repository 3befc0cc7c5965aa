# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Named QoS profiles, each with the reason for it."""

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

SAMPLE = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.BEST_EFFORT
)
"""Inputs: only the newest message counts, and a best-effort reader matches every publisher."""

COMMAND = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.RELIABLE
)
"""Commands: old ones are worthless, but the newest must arrive."""

COMMANDS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=20, reliability=ReliabilityPolicy.RELIABLE
)
"""Commands, for a receiver that follows one of several publishers: at depth 1, other publishers'
commands would replace the followed one's.
"""

ESTOPS = (
    QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE),
    QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT),
)
"""E-stop: messages from every publisher must be received, so there is one lossless reader, and one
reader that matches every publisher.
"""

LATCHED_ESTOP = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
"""E-stop: presses from before the reader existed, from publishers that keep them."""


SWITCH = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
"""Requests on a topic: only the newest counts, and those from before the reader existed do not."""

REQUESTS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=2000, reliability=ReliabilityPolicy.RELIABLE
)
"""Services: every request gets an answer, even if many requests arrive simultaneously. By default,
ROS keeps ten requests and ten answers and silently drops the others, on either side; without a
limit, a client that reads no answers would block the server.
"""


class NoEvents:
    """Event callbacks without warnings, for readers and publishers whose QoS may not match.

    Replaces rclpy's SubscriptionEventCallbacks and PublisherEventCallbacks, which moved between
    distributions.
    """

    def create_event_handlers(self, *_: object) -> list[object]:
        return []


STATUS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
"""Status: a late subscriber gets the newest one."""

DIAGNOSTICS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=10, reliability=ReliabilityPolicy.RELIABLE
)
"""The QoS that /diagnostics aggregators expect."""

TRANSFORMS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=100, reliability=ReliabilityPolicy.RELIABLE
)
"""/tf: each message contains different frames."""

FIXED = QoSProfile(
    depth=100, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
"""/tf_static: messages published before the reader existed."""

CHUNKS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=10, reliability=ReliabilityPolicy.RELIABLE
)
"""Chunks for observers: few messages, each of which matters."""
