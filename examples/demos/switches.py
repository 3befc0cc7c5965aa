# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Requests switches between the policies of a set, and records the results."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robot_operator.nodes.client import Operator
from robot_sim.trace import Trace

_LONGEST_SWITCH_S = 4.0
_ANSWERED_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchEvent:
    """The result of a switch request, or of a switch made without a request.

    Attributes:
        at_s: Simulated time of the result.
        ended_s: Simulated time at which the blend ended.
        state: State that was in command afterwards.
        why: The node's reason.
        granted: True if the state was entered.
        step_ratio: Largest target step in the blend, divided by the largest in a healthy run.
    """

    at_s: float
    ended_s: float
    state: str
    why: str
    granted: bool
    step_ratio: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SetRound:
    """A round of switches at one friction and one latency.

    Attributes:
        name: Title of the round.
        friction, latency_s: Conditions of the round.
        trace: The simulator's ground truth.
        initial: State at the start.
        events: Results of the switches, in order.
        pushes_s: Times of the pushes.
        status: The last status in RUN, or the status with the fault that ended RUN.
        recording: Folder of the flight recording.
    """

    name: str
    friction: float
    latency_s: float
    trace: Trace
    initial: str
    events: tuple[SwitchEvent, ...]
    pushes_s: tuple[float, ...]
    status: Any
    recording: Path | None


class SwitchLog:
    """Requests switches from a running robot, and records their results in `events`."""

    def __init__(self, operator: Operator) -> None:
        """Prepare to request switches through this operator."""
        self.operator, self.events = operator, list[SwitchEvent]()

    @property
    def report(self) -> Any:
        """The newest policy_msgs/SetStatus."""
        return self.operator.status.policy_set[0]

    @property
    def runs(self) -> bool:
        """True while a policy commands the robot."""
        return self.operator.mode in ("RUN", "HOLD")

    @property
    def now_s(self) -> float:
        return self.operator.now_ns * 1e-9

    def ask(self, state: str) -> None:
        """Request a switch; wait until it has ended or been refused."""
        before, began_s = self.report.switches, self.now_s
        granted, message = self.operator.switch(state)
        if not granted:
            self._refused(message)
            return
        self.operator.wait_until(
            lambda: (
                self.report.switches > before
                or bool(self.report.refused and not self.report.asked)
                or self.now_s > began_s + _LONGEST_SWITCH_S
                or not self.runs
            ),
            f"the switch to {state}",
            _ANSWERED_WITHIN_S,
        )
        if self.report.switches > before:
            self.settle()
        else:
            self._refused(self.report.refused)

    def follow_back(self, before: int) -> None:
        """Record the switches on the way back to standing, skipping the first `before` switches."""
        while self._goes_on(before):
            before = self.report.switches
            self.settle()

    def _goes_on(self, before: int) -> bool:
        """Wait for one more switch; return whether it began before the policy ended."""
        self.operator.wait_until(
            lambda: self.report.switches > before or not self.runs,
            "the way back",
            _ANSWERED_WITHIN_S,
        )
        return bool(self.report.switches > before)

    def settle(self) -> None:
        """Record the last switch once its blend has ended."""
        at_s, before = self.now_s, self.report
        self.operator.wait_until(
            lambda: not self.report.blending or not self.runs, "the blend", _ANSWERED_WITHIN_S
        )
        self.events.append(
            SwitchEvent(
                at_s=at_s,
                ended_s=self.now_s,
                state=before.last_to,
                why=before.last_reason,
                granted=True,
                step_ratio=self.report.last_step_ratio,
            )
        )

    def _refused(self, why: str) -> None:
        now_s, state = self.now_s, self.report.state
        self.events.append(
            SwitchEvent(at_s=now_s, ended_s=now_s, state=state, why=why, granted=False)
        )
