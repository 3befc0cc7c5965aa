# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The one error of this package for input that its user can correct."""


class SimError(ValueError):
    """Input that the simulated robot cannot use: says where, expected, found and the remedy."""
