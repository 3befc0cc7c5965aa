# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Figures in the types of JSON."""

from __future__ import annotations

import math
from typing import Any


def plain(value: Any, digits: int) -> Any:
    """Round figures to what is meant by them; null is not measured, as JSON has no NaN."""
    if isinstance(value, dict):
        return {name: plain(entry, digits) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry, digits) for entry in value]
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    return value
