# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Named QoS profiles, each with its reason."""

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

SAMPLE = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.BEST_EFFORT
)
"""Inputs: only the newest message counts, and a best-effort reader matches every publisher."""

COMMAND = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.RELIABLE
)
"""Commands: an old one is worthless, the newest must arrive."""

COMMANDS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=20, reliability=ReliabilityPolicy.RELIABLE
)
"""Commands, for who follows one of several publishers: at a depth of 1 the commands of the others
would replace its own."""

ESTOPS = (
    QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE),
    QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT),
)
"""E-stop: no publisher may go unheard, so there is a reader that loses nothing, and one that
matches every publisher."""

LATCHED_ESTOP = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
"""E-stop: what was pressed before the reader was there, from publishers that keep it."""


SWITCH = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
"""Requests on a topic: the newest counts, and none that was sent before the reader was there."""

REQUESTS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=2000, reliability=ReliabilityPolicy.RELIABLE
)
"""Services: each request gets its answer, though many come at once. ROS keeps ten of each and drops
the others without a word, on either side; without a bound, a client that reads no answers would
block who answers."""


class NoEvents:
    """Event callbacks of a reader or publisher that need not match every other: no warnings.

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
"""Status: a subscriber that comes late gets the newest one."""

DIAGNOSTICS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=10, reliability=ReliabilityPolicy.RELIABLE
)
"""What /diagnostics aggregators expect."""

CHUNKS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=10, reliability=ReliabilityPolicy.RELIABLE
)
"""Chunks for others to see: few, and each is worth having."""
