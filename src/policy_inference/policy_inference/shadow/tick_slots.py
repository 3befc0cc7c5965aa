# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Transfer of ticks to a shadow's process, and of its answers back.

Both are in slots of memory shared by the two processes. A slot is written by the control thread,
then by the shadow, then it is free again; an eventfd in each direction counts. The control thread
never waits: not for a slot, since it gives up a tick without a free one, and not in the kernel,
which holds only a spinlock for an eventfd's counter. For a pipe the kernel holds a mutex, and a
shadow that owns it may be descheduled for a long time.
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterator, Sequence

from policy_core.guard.bounds import Rule
from policy_core.interfaces import F64, TensorSpec
from policy_inference.backends.shared_arrays import SharedArrays
from policy_inference.flight.ring import ShadowAnswer, ShadowOutcome

SLOTS = 64
"""Most ticks that may wait for the shadow."""
_RULES = [rule.value for rule in Rule]


class TickSlots:
    """The memory and its two counters, at either end.

    Attributes:
        text: Error before the first tick, for the other end.
    """

    def __init__(self, state_size: int, joints: int, fds: Sequence[int] = ()) -> None:
        """Create memory for the active policy's state and joints, or open that of `fds`."""
        specs = [
            # number of the tick, ticks lost before it, 1 if a run began
            TensorSpec(name="ticks", shape=(SLOTS, 3), dtype="int64"),
            TensorSpec(name="states", shape=(SLOTS, state_size), dtype="float64"),
            TensorSpec(name="commands", shape=(SLOTS, joints), dtype="float64"),
            # number of the tick, outcome, duration in ns, rules as bits, 1 if beyond limits
            TensorSpec(name="answers", shape=(SLOTS, 5), dtype="int64"),
            # of the shadow, of the active policy
            TensorSpec(name="targets", shape=(SLOTS, 2, joints), dtype="float64"),
        ]
        memory, *counters = fds or (None, _eventfd(), _eventfd())
        self._arrays = SharedArrays(specs, memory)
        self._given, self._answered = counters
        self.ticks, self.states, self.commands, self.answers, self.targets = map(
            self._arrays.place, specs
        )
        if not fds:
            for array in (self.ticks, self.states, self.commands, self.answers, self.targets):
                array[...] = 0  # a tick must not wait for page faults
        self.fds = (self._arrays.fd, self._given, self._answered)
        """Descriptors that the other process inherits."""

    @property
    def text(self) -> str:
        return self._arrays.text

    @text.setter
    def text(self, text: str) -> None:
        self._arrays.text = text

    def give(self) -> None:
        os.eventfd_write(self._given, 1)

    def given(self, *, wait: bool) -> int:
        """Return the number of further slots with a tick, at least one if `wait`."""
        return _count(self._given, None if wait else 0.0)

    def answer(self) -> None:
        os.eventfd_write(self._answered, 1)

    def answered(self, timeout_s: float = 0.0) -> int:
        """Return the number of further slots with an answer; wait up to a limit for the first."""
        return _count(self._answered, timeout_s)

    def write(self, slot: int, answer: ShadowAnswer) -> None:
        bits = sum(1 << _RULES.index(rule) for rule in answer.rules)
        self.answers[slot] = (
            answer.tick,
            answer.outcome,
            answer.duration_ns,
            bits,
            answer.beyond_limits,
        )
        if answer.target is not None and answer.active_target is not None:
            self.targets[slot] = answer.target, answer.active_target

    def read(self, slot: int) -> ShadowAnswer:
        tick, outcome, duration_ns, bits, beyond = self.answers[slot].tolist()
        target: F64 | None = None
        active_target: F64 | None = None
        if outcome == ShadowOutcome.COMPARED:
            target, active_target = self.targets[slot].copy()
        return ShadowAnswer(
            tick,
            ShadowOutcome(outcome),
            duration_ns,
            tuple(_rules(bits)) if bits else (),
            bool(beyond),
            target,
            active_target,
        )

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)


def _eventfd() -> int:
    return os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)


def _count(fd: int, timeout_s: float | None) -> int:
    """Return a counter's increase since the last call; wait for the first up to a time limit."""
    if timeout_s != 0.0:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.poll(None if timeout_s is None else timeout_s * 1000.0)
    try:
        return os.eventfd_read(fd)
    except BlockingIOError:
        return 0


def _rules(bits: int) -> Iterator[str]:
    return (rule for number, rule in enumerate(_RULES) if bits >> number & 1)
