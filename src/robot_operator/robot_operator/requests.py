# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Requests made by button, key or script, and the error raised when one fails."""

from enum import Enum

from policy_core.errors import PolicyError


class OperatorRequest(Enum):
    """A request; its value is the name of the service that grants it, except for dial requests."""

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
"""Requests that make a robot move, or move differently; they must not be made by accident."""
STOPPING = frozenset((OperatorRequest.DAMP, OperatorRequest.ESTOP, OperatorRequest.RELEASE_CONTROL))
"""Requests that end any motion."""
OF_DRIVER = frozenset((OperatorRequest.TAKE_CONTROL, OperatorRequest.RELEASE_CONTROL))
"""Requests granted by the robot's driver; the policy node (at least) grants all others."""
OF_SET = frozenset((OperatorRequest.SWITCH,))
"""Requests granted only by the node of a policy set."""
OF_DIAL = {OperatorRequest.MORE_AUTHORITY: 0.1, OperatorRequest.LESS_AUTHORITY: -0.1}
"""Requests granted by `set_authority`, with the step in the policy's share of the command."""
OF_CHUNKS = frozenset((OperatorRequest.TAKE_OVER, OperatorRequest.HAND_BACK))
"""Granted only by the node of a chunk policy: a person with a leader arm takes or ends control."""
OF_BOTH = frozenset((OperatorRequest.DAMP, OperatorRequest.RESET))
"""Requests granted by both the policy node and the driver."""
COMMANDED_VALUES = "commanded_values"
"""Default topic for commanded values besides the velocity; the contract may name another."""
ANSWER_TIMEOUT_S = 10.0
"""Maximum time to wait for a service, an answer or the first status."""


class OperatorError(PolicyError):
    """Error for a node that refused, did not answer, or does not exist; gives the remedy."""
