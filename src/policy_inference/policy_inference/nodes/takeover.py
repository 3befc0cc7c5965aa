# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The ROS interface of a takeover by a person: services, topics and log.

Publishes: `intervention` (std_msgs/Bool, reliable, depth 1) with each tick and at the end: true
while the arm follows a person, which it does not in HOLD; `leader/joint_command`
(policy_msgs/JointCommand, reliable, depth 1) while the leader's pose is known: target pose for a
motorised leader, without stiffness while a person drives.
Serves (std_srvs/Trigger): `~/take_over`, `~/hand_back`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rclpy.node import Node
from std_msgs.msg import Bool

from policy_core.bundle.state_fields import LEADER
from policy_core.control.tick import Tick
from policy_core.interfaces import Mode
from policy_core.members.chunk.takeover import Driver, LeaderGuide
from policy_inference.kinds.opening import OpenedPolicy
from policy_inference.nodes import qos
from policy_inference.nodes.outputs import Output
from policy_inference.nodes.sampling import Sampled
from policy_inference.nodes.tick_observer import TickObserver, do_nothing

_DRIVING = (Mode.RUN, Mode.HOLD)
_LOGGED_EVERY_S = 2.0


class TakeoverReports(TickObserver):
    """Observes the ticks of a chunk policy that a person may take over from."""

    def __init__(
        self,
        node: Node,
        policy: OpenedPolicy[Any],
        topics: Mapping[str, Sampled[Any]],
        values: Mapping[str, Any],
    ) -> None:
        """Create the publishers.

        Args:
            node: The node.
            policy: The policy.
            topics: Subscription of each input.
            values: Parameters of the node.
        """
        self._node, self._leader = node, topics[LEADER.name]
        self._intervention = node.create_publisher(Bool, "intervention", qos.COMMAND)
        self._output = Output(
            node,
            "joint_command",
            policy.bundle.contract,
            values["command_valid_for_s"],
            namespace="leader/",
        )
        self.adopt(policy, None)

    def adopt(self, policy: OpenedPolicy[Any], prepared: object) -> Callable[[], None]:
        assert policy.takeover is not None
        assert policy.takeover.person is not None  # or there is nothing to report
        self._policy, self._takeover = policy, policy.takeover.person
        self._guide = LeaderGuide(policy.bundle.contract)
        return do_nothing

    def start(self) -> None:
        self._output.start()
        self._guide = LeaderGuide(self._policy.bundle.contract)

    @property
    def driver(self) -> Driver | None:
        """Source of the arm's targets; None if no policy runs."""
        return self._takeover.driver if self._policy.controller.mode in _DRIVING else None

    def observe(self, tick: Tick) -> None:
        takeover, sent = self._takeover, tick.targets
        self._say_who_drives(tick.mode)
        targets = self._guide.targets(
            tick.mode,
            takeover.driver,
            tick.state["joint_pos"] if sent is None else sent.position,
            None if sent is None else takeover.leader_pose(tick.now_ns),
        )
        if targets is not None:
            self._output.publish(targets, tick.stamp_ns)

    def diagnostics(self) -> Mapping[str, str]:
        driver, takeover = self.driver, self._takeover
        off = {}
        if driver is Driver.HANDOVER:
            off = dict(zip(takeover.joints, takeover.off_rad, strict=True))
        return {
            "takeover.driver": "none" if driver is None else driver.value,
            "takeover.tolerance_rad": f"{takeover.tolerance_rad:g}",
            **{f"takeover.off_rad.{name}": f"{value:+.3f}" for name, value in off.items()},
        }

    def refusal(self) -> str:
        """Return why the leader's topic is invalid, which only ROS knows; else empty."""
        count = self._leader.publishers()
        if count == 1:
            return ""
        return f"{LEADER.name}: {count} publishers, expected the leader arm's node alone"

    def observe_failure(self, tick: Tick) -> None:
        self._say_who_drives(Mode.DAMP)

    def log(self) -> None:
        """Refuse two leaders; log a leader's distance from the arm while a person waits."""
        count = self._leader.publishers()
        self._leader.refused = f"{count} publishers, expected one" if count > 1 else ""
        if text := self._policy.input_problem(LEADER.name):
            self._node.get_logger().info(text, throttle_duration_sec=_LOGGED_EVERY_S)

    def stop(self) -> None:
        """Report that no person drives; a leader holds its pose once its commands have expired."""
        self._say_who_drives(Mode.DAMP)

    def close(self) -> None:
        self._node.destroy_publisher(self._intervention)
        self._node.destroy_publisher(self._output.publisher)

    def _say_who_drives(self, mode: Mode) -> None:
        drives = mode is Mode.RUN and self._takeover.driver is Driver.PERSON
        self._intervention.publish(Bool(data=drives))
