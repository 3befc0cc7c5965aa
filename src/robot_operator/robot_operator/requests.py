# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What can be asked for, by button, by key or in a script; and the error where that fails."""

from enum import Enum

from policy_core.errors import PolicyError


class OperatorRequest(Enum):
    """One request; the value is the name of the service that grants it, but for the dial's."""

    TAKE_CONTROL = "take_control"
    RELEASE_CONTROL = "release_control"
    STAND = "stand"
    RUN = "run"
    SWITCH = "switch"
    MORE_AUTHORITY = "more_authority"
    LESS_AUTHORITY = "less_authority"
    TAKE_OVER = "take_over"
    HAND_BACK = "hand_back"
    DAMP = "damp"
    RESET = "reset"
    ESTOP = "estop"


MOVING = frozenset(
    (
        OperatorRequest.TAKE_CONTROL,
        OperatorRequest.STAND,
        OperatorRequest.RUN,
        OperatorRequest.SWITCH,
        OperatorRequest.MORE_AUTHORITY,
        OperatorRequest.TAKE_OVER,
        OperatorRequest.HAND_BACK,
    )
)
"""What lets a robot move, or move in another way: never asked for by accident."""
STOPPING = frozenset((OperatorRequest.DAMP, OperatorRequest.ESTOP, OperatorRequest.RELEASE_CONTROL))
"""What ends any motion."""
OF_DRIVER = frozenset((OperatorRequest.TAKE_CONTROL, OperatorRequest.RELEASE_CONTROL))
"""Granted by the robot's driver; all others by the policy node (at least)."""
OF_SET = frozenset((OperatorRequest.SWITCH,))
"""Granted by the node of a policy set alone."""
OF_DIAL = {OperatorRequest.MORE_AUTHORITY: 0.1, OperatorRequest.LESS_AUTHORITY: -0.1}
"""Granted by `set_authority`: by how much it steps the policy's share of the command."""
OF_CHUNKS = frozenset((OperatorRequest.TAKE_OVER, OperatorRequest.HAND_BACK))
"""Granted by the node of a chunk policy alone: a person with a leader arm drives, or no longer."""
OF_BOTH = frozenset((OperatorRequest.DAMP, OperatorRequest.RESET))
"""Granted by the policy node, and by the driver as well."""
COMMANDED_VALUES = "commanded_values"
"""Topic of what is commanded besides the velocity, unless the contract names another."""
ANSWER_TIMEOUT_S = 10.0
"""How long to wait for a service, an answer or the first status."""


class OperatorError(PolicyError):
    """A node refused, does not answer, or is not there: says what was expected, and the remedy."""
