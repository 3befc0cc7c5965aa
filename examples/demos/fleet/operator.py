# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The operator of one simulated robot of a fleet; it also observes whether the robot walks."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from nav_msgs.msg import Odometry
from policy_msgs.msg import PolicyStatus
from rclpy.qos import QoSProfile
from std_srvs.srv import Trigger

from robot_operator.nodes.client import Operator
from robot_sim.driven import NS_PER_S
from robot_sim.nodes.messages import nanoseconds
from robot_sim.rotation import tilt_rad

_NEWEST = QoSProfile(depth=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stroll:
    """A robot's motion during a span of simulated time.

    Attributes:
        duration_s: Simulated time.
        distance_m: Horizontal distance between the first and the last position.
        lowest_m: Lowest height of the body.
    """

    duration_s: float
    distance_m: float
    lowest_m: float


class FleetOperator(Operator):
    """A client of the policy node in a namespace. Use it in a `with` block.

    Attributes:
        received_s: Time at which the latest status was received, on the steady clock; 0 before the
            first one.
    """

    def __init__(self, namespace: str, **more: Any) -> None:
        """Join the ROS 2 domain set in the environment; pass `more` to `Operator`."""
        self.received_s = 0.0
        super().__init__(policy_node=f"/{namespace}/joint_policy_node", **more)
        self._upright = self.node.create_client(Trigger, f"/{namespace}/sim_node/set_upright")

    def wait_for_new_status(self, timeout_s: float) -> None:
        """Wait for the first status of a policy node that has just been started."""
        since_s = time.monotonic()
        self.wait_until(lambda: self.received_s > since_s, "a status", timeout_s)

    def set_upright(self) -> None:
        """Set the robot upright in place, as a person would after a fall."""
        self.call(self._upright, "set_upright")

    def wait_for_shadow(self, ticks: int, timeout_s: float) -> None:
        """Wait until the shadow has been compared with the active policy for `ticks` ticks."""
        self.wait_until(
            lambda: any(one.compared >= ticks for one in self.status.shadow),
            f"a shadow that was compared in {ticks} ticks",
            timeout_s,
        )

    def observe(self, duration_s: float, timeout_s: float) -> Stroll:
        """Return the robot's motion during a span of simulated time."""
        seen = self._watch(duration_s, f"{duration_s:g} s of simulated time", timeout_s)
        places = [message.pose.pose.position for message in seen]
        first, last = places[0], places[-1]
        return Stroll(
            duration_s=_between_s(seen),
            distance_m=math.hypot(last.x - first.x, last.y - first.y),
            lowest_m=min(place.z for place in places),
        )

    def tilt_rad(self) -> float:
        """Return the current angle between the body's z axis and the vertical."""
        (seen, *_) = self._watch(0.0, "odom of the simulator", self.answer_timeout_s)
        q = seen.pose.pose.orientation
        return float(tilt_rad(np.array([q.x, q.y, q.z, q.w])))

    def _watch(self, duration_s: float, what: str, timeout_s: float) -> list[Odometry]:
        """Return the odometry messages received in a span of simulated time (at least one)."""
        seen = list[Odometry]()

        def see(message: Odometry) -> None:
            seen.append(message)
            self.notify()

        odometry = self.node.create_subscription(Odometry, "odom", see, _NEWEST)
        try:
            self.wait_until(lambda: bool(seen) and _between_s(seen) >= duration_s, what, timeout_s)
        finally:
            # on the thread that spins, which may be about to wait for it
            self.node.executor.create_task(self.node.destroy_subscription, odometry)
        return seen

    def _on_status(self, message: PolicyStatus) -> None:
        self.received_s = time.monotonic()
        super()._on_status(message)


def _between_s(seen: Sequence[Odometry]) -> float:
    """Return the simulated time between the first and the last message."""
    first_ns, last_ns = (nanoseconds(seen[at].header.stamp) for at in (0, -1))
    return (last_ns - first_ns) / NS_PER_S
