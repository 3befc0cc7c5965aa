# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a flight recording holds: what ran, its ticks, and their commands."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from policy_core.control_state import ControlState
from policy_core.guard.bounds import Rule
from policy_core.interfaces import F64, Mode, Tensor
from policy_inference.flight.ring import InferenceResult

_APART_NS = 1_000_000_000
"""How far the log's times of a tick and of its command may be apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """What the ticks of a recording are of; the fields of policy_msgs/FlightInfo."""

    reason: str
    bundle: str
    bundle_name: str
    bundle_version: str
    bundle_sha256: str
    contract: str
    backend: str
    runs_on: str
    host: str
    settings: Mapping[str, str]
    inputs: tuple[str, ...]
    joints: tuple[str, ...]
    fields: Mapping[str, slice]
    """Where each field of the robot's state is in `RecordedTick.state`."""

    @property
    def policy(self) -> str:
        """Name and version of the policy."""
        return f"{self.bundle_name} {self.bundle_version}".strip()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordedTick:
    """A tick of the policy; see policy_msgs/PolicyTick.

    Attributes:
        number, time_ns, stamp_ns, duration_s, mode, reason, begins, blend: As there.
        next_reason: Reason of the tick after it; empty for the last one.
        ages_ns: Age of each input when it was sampled; None for one that never came.
        measured_ns: When the newest message of each input was measured, on the clock of `time_ns`;
            without those that never came.
        repeats: How many messages of each input before the newest had the same image; empty in a
            recording that does not say so.
        state: Fields of the robot's state, by `Info.fields`.
        inputs, outputs: Tensors of the model; empty where it did not run, or failed.
        target: [joints]; None where the answer was dropped.
        requests: Those that were granted since the tick before, with their times.
        policy_ns: When a chunk policy was asked for its target; 0 where it was not.
        results: Those of the inferences of a chunk policy that arrived in the tick.
        messages: What was sampled for this tick, by the name of the input.
        alone: Whether no other tick has its time, whose messages would be mixed up with its own.
        command: [6, joints], rows as in `JointTargets.block`; None where nothing was commanded.
        command_mode: Mode of the command. Not that of the tick only where an e-stop came between
            the tick and its publishing: DAMP then.
        goes_on_from: State of the controller before it, where that was recorded.
    """

    number: int
    time_ns: int
    stamp_ns: int
    duration_s: float
    mode: Mode
    reason: str
    ages_ns: Mapping[str, int | None]
    measured_ns: Mapping[str, int]
    repeats: Mapping[str, int]
    state: F64
    begins: bool
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    target: F64 | None
    blend: float
    requests: tuple[tuple[str, int], ...]
    policy_ns: int
    results: tuple[InferenceResult, ...]
    messages: Mapping[str, Any]
    alone: bool
    command: F64 | None
    command_mode: Mode | None
    next_reason: str = ""
    goes_on_from: ControlState | None = None

    @property
    def contradiction(self) -> tuple[str, str] | None:
        """What of the policy must be there in its mode, and what is; None where all is well.

        An answer that was late, or failed, has no target, and HOLD or DAMP say so.
        """
        if self.mode is Mode.RUN and self.target is None:
            return "a target of the policy in RUN", "none"
        if self.target is not None and self.mode not in (Mode.RUN, Mode.DAMP):
            return f"no target of the policy in {self.mode.name}", "one"
        of_model = not self.policy_ns  # the answers of a chunk policy come in ticks of their own
        if of_model and self.target is not None and not self.outputs:
            return "what the model has answered, where there is a target", "nothing"
        if self.outputs and not self.inputs:
            return "what the model was given, where it has answered", "nothing"
        if self.command_mode not in (None, self.mode, Mode.DAMP):
            return f"a command of {self.mode.name}", f"one of {self.command_mode.name}"
        return None

    @property
    def ran(self) -> bool:
        """Whether the model was run in it."""
        return bool(self.inputs)

    @property
    def rule(self) -> Rule | None:
        """The rule of the guard that its reason begins with, as that of a latched fault does."""
        return rule_of(self.reason)

    @property
    def dropped_by(self) -> str:
        """Why the model's answer was not followed, where it was not: a rule of the guard."""
        if not self.outputs:
            return Rule.INFERENCE_ERROR.value
        if not all(
            np.isfinite(np.asarray(each, np.float64)).all() for each in self.outputs.values()
        ):
            return Rule.NOT_FINITE.value
        if self.mode is Mode.HOLD:
            return Rule.INFERENCE_LATE.value
        return self.reason.partition(":")[0] or "fault"


def rule_of(reason: str) -> Rule | None:
    """Return the rule of the guard that a reason begins with."""
    word = reason.partition(":")[0]
    return next((rule for rule in Rule if rule.value == word), None)


class Moded(NamedTuple):
    """Number and time of a tick, its mode, and why that is so where it has changed."""

    number: int
    time_ns: int
    mode: Mode
    reason: str


class CommandLog:
    """Reads commands beside the ticks; keeps those of about their time only."""

    def __init__(self, messages: Iterator[tuple[int, Any]]) -> None:
        """Begin; `messages` yields time in the log (ns) and command, by time."""
        self._messages = messages
        self._next = next(messages, None)
        self._by_stamp: dict[int, list[Any]] = {}
        self._kept = deque[tuple[int, int]]()

    def at(self, log_ns: int, stamp_ns: int) -> list[Any]:
        """Return the commands with this stamp, each once.

        Args:
            log_ns: Time of the tick in the log; never less than in the call before.
            stamp_ns: Stamp of the tick.
        """
        while self._next is not None and self._next[0] <= log_ns + _APART_NS:
            its_ns, message = self._next
            stamp = time_ns(message.stamp)
            self._by_stamp.setdefault(stamp, []).append(message)
            self._kept.append((its_ns, stamp))
            self._next = next(self._messages, None)
        while self._kept and self._kept[0][0] < log_ns - _APART_NS:
            self._by_stamp.pop(self._kept.popleft()[1], None)
        return self._by_stamp.pop(stamp_ns, [])


def time_ns(stamp: Any) -> int:
    """Return a builtin_interfaces/Time in ns."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
