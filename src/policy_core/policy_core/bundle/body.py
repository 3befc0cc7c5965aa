# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the contracts of all kinds of policies say of the robot, for modes and guard."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

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

    @property
    def step_bounded(self) -> npt.NDArray[np.bool_]:
        """Joints whose position may step only as far as `velocity_limit` allows [joints].

        These are the joints that a chunk policy commands; `hold_measured` bounds all joints.
        """
