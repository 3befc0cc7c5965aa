# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The error of this package: something that the operator of a robot can correct."""

from policy_inference.errors import PolicyError


class OperatorError(PolicyError):
    """A node refused, does not answer, or is not there: says what was expected, and the remedy."""
