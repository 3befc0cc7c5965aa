# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What observes the ticks of a policy node.

An observer commands nothing; that of a version on trial may end a run through the controller's own
requests, as a person does.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Protocol

from policy_core.interfaces import JointTargets
from policy_inference.nodes.pacing import DueTick


class Prepared:
    """What observes the ticks of a policy that has not taken over yet; by itself, nothing does."""

    def start(self) -> None:
        """Begin; before the policy takes over."""

    def abandon(self) -> None:
        """End without a trace: the policy does not take over."""


class TickObserver(Protocol):
    """Is shown every tick, and reports on it in the status."""

    @property
    def problem(self) -> str:
        """What is wrong; empty where nothing is."""

    @property
    def left_behind(self) -> bool:
        """Whether a thread of its own cannot be ended."""

    def diagnostics(self) -> Mapping[str, str]:
        """Return its figures for `/diagnostics`, by key."""

    def prepared(self, policy: Any) -> Prepared:
        """Return what observes another policy; off the control thread, may read files."""

    def follow(self, policy: Any, prepared: Any) -> Callable[[], object]:
        """Observe another policy from now on; no tick may be at work.

        Args:
            policy: What ticks from now on.
            prepared: What `prepared` returned for it, started.

        Returns:
            What ends the observation of the policy before, which may take a moment.
        """

    def start(self) -> None:
        """Restart; before the first tick."""

    def record(
        self, tick: DueTick, duration_ns: int, sent: JointTargets | None, sequence: int | None
    ) -> None:
        """End a tick, on the control thread.

        Args:
            tick: It.
            duration_ns: From the sampling of the inputs to the command.
            sent: What was commanded; None where nothing was.
            sequence: Number of that command.
        """

    def watch(self) -> None:
        """Look at what a tick that failed has left; control thread."""

    def log(self) -> None:
        """Log what happened since the last call."""

    def stop(self) -> None:
        """End within a bounded time; after the last tick."""

    def close(self) -> None:
        """Destroy what was created."""


class TickObservers:
    """Several observers of the ticks of one node, in their order."""

    def __init__(self, *observers: TickObserver) -> None:
        """Keep them."""
        self._observers = observers

    @property
    def problem(self) -> str:
        """What is wrong; empty where nothing is."""
        return "; ".join(filter(None, (each.problem for each in self._observers)))

    @property
    def left_behind(self) -> bool:
        """Whether a thread of one of them cannot be ended."""
        return any(each.left_behind for each in self._observers)

    def diagnostics(self) -> Mapping[str, str]:
        """Return the figures of all."""
        return {key: text for each in self._observers for key, text in each.diagnostics().items()}

    def prepared(self, policy: Any) -> Prepared:
        """Return what observes another policy."""
        with ExitStack() as made:
            found = list[Prepared]()
            for each in self._observers:
                found.append(each.prepared(policy))
                made.callback(found[-1].abandon)
            made.pop_all()
        return _PreparedTogether(found)

    def follow(self, policy: Any, prepared: Any) -> Callable[[], object]:
        """Observe another policy from now on; return what ends the observation before."""
        ends = [
            each.follow(policy, part)
            for each, part in zip(self._observers, prepared.parts, strict=True)
        ]
        return lambda: [end() for end in ends]

    def start(self) -> None:
        """Restart."""
        for each in self._observers:
            each.start()

    def record(
        self, tick: DueTick, duration_ns: int, sent: JointTargets | None, sequence: int | None
    ) -> None:
        """End a tick."""
        for each in self._observers:
            each.record(tick, duration_ns, sent, sequence)

    def watch(self) -> None:
        """Look at what a tick that failed has left."""
        for each in self._observers:
            each.watch()

    def log(self) -> None:
        """Log what happened since the last call."""
        for each in self._observers:
            each.log()

    def stop(self) -> None:
        """End within a bounded time."""
        for each in self._observers:
            each.stop()

    def close(self) -> None:
        """Destroy what was created."""
        for each in self._observers:
            each.close()


class _PreparedTogether(Prepared):
    def __init__(self, parts: Sequence[Prepared]) -> None:
        """Keep what each observer has prepared."""
        self.parts = parts

    def start(self) -> None:
        """Begin."""
        for part in self.parts:
            part.start()

    def abandon(self) -> None:
        """End without a trace."""
        for part in self.parts:
            part.abandon()
