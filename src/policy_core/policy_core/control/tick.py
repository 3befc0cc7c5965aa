# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What observers see and answer: one tick of a controller, and how they ask to end a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import NamedTuple

import numpy as np

from policy_core.control_state import ControlState
from policy_core.guard.bounds import Trip
from policy_core.interfaces import F64, JointTargets, Mode
from policy_core.observation.freshness import Input
from policy_core.observation.state import StateVector


class Tick:
    """The latest tick of a controller, after it happened; observers read it and change nothing.

    There is one per controller, made once; each tick overwrites it on the control thread, to which
    all reading belongs: who keeps something of it copies it. Times in ns.

    Attributes:
        state: What was measured and what the policy made of it.
        inputs: Ages of what fills the state, by topic.
        control_state: Returns a copy of all that the controller goes on from after this tick; None
            where that was not kept and ticks have gone on. RefusedError: a tick hangs.
        now_ns: Time of the tick, on the clock of ages and motions.
        mode: At the end of the tick, whatever was asked for since.
        reason: Of that mode, in words.
        trip: Rule that latched a fault or began a HOLD last, in this tick or before or right after
            it; a new object each time. None: none has.
        granted: Requests that were granted between the tick before and this one, in their order,
            with their times.
        asked: Whether the policy was asked for a target.
        begins: Where it was asked: whether it was clean then, so that a run begins.
        taken: Whether it was asked and its answer was taken, not dropped.
        target: Where it was taken: what the policy asks for after the guard's bounds, before it is
            blended in [joints]. Always the same array.
        authority: Share of the policy that the operator leaves it [joints], 0 to 1. Always the
            same array.
        blend: Where it was taken: share of the policy in the targets, 0 to 1.
        clipped_ticks: Where it was taken: ticks in a row in which step or effort were beyond their
            bounds.
        targets: What the controller returned; what was sent instead, where a host sends it. None:
            nothing.
        sequence: Number of the command that was sent; None where none was.
        stamp_ns: Time of the tick on the clock of stamps and logs.
        duration_ns: From the sampling of the inputs to the command.
        missed: Deadlines before this tick at which none could start.
    """

    __slots__ = (
        "asked",
        "authority",
        "begins",
        "blend",
        "clipped_ticks",
        "control_state",
        "duration_ns",
        "granted",
        "inputs",
        "missed",
        "mode",
        "now_ns",
        "reason",
        "sequence",
        "stamp_ns",
        "state",
        "taken",
        "target",
        "targets",
        "trip",
    )

    def __init__(
        self,
        state: StateVector,
        inputs: Mapping[str, Input],
        target: F64,
        control_state: Callable[[], ControlState | None],
    ) -> None:
        """Show a controller that has not ticked yet.

        Args:
            state: What is measured comes into it.
            inputs: Ages of it, by topic.
            target: What the policy asks for comes into it [joints].
            control_state: As the attribute.
        """
        self.state, self.inputs, self.target = state, inputs, target
        self.control_state = control_state
        self.mode, self.reason = Mode.DAMP, ""
        self.trip: Trip | None = None
        self.granted: tuple[tuple[str, int], ...] = ()
        self.asked = self.begins = self.taken = False
        self.blend = 0.0
        self.authority: F64 = np.ones(len(target))
        self.clipped_ticks = 0
        self.targets: JointTargets | None = None
        self.sequence: int | None = None
        self.now_ns = self.stamp_ns = self.duration_ns = self.missed = 0

    def send(
        self,
        targets: JointTargets | None,
        sequence: int | None,
        *,
        stamp_ns: int,
        duration_ns: int,
        missed: int = 0,
    ) -> None:
        """Add what only the host knows, once it has sent the command.

        Args:
            targets: What it sent; None where it sent nothing.
            sequence: Number of that command; None where it sent nothing.
            stamp_ns: Time of the tick on the clock of stamps and logs.
            duration_ns: From the sampling of the inputs to the command.
            missed: Deadlines before this tick at which none could start.
        """
        self.targets, self.sequence = targets, sequence
        self.stamp_ns, self.duration_ns, self.missed = stamp_ns, duration_ns, missed


class EndStep(Enum):
    """A step towards the end of a run; the last one ends it."""

    FADE_COMMAND = "fade_command"
    """The velocity command fades to zero, and no new one is taken before the next run."""
    STAND = "stand"
    """The robot stands up, a set after its way back."""
    DAMP = "damp"
    """What is commanded after a fault, with nothing latched."""
    FAULT = "fault"
    """The fault `trial` is latched."""


class RunVerdict(NamedTuple):
    """How an observer asks its host to end a run; `Controller.end_run` does it.

    Attributes:
        step: The step to take after this tick.
        reason: In words.
    """

    step: EndStep
    reason: str
