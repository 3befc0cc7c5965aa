# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Interface for observers: one controller tick, and the observers' requests to end a run."""

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
    """Record of a controller's latest tick, for observers, which must not modify it.

    Each controller has one `Tick` object and overwrites it in every tick on the control thread.
    Observers read it on that thread and copy anything they want to keep. Times are in ns.

    Attributes:
        state: Measured state, and the fields that the policy computes.
        inputs: Ages of the state's inputs, by topic.
        control_state: Callable that returns a copy of the controller's full state after this tick,
            or None if that state was not kept and later ticks have run; raises RefusedError if a
            tick hangs.
        now_ns: Time of the tick, on the clock used for ages and motions.
        mode: Mode at the end of the tick, before any later request.
        reason: Reason for that mode, in words.
        trip: The last rule that latched a fault or began a HOLD (in this tick, before it, or right
            after it); a new object each time. None if there was none.
        granted: Requests granted between the previous tick and this one, in order, with their
            times.
        asked: True if the policy was asked for a target.
        begins: If asked: True if the policy had no memory, because a run begins.
        taken: True if the policy was asked and its target was used.
        target: If taken: the policy's target after the guard's limits, before blending [joints].
            Always the same array.
        authority: The policy's share in each joint's command [joints], 0 to 1, as granted by the
            operator. Always the same array.
        blend: If taken: the weight of the policy's targets, 0 to 1, while they are blended in.
        clipped_ticks: If taken: consecutive ticks in which step or effort exceeded a limit.
        targets: Targets that the controller returned, or that the host sent instead; None if
            nothing was sent.
        sequence: Number of the sent command; None if none was sent.
        stamp_ns: Time of the tick, on the clock used for stamps and logs.
        duration_ns: Time from sampling the inputs to sending the command.
        missed: Deadlines before this tick at which no tick could start.
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
        """Create the record of a controller that has not ticked yet.

        Args:
            state: Receives the measurements.
            inputs: Ages of the inputs, by topic.
            target: Receives the policy's target [joints].
            control_state: See the attribute.
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
        """Add what only the host knows, after it has sent the command.

        Args:
            targets: Targets that the host sent; None if it sent nothing.
            sequence: Number of that command; None if it sent nothing.
            stamp_ns: Time of the tick, on the clock used for stamps and logs.
            duration_ns: Time from sampling the inputs to sending the command.
            missed: Deadlines before this tick at which no tick could start.
        """
        self.targets, self.sequence = targets, sequence
        self.stamp_ns, self.duration_ns, self.missed = stamp_ns, duration_ns, missed


class EndStep(Enum):
    """One step toward the end of a run; the last step ends the run."""

    FADE_COMMAND = "fade_command"
    """The velocity command fades to zero; new commands are ignored until the next run."""
    STAND = "stand"
    """The robot stands up; a policy set first runs its way back to standing."""
    DAMP = "damp"
    """The robot receives the command for DAMP, as after a fault, but no fault is latched."""
    FAULT = "fault"
    """The `trial` fault is latched."""


class RunVerdict(NamedTuple):
    """An observer's request to end a run, carried out by `Controller.end_run`.

    Attributes:
        step: The step to take after this tick.
        reason: Reason for ending the run, in words.
    """

    step: EndStep
    reason: str
