# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is suspicious in rows and statistics."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from model_tools.inspect.report import Report
from policy_inference.interfaces import Tensor

_LARGEST_SPREAD = 1e3
"""Of rad, rad/s, m/s or N·m; beyond it a value vanishes when it is divided."""
_SHOWN = 12


def suspect_values(name: str, array: Tensor, report: Report) -> None:
    """Note values that are not finite."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        share = 1.0 - np.isfinite(array).mean()
        report.suspect(f"{name} holds NaN or infinite values ({share:.1%})")


def suspect_statistics(mean: Tensor, std: Tensor, report: Report) -> None:
    """Note statistics that cannot be those of an observation."""
    if mean.shape != std.shape:
        report.suspect(f"mean {list(mean.shape)} and std {list(std.shape)} differ in shape")
    if std.dtype.kind not in "iuf":
        return
    spread = np.asarray(std, np.float64)
    if len(zero := np.flatnonzero(spread <= 0.0)):
        report.suspect(f"std is 0 or less at {_listed(zero)}; what never changed is divided by a "
                       "floor or by nothing")
    if len(large := np.flatnonzero(spread > _LARGEST_SPREAD)):
        report.suspect(f"std is above {_LARGEST_SPREAD:g} at {_listed(large)}")


def suspect_rows(obs: Tensor, actions: Tensor | None, report: Report) -> None:
    """Note rows that say less than their number; `obs` and `actions` are [rows, ...]."""
    if obs.ndim < 2 or obs.dtype.kind not in "iuf":
        return
    if actions is not None and len(actions) != len(obs):
        report.suspect(f"{len(obs)} rows of obs and {len(actions)} of actions")
    if len(obs) < 2:
        return
    rows = obs.reshape(len(obs), -1)
    if len(constant := np.flatnonzero((rows == rows[0]).all(axis=0))):
        report.suspect(f"obs never changes in the columns {_listed(constant)}")
    if repeated := len(rows) - len({row.tobytes() for row in rows}):
        report.suspect(f"{repeated} of {len(rows)} rows of obs repeat others")


def _listed(numbers: Iterable[int]) -> str:
    """Return numbers from 0, the first of many."""
    found = list(map(str, numbers))
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more
