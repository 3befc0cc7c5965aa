# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Observers of a policy node's ticks: the only way to attach other code to the node.

An observer sees each tick after the tick has ended, and sends no commands. It may request the end
of a run, which the node executes through the controller's own requests, as if a person had made
them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from policy_msgs.msg import PolicyStatus

from policy_core.control.tick import EndStep, RunVerdict, Tick
from policy_core.interfaces import Mode

T = TypeVar("T")


def do_nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared(Generic[T]):
    """An observer's part, prepared for a policy that has not yet taken over.

    Attributes:
        part: The prepared part, to pass to the observer's `adopt`.
        start: Starts the part; called before the policy takes over.
        abandon: Discards the part without a trace, if the policy does not take over.
        problem: Reason why the part does not work; empty if it does.
    """

    part: T
    start: Callable[[], object] = do_nothing
    abandon: Callable[[], object] = do_nothing
    problem: str = ""


class TickObserver:
    """Receives every tick; the base class does nothing.

    `observe` and `observe_failure` are called on the control thread, everything else on a different
    thread.

    Attributes:
        problem: Current problem; may be empty.
        left_behind: True if one of the observer's own threads cannot be stopped.
    """

    @property
    def problem(self) -> str:
        return ""

    @property
    def left_behind(self) -> bool:
        return False

    def observe(self, tick: Tick) -> RunVerdict | None:
        """Observe a tick; return a verdict to end the run, or None to continue it."""
        return None

    def observe_failure(self, tick: Tick) -> None:
        """Observe the state left by a tick that raised an error; the fault is already latched."""

    def diagnostics(self) -> Mapping[str, str]:
        """Return the observer's figures for `/diagnostics`, by key."""
        return {}

    def report(self, status: PolicyStatus) -> None:
        """Add the observer's information to a status."""

    def log(self) -> None:
        """Log the events since the last call."""

    def refusals(self, mode: Mode, *, run: bool) -> Sequence[str]:
        """Return the observer's reasons to refuse standing up or running.

        Args:
            mode: Mode at the time of the request.
            run: True for a request to run.
        """
        return ()

    def granting_run(self, mode: Mode) -> AbstractContextManager[None]:
        """Return the context in which a RUN is granted or refused.

        Args:
            mode: Mode at the time of the request.
        """
        return nullcontext()

    def prepared(self, policy: Any) -> Prepared[Any]:
        """Prepare for a different policy; called off the control thread, so it may read files."""
        return Prepared(part=None)

    def adopt(self, policy: Any, prepared: Any) -> Callable[[], object]:
        """Observe a different policy from now on; no tick may be running.

        Args:
            policy: The new policy.
            prepared: Result of `prepared` for the new policy, already started.

        Returns:
            Function that ends the observation of the previous policy, which may take a moment.
        """
        return do_nothing

    def start(self) -> None:
        """Start, or start again after `stop`; call before the first tick."""

    def stop(self) -> None:
        """Stop within a bounded time; call after the last tick."""

    def close(self) -> None:
        """Destroy all objects that the observer has created."""


class TickObservers(TickObserver):
    """Several observers of one node's ticks, in order."""

    def __init__(self, *observers: TickObserver) -> None:
        self._observers = observers

    def add(self, observer: TickObserver) -> None:
        """Add an observer after the others; it observes from the next tick on."""
        self._observers = (*self._observers, observer)

    @property
    def problem(self) -> str:
        return "; ".join(filter(None, (each.problem for each in self._observers)))

    @property
    def left_behind(self) -> bool:
        return any(each.left_behind for each in self._observers)

    def observe(self, tick: Tick) -> RunVerdict | None:
        found: RunVerdict | None = None
        for each in self._observers:
            verdict = each.observe(tick)
            found = found or verdict
        return found

    def observe_failure(self, tick: Tick) -> None:
        for each in self._observers:
            each.observe_failure(tick)

    def diagnostics(self) -> Mapping[str, str]:
        return {key: text for each in self._observers for key, text in each.diagnostics().items()}

    def report(self, status: PolicyStatus) -> None:
        for each in self._observers:
            each.report(status)

    def log(self) -> None:
        for each in self._observers:
            each.log()

    def refusals(self, mode: Mode, *, run: bool) -> Sequence[str]:
        return [why for each in self._observers for why in each.refusals(mode, run=run)]

    @contextmanager
    def granting_run(self, mode: Mode) -> Any:
        with ExitStack() as entered:
            for each in self._observers:
                entered.enter_context(each.granting_run(mode))
            yield

    def prepared(self, policy: Any) -> Prepared[Sequence[Prepared[Any]]]:
        with ExitStack() as made:
            parts = list[Prepared[Any]]()
            for each in self._observers:
                parts.append(each.prepared(policy))
                made.callback(parts[-1].abandon)
            made.pop_all()
        return Prepared(
            part=parts,
            start=lambda: [part.start() for part in parts],
            abandon=lambda: [part.abandon() for part in parts],
        )

    def adopt(self, policy: Any, prepared: Any) -> Callable[[], object]:
        ends = [
            each.adopt(policy, part)
            for each, part in zip(self._observers, prepared.part, strict=True)
        ]
        return lambda: [end() for end in ends]

    def start(self) -> None:
        for each in self._observers:
            each.start()

    def stop(self) -> None:
        for each in self._observers:
            each.stop()

    def close(self) -> None:
        for each in self._observers:
            each.close()


class RunTime(TickObserver):
    """Ends a run after the requested time."""

    def __init__(self, run_for_s: float) -> None:
        self._run_for_ns = round(run_for_s * 1e9)
        self._ends_ns: int | None = None

    def observe(self, tick: Tick) -> RunVerdict | None:
        if tick.mode not in (Mode.RUN, Mode.HOLD):
            self._ends_ns = None
        elif self._ends_ns is None:
            self._ends_ns = tick.now_ns + self._run_for_ns
        elif tick.now_ns >= self._ends_ns:
            ran_s = self._run_for_ns * 1e-9
            return RunVerdict(EndStep.DAMP, f"ran for {ran_s:g} s, as requested (run_for_s)")
        return None
