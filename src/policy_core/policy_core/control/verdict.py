# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The end of a run, as an observer may ask for it."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from policy_core.control.controller import Controller
from policy_core.guard.bounds import Rule


class RunEnd(Enum):
    """A step towards the end of a run, or the end itself."""

    FADE = "fade"
    """The velocity command fades to zero, and no new one is taken before the next run."""
    STAND = "stand"
    """The robot stands up, a set after its way back."""
    DAMP = "damp"
    """What is commanded after a fault, with nothing latched."""
    FAULT = "fault"
    """The fault `trial` is latched."""


class RunVerdict(NamedTuple):
    """What an observer asks of its host after a tick.

    Attributes:
        end: What is to be done.
        reason: In words.
    """

    end: RunEnd
    reason: str

    def carry_out(self, controller: Controller, stand: Callable[[], None]) -> None:
        """Do it; control thread, after the tick.

        Args:
            controller: Of the policy that runs.
            stand: Asks the policy to stand up.

        Raises:
            RefusedError: It is not possible now.
        """
        if self.end is RunEnd.FADE:
            controller.fade_command()
        elif self.end is RunEnd.STAND:
            stand()
        elif self.end is RunEnd.DAMP:
            controller.damp(self.reason)
        else:
            controller.fault(Rule.TRIAL, self.reason)
