# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Switches in a policy set: requested by service or topic, reported in the status.

Subscribes: `~/switch_to` (std_msgs/String, reliable, depth 1).
Serves: `~/switch` (policy_msgs/SwitchState).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from policy_msgs.msg import PolicyStatus, SetStatus
from policy_msgs.srv import SwitchState
from rclpy.node import Node
from std_msgs.msg import String

from policy_core.interfaces import Mode
from policy_core.words import FIRST_AWAITED
from policy_inference.kinds.chunk import OpenedChunks
from policy_inference.kinds.opening import OpenedPolicy
from policy_inference.nodes.rclpy_gaps import Logger
from policy_inference.nodes.requests import ServiceAndTopic
from policy_inference.nodes.tick_observer import TickObserver, do_nothing


def serve_switches(
    node: Node, ask: Callable[[str], None], report: Callable[[], None]
) -> ServiceAndTopic:
    """Serve `~/switch`, and subscribe to `~/switch_to`; arguments as for `AuthorityRequests`."""

    def switch(request: SwitchState.Request) -> str:
        ask(request.state)
        return f"{request.state} has been requested"

    def hear(state: str) -> bool:
        ask(state)
        return True

    return ServiceAndTopic(
        node, (SwitchState, "~/switch", switch), (String, "~/switch_to", hear), report
    )


class SwitchReports(TickObserver):
    """Reports a set's state and switches in the status, the log and the diagnostics."""

    def __init__(self, policy: OpenedPolicy[Any], logger: Logger) -> None:
        self._logger = logger
        self.adopt(policy, None)
        self._held = frozenset[str]()

    def _commanding(self) -> list[OpenedChunks]:
        if self._policy.controller.mode is not Mode.RUN:
            return []
        state = self._policy.bundle.contract.states[self._switching.report.state]
        return [member for member in self._policy.chunks if member.name in state.members]

    @property
    def problem(self) -> str:
        """Why members in command have no chunks, and which of their joints oscillate."""
        found = []
        for member in self._commanding():
            why = member.held or member.policy.problem
            found += [f"{member.name}: {why}"] if why and why != FIRST_AWAITED else []
            found += [f"{member.name}: {each}" for each in member.policy.oscillation.problems]
        return "; ".join(found)

    def adopt(self, policy: OpenedPolicy[Any], prepared: object) -> Callable[[], None]:
        assert policy.switching is not None  # or there is nothing to report
        self._policy, self._switching = policy, policy.switching
        return do_nothing

    def log(self) -> None:
        refusals = self._switching.policy_set.refusals
        while refusals:
            self._logger.warning(refusals.popleft())
        held = {each.name: each.held for each in self._commanding() if each.held}
        for name in sorted(held.keys() - self._held):
            self._logger.warning(f"{name}: its joints are held: {held[name]}")
        self._held = frozenset(held)

    def diagnostics(self) -> Mapping[str, str]:
        return {
            "set.last_switch": " -> ".join(self._switching.report.last[:2]),
            **{key: text for each in self._policy.chunks for key, text in _figures(each)},
        }

    def stop(self) -> None:
        self.log()

    def report(self, status: PolicyStatus) -> None:
        report = self._switching.report
        last_from, last_to, last_reason = report.last or ("", "", "")
        status.policy_set = [
            SetStatus(
                state=report.state,
                states=[*self._policy.bundle.contract.states],
                blending=report.is_blending,
                asked=report.asked,
                refused=report.refused,
                switches=report.switches,
                fallbacks=report.fallbacks,
                last_from=last_from,
                last_to=last_to,
                last_reason=last_reason,
                last_step_ratio=report.step_ratio,
            )
        ]


def _figures(member: OpenedChunks) -> Iterator[tuple[str, str]]:
    key, latency = f"set.{member.name}", member.policy.latency.summary()
    yield f"{key}.held", member.held
    yield f"{key}.steps_left", str(member.policy.left)
    yield f"{key}.inference_p50_s", f"{latency.p50_s:.6f}"
    yield f"{key}.inference_p99_s", f"{latency.p99_s:.6f}"
