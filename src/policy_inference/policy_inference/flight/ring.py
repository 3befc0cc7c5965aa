# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A controller's latest ticks, in preallocated memory.

One thread writes, others copy, and none waits. A slot's moment is removed before the slot's arrays
change, and replaced by a new object when they are complete. A copy is therefore consistent if the
slot has the same object before and after copying.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from policy_core.control.tick import Tick
from policy_core.control_state import ControlState
from policy_core.interfaces import F64, Mode, Tensor
from policy_inference.flight.tap import PolicyTap

Wire = tuple[bytes | None, ...]
"""Messages that arrived in a tick, in topic order, as CDR bytes; None for a topic without a new
message.
"""
MAX_WIRE_BYTES = 65536
"""Maximum number of message bytes stored per tick, to limit memory."""


class InferenceResult(NamedTuple):
    """Result of one inference of a chunk policy, without the input images.

    `state` is the policy's `StateVector.flat` at the time of the observation; `chunk` [steps,
    actions], rad, is None if the inference failed; `error` then gives the reason. `member` is the
    policy's name in a set, or empty for a single policy. `success` is the probability that the task
    is done, or None. The arrays must not be modified. Times are on the control loop's clock, in ns.
    """

    observation_ns: int
    asked_ns: int
    began_ns: int
    ended_ns: int
    state: F64
    chunk: F64 | None
    error: str
    member: str = ""
    success: float | None = None


class ShadowOutcome(IntEnum):
    """A shadow policy's result for a tick; numbers match policy_msgs/ShadowTick."""

    COMPARED = 0
    SKIPPED = 1
    LOST = 2
    FAILED = 3
    NOT_FINITE = 4


class ShadowAnswer(NamedTuple):
    """A shadow policy's response to a tick of the active policy.

    `tick` is the `Moment` tick. `rules` are the guard rules that would have acted. `target` is the
    shadow's target, and `active_target` the active policy's target, before the guard's limits
    [joints of the active contract]; None unless the tick was compared. `beyond_limits` is True if
    `target` exceeds a joint limit of the active contract that `active_target` does not exceed.
    `torque` and `active_torque` are the torques that the gains of the shadow and of the active
    policy demand for `active_target` [joints of the active contract], N·m; None if unknown, as for
    a shadow in a different process.
    For a chunk policy, `inferences` are the shadow's chunks for the observations for which the
    active policy has received chunks since the previous response; they have no state, and all their
    times except the observation's are 0.
    """

    tick: int
    outcome: ShadowOutcome
    duration_ns: int = 0
    rules: tuple[str, ...] = ()
    beyond_limits: bool = False
    target: F64 | None = None
    active_target: F64 | None = None
    torque: F64 | None = None
    active_torque: F64 | None = None
    inferences: tuple[InferenceResult, ...] = ()


@dataclass(slots=True, kw_only=True, eq=False)
class Moment:
    """The parts of a tick that are not fixed-size arrays; created for each tick, never changed.

    Fields shared with `Tick` have the same values. `number` counts all ticks of a ring, `tick`
    the ticks since the last `restart`. `ages_ns`, `measured_ns` and `repeats` are values of the
    inputs; see `Input`. `asked` is True if the model was run, `answered` if the run did not fail.
    `command_mode` is the command's mode, or the tick's mode if no command was sent. `policy_ns` is
    the time at which a chunk policy, or a set with one, was asked for a target; otherwise 0.
    `results` are the inference results that arrived, `shadow` the responses of a shadow policy.
    `authority` is empty while the policy has full authority. Times are in ns.
    """

    number: int
    tick: int
    stamp_ns: int
    now_ns: int
    duration_ns: int
    mode: Mode
    reason: str
    ages_ns: tuple[int | None, ...]
    measured_ns: tuple[int | None, ...]
    repeats: tuple[int, ...]
    wire: Wire
    asked: bool
    answered: bool
    taken: bool
    begins: bool
    blend: float
    authority: tuple[float, ...]
    sequence: int | None
    command_mode: Mode
    granted: tuple[tuple[str, int], ...]
    policy_ns: int
    results: tuple[InferenceResult, ...]
    shadow: tuple[ShadowAnswer, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FlightTick:
    """A copy of one of the ring's ticks.

    Attributes:
        moment: Times, mode and messages.
        state: Values of `RobotState.flat` before the policy acted on it.
        inputs, outputs: The model's tensors by name; empty if the model did not run, or failed.
        target: The policy's target after the guard's limits [joints]; None if the policy did not
            run, or its result was dropped.
        command: See `JointTargets.block` [6, joints]; None if no command was sent.
        goes_on_from: Controller state before the tick, if it was stored.
    """

    moment: Moment
    state: F64
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    target: F64 | None
    command: F64 | None
    goes_on_from: ControlState | None = None


class Ring:
    """Keeps the latest ticks of a controller whose policy is recorded through a tap.

    A chunk policy's results are kept without copying, so each result in a stored tick keeps its
    chunk in memory.
    """

    def __init__(self, tick: Tick, tap: PolicyTap, size: int, state_every: int = 250) -> None:
        """Allocate all memory.

        Args:
            tick: The controller's tick.
            tap: Tap on the controller's policy.
            size: Number of stored ticks.
            state_every: Ticks between stored states; a state is also stored after each mode change.
        """
        self._state_every, self._control_state = state_every, tick.control_state
        self._inputs = [*tick.inputs.values()]
        self._flat = tick.state.flat if tap.state is None else tap.state
        target = tick.target
        self._moments: list[Moment | None] = [None] * size
        self._state: F64 = _touched((size, self._flat.size))
        self._target: F64 = _touched((size, target.size))
        self._command: F64 = _touched((size, 6, target.size))
        self._given, self._answers = (
            [
                (name, array, _touched((size, *array.shape), array.dtype))
                for name, array in arrays.items()
            ]
            for arrays in (tap.inputs, tap.outputs)
        )
        self.size = size
        self.end = 0
        """Number of the next tick; up to `size` earlier ticks are stored."""
        self.begin = 0
        """Number of the first tick since the last `restart`."""
        self._slot, self._asked, self._answered, self._policy_ns = 0, False, False, 0
        self._results = list[InferenceResult]()
        self._states = deque[tuple[int, ControlState]]()
        self._mode, self._state_due = tick.mode, 0
        self.messages_left_out = 0
        """Number of messages dropped because one tick's messages exceeded `MAX_WIRE_BYTES`."""

    def restart(self) -> None:
        """Discard all ticks, restart the tick count at 0, and store the initial state."""
        self.begin = self.end
        self._states.clear()
        self._clear()
        self.keep_state()

    def keep_state(self) -> None:
        """Store the state before the next tick; call between two ticks."""
        state = self._control_state()
        if state is None:
            self._state_due = self.end  # one of the next ticks stores it
            return
        while self._states and self._states[0][0] < self.end - self.size:
            self._states.popleft()
        if self._states and self._states[-1][0] == self.end:
            self._states.pop()
        self._states.append((self.end, state))
        self._mode, self._state_due = Mode(state.tree["mode"]), self.end + self._state_every

    def first_to_go_on(self, number: int) -> int:
        """Return the newest tick number up to `number` with a stored state; `number` if none."""
        kept = [each for each, _ in [*self._states] if each <= number]
        return kept[-1] if kept and kept[-1] >= self.begin else number

    def _clear(self) -> None:
        self._asked, self._answered, self._policy_ns = False, False, 0
        self._results.clear()

    def take_inputs(self) -> None:
        """Record this tick's model inputs, and the state from which they were computed."""
        self._moments[self._slot] = None
        self._state[self._slot] = self._flat
        for _, array, block in self._given:
            block[self._slot] = array
        self._asked, self._answered = True, False

    def take_outputs(self) -> None:
        for _, array, block in self._answers:
            block[self._slot] = array
        self._answered = True

    def take_time(self, now_ns: int) -> None:
        """Record the time at which chunk policies are queried in this tick; see `take_inputs`."""
        self.take_inputs()
        self._policy_ns = now_ns

    def take_result(self, result: InferenceResult) -> None:
        self._results.append(result)

    def record(self, tick: Tick, wire: Wire, shadow: tuple[ShadowAnswer, ...] = ()) -> Moment:
        """Record a completed tick.

        Args:
            tick: The tick of this ring's controller.
            wire: Messages that arrived, most important first.
            shadow: Responses that arrived from a shadow policy.
        """
        slot, number, now_ns, targets = self._slot, self.end, tick.now_ns, tick.targets
        self._moments[slot] = None
        asked, answered = self._asked, self._answered
        if not asked:
            self._state[slot] = self._flat
        # A failed run or a dropped result leaves no target.
        taken = asked and tick.taken
        if taken:
            self._target[slot] = tick.target
        if targets is not None:
            self._command[slot] = targets.block
        if sum([len(data) for data in wire if data is not None]) > MAX_WIRE_BYTES:
            wire = self._bounded(wire)
        moment = Moment(
            number=number,
            tick=number - self.begin,
            stamp_ns=tick.stamp_ns,
            now_ns=now_ns,
            duration_ns=tick.duration_ns,
            mode=tick.mode,
            reason=tick.reason,
            ages_ns=tuple([entry.age_ns(now_ns) for entry in self._inputs]),
            measured_ns=tuple([entry.measured_ns for entry in self._inputs]),
            repeats=tuple([entry.repeats for entry in self._inputs]),
            wire=wire,
            asked=asked,
            answered=answered,
            taken=taken,
            begins=asked and tick.begins,
            blend=tick.blend if taken else 0.0,
            authority=tuple(tick.authority) if tick.authority.min() < 1.0 else (),
            sequence=tick.sequence,
            command_mode=tick.mode if targets is None else targets.mode,
            granted=tick.granted,
            policy_ns=self._policy_ns,
            results=tuple(self._results),
            shadow=shadow,
        )
        self._moments[slot] = moment
        self._slot = (slot + 1) % self.size
        self._clear()
        self.end = number + 1
        if self.end >= self._state_due or tick.mode is not self._mode:
            self.keep_state()
        return moment

    def _bounded(self, wire: Wire) -> Wire:
        kept, room = list[bytes | None](), MAX_WIRE_BYTES
        for data in wire:
            size = len(data or b"")
            self.messages_left_out += size > room
            kept.append(data if size <= room else None)
            room -= size if size <= room else 0
        return tuple(kept)

    def newest(self) -> Moment | None:
        """Return the moment of the newest tick since the last `restart`, or None."""
        end = self.end
        if end == self.begin:
            return None
        return self._moments[(end - 1) % self.size]

    def copies(self, first: int, end: int) -> tuple[list[FlightTick], int]:
        """Return the stored ticks from `first` up to, but not including, `end`, oldest first.

        Returns:
            The ticks, and the number of ticks overwritten before they could be copied.
        """
        found = [self._copy(number) for number in range(max(first, end - self.size), end)]
        ticks = [tick for tick in found if tick is not None]
        return ticks, end - first - len(ticks)

    def _copy(self, number: int) -> FlightTick | None:
        slot = number % self.size
        moment = self._moments[slot]
        if moment is None or moment.number != number:
            return None
        tick = FlightTick(
            moment=moment,
            state=self._state[slot].copy(),
            inputs=_copied(self._given, slot) if moment.asked else {},
            outputs=_copied(self._answers, slot) if moment.answered else {},
            target=self._target[slot].copy() if moment.taken else None,
            command=self._command[slot].copy() if moment.sequence is not None else None,
            goes_on_from=next((state for at, state in [*self._states] if at == number), None),
        )
        return tick if self._moments[slot] is moment else None


def _touched(shape: tuple[int, ...], dtype: npt.DTypeLike = np.float64) -> npt.NDArray[Any]:
    """Return an array with its memory pages mapped, so that a tick causes no page faults."""
    return np.full(shape, 0, dtype)


def _copied(blocks: Sequence[tuple[str, Tensor, Tensor]], slot: int) -> dict[str, Tensor]:
    return {name: block[slot].copy() for name, _, block in blocks}
