# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Convert figures to JSON types."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from policy_inference.comparison.limits import Check
from policy_inference.comparison.open_loop import Difference


def difference_figures(found: Difference) -> dict[str, Any]:
    row, name = found.worst
    each = zip(
        found.names,
        found.mae_each,
        found.rmse_each,
        found.max_abs_each,
        found.cosine_each,
        strict=True,
    )
    return {
        "mae": found.mae,
        "rmse": found.rmse,
        "max_abs": found.max_abs,
        "cosine_min": found.cosine.min(),
        "cosine_mean": found.cosine.mean(),
        "worst": {"row": row, "name": name},
        "worst_direction_row": found.worst_direction,
        "each": {
            name: {"mae": mae, "rmse": rmse, "max_abs": largest, "cosine": cosine}
            for name, mae, rmse, largest, cosine in each
        },
    }


def check_figures(checks: Iterable[Check]) -> list[dict[str, Any]]:
    return [
        {
            "what": check.what,
            "value": check.value,
            "limit": check.limit,
            "at_least": check.at_least,
            "where": check.where,
            "holds": bool(check),
        }
        for check in checks
    ]
