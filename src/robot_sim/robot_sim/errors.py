# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Error raised by this package for input that the user can correct."""

from policy_core.errors import PolicyError


class SimError(PolicyError):
    """Invalid input; the message names the place, what was expected and found, and the remedy."""
