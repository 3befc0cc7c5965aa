# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What can be asked for, by button, by key or in a script."""

from enum import Enum


class Request(Enum):
    """One request; the value is the name of the service that grants it."""

    TAKE_CONTROL = "take_control"
    RELEASE_CONTROL = "release_control"
    STAND = "stand"
    RUN = "run"
    DAMP = "damp"
    RESET = "reset"
    ESTOP = "estop"


MOVING = frozenset((Request.TAKE_CONTROL, Request.STAND, Request.RUN))
"""What lets a robot move that lay still: never asked for by accident."""
OF_DRIVER = frozenset((Request.TAKE_CONTROL, Request.RELEASE_CONTROL))
"""Granted by the robot's driver; all others by the policy node."""
ANSWER_TIMEOUT_S = 10.0
"""How long to wait for a service, an answer or the first status."""
