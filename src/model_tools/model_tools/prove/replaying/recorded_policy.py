# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a policy has on a recording: its clock, its state, and what differs between the kinds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from model_tools.prove.replaying.recorded_ticks import RecordedTick
from model_tools.prove.replaying.stages import TickStages
from policy_core.control.controller import Controller
from policy_core.interfaces import F64
from policy_core.observation.state import StateVector


class RecordedClock:
    """The clock of a controller that is replayed.

    Attributes:
        now_ns: What it says.
        late_ns: What it says once the policy has run, where that was too late.
        press: Presses the e-stop while the policy runs, where that was so.
    """

    def __init__(self) -> None:
        """Begin at 0."""
        self.now_ns = 0
        self.late_ns: int | None = None
        self.press: Callable[[], object] | None = None

    def __call__(self) -> int:
        """Return the time."""
        return self.now_ns

    def run_policy(self, *, is_late: bool = True) -> None:
        """Let the time pass in which a model runs; `is_late`: the one that was too late, if any."""
        if is_late and self.late_ns is not None:
            self.now_ns = self.late_ns
        if self.press is not None:
            self.press()


class RecordedState(StateVector):
    """A state that each tick finds as it was recorded, whatever came of the messages.

    Attributes:
        computed: What came of the messages and of the policy's own past, as `flat`.
    """

    computed: F64
    _write: Callable[[F64], None] | None = None

    def begin_tick(self, write: Callable[[F64], None]) -> None:
        """Let the next `derive` write what was recorded into `flat`."""
        self._write = write

    def derive(self) -> None:
        """Compute what follows from other fields; then, once in a tick, take what was recorded."""
        super().derive()
        if self._write is not None:
            self.computed = self.flat.copy()
            self._write(self.flat)
            self._write = None


class ReplayedPolicy(Protocol):
    """A policy with its controller, whose model answers what it answered on the robot."""

    @property
    def controller(self) -> Controller:
        """The real one."""

    @property
    def state(self) -> RecordedState:
        """That of the controller."""

    @property
    def outside(self) -> Collection[str]:
        """Inputs of the controller whose messages are not recorded."""

    @property
    def actions(self) -> Sequence[str]:
        """Joints of the last action in the state; empty where that is not in it."""

    @property
    def requests(self) -> Mapping[str, Callable[[], object]]:
        """What is asked for by requests that only this kind of policy has, by their names."""

    @property
    def known(self) -> bool:
        """Whether it remembers as much as it would after as many ticks of its own."""

    def begin(self) -> None:
        """Note that a run begins, clean."""

    def restored(self, *, whole: bool) -> None:
        """Note that the controller goes on from a recorded state.

        Args:
            whole: Whether what the policy remembers was part of it; else it is clean.
        """

    def sense(self, tick: RecordedTick) -> None:
        """Take in what was sampled beside the state, and prepare the model's answers."""

    def end(self, tick: RecordedTick) -> None:
        """End a tick of the controller, after all of it was judged."""

    def own_fields(self, tick: RecordedTick, sensed: Collection[str]) -> set[str]:
        """Return the fields of the state that are the policy's own and known.

        Args:
            tick: Whose state it is.
            sensed: Fields that messages say.
        """

    def judge(self, tick: RecordedTick, stages: TickStages) -> None:
        """Compare what its model was given, and what it answers, after the controller's tick."""
