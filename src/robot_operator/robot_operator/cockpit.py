# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Interface between a screen and the node behind it: the content shown and the keys pressed."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class RobotCondition(Enum):
    """Condition of the robot, for the color of the headline."""

    AT_REST = "at rest"
    MOVING = "moving"
    FAULT = "fault"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Content of a screen."""

    headline: str
    condition: RobotCondition
    lines: Sequence[tuple[str, str]]
    """Lines, each with a name and a value."""
    news: Sequence[str]
    """Events, oldest first."""


class Cockpit(Protocol):
    """The node behind a screen. Its methods are called on the screen's thread."""

    def view(self) -> View:
        """Return the content to show now."""

    def press(self, key: str) -> None:
        """Handle a key, named as in `robot_operator.pilot`."""
