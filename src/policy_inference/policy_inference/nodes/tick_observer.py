# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What observes the ticks of a policy node, and never decides what is commanded."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from policy_inference.interfaces import JointTargets
from policy_inference.nodes.pacing import Tick


class Prepared(Protocol):
    """What observes the ticks of a policy that has not taken over yet."""

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
        """Begin anew; before the first tick."""

    def record(
        self, tick: Tick, duration_ns: int, sent: JointTargets | None, sequence: int | None
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
