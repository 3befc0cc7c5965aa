# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a screen shows, and whom it passes keys on to; neither knows the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class RobotCondition(Enum):
    """How the robot is, for the colour of the headline."""

    AT_REST = "at rest"
    MOVING = "moving"
    FAULT = "fault"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All that a screen shows."""

    headline: str
    condition: RobotCondition
    lines: Sequence[tuple[str, str]]
    """Name and value of each."""
    news: Sequence[str]
    """What happened, the oldest first."""


class Cockpit(Protocol):
    """What is behind a screen. Its methods are called from the screen's thread."""

    def view(self) -> View:
        """Return what to show now."""

    def press(self, key: str) -> None:
        """Take a key; its name is that of `robot_operator.pilot`."""
