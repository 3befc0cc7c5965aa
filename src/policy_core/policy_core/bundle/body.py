# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the contracts of all kinds of policies say of the robot, for modes and guard."""

from typing import Protocol

from policy_core.bundle.contract import Damp, Joints, Safety, StandingUp
from policy_core.bundle.expected import Nominal


class Body(Protocol):
    """The robot's side of a contract, which does not depend on what the policy sees."""

    @property
    def rate_hz(self) -> float:
        """Policy ticks per second."""

    @property
    def period_ns(self) -> int:
        """Time between two ticks, ns."""

    @property
    def joints(self) -> Joints:
        """Joints in the order of all arrays."""

    @property
    def stand(self) -> StandingUp:
        """The pose in which the policy may start, and the way there."""

    @property
    def damp(self) -> Damp:
        """How the joints are damped."""

    @property
    def nominal(self) -> Nominal | None:
        """What a healthy run does."""

    @property
    def safety(self) -> Safety:
        """Limits of the guard."""
