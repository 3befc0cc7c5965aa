# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The operator of one simulated robot of a fleet: sees, too, whether the robot walks."""

import math
import time
from dataclasses import dataclass
from typing import Any

from nav_msgs.msg import Odometry
from policy_msgs.msg import PolicyStatus
from rclpy.qos import QoSProfile

from robot_operator.nodes.client import Operator
from robot_sim.driven import NS_PER_S
from robot_sim.nodes.messages import nanoseconds

_NEWEST = QoSProfile(depth=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stroll:
    """What a robot did in some simulated time.

    Attributes:
        duration_s: Of simulated time.
        distance_m: From its first to its last place, on the floor.
        lowest_m: Lowest height of its body.
    """

    duration_s: float
    distance_m: float
    lowest_m: float


class FleetOperator(Operator):
    """A client of the policy node in a namespace. Use it in a `with` block.

    Attributes:
        received_s: When the newest status came, on the steady clock; 0 before the first one.
    """

    def __init__(self, namespace: str, **more: Any) -> None:
        """Join the ROS 2 domain of the environment; more arguments as those of `Operator`."""
        self.received_s = 0.0
        super().__init__(policy_node=f"/{namespace}/joint_policy_node", **more)

    def wait_for_new_status(self, timeout_s: float) -> None:
        """Wait for the first status of a policy node that has just been started.

        Raises:
            OperatorError: None comes within `timeout_s`.
        """
        since_s = time.monotonic()
        self.wait_until(lambda: self.received_s > since_s, "a status", timeout_s)

    def wait_for_shadow(self, ticks: int, timeout_s: float) -> None:
        """Wait until the shadow was compared in so many ticks; it has what others leave of a core.

        Raises:
            OperatorError: It was not within `timeout_s`.
        """
        self.wait_until(
            lambda: any(one.compared >= ticks for one in self.status.shadow),
            f"a shadow that was compared in {ticks} ticks",
            timeout_s,
        )

    def observe(self, duration_s: float, timeout_s: float) -> Stroll:
        """Return what the robot does for some simulated time.

        Raises:
            OperatorError: That time does not pass within `timeout_s` of the steady clock.
        """
        places: list[tuple[int, float, float, float]] = []

        def see(message: Odometry) -> None:
            place = message.pose.pose.position
            places.append((nanoseconds(message.header.stamp), place.x, place.y, place.z))
            self.notify()

        odometry = self.node.create_subscription(Odometry, "odom", see, _NEWEST)
        try:
            self.wait_until(
                lambda: bool(places) and places[-1][0] - places[0][0] >= duration_s * NS_PER_S,
                f"{duration_s:g} s of simulated time",
                timeout_s,
            )
        finally:
            self.node.destroy_subscription(odometry)
        first, last = places[0], places[-1]
        return Stroll(
            duration_s=(last[0] - first[0]) / NS_PER_S,
            distance_m=math.hypot(last[1] - first[1], last[2] - first[2]),
            lowest_m=min(place[3] for place in places),
        )

    def _on_status(self, message: PolicyStatus) -> None:
        self.received_s = time.monotonic()
        super()._on_status(message)
