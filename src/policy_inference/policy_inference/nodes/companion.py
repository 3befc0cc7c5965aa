# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What goes along with the ticks of a policy node, and never decides what is commanded."""

from collections.abc import Mapping
from typing import Protocol

from policy_inference.interfaces import JointTargets
from policy_inference.nodes.pacing import Tick


class Companion(Protocol):
    """Is shown every tick, and tells the status of it."""

    @property
    def problem(self) -> str:
        """What is wrong; empty where nothing is."""

    @property
    def left_behind(self) -> bool:
        """Whether a thread of its own cannot be ended."""

    def told(self) -> Mapping[str, str]:
        """Return what diagnostics say of it, by key."""

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
