# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Numbers in texts of others."""

from __future__ import annotations

import math


def number_in(text: str) -> float | None:
    """Return the finite number that a text is; None where it is anything else."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
