# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Difference between two policies' outputs on the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from policy_core.bundle.body import ComparisonLimits
from policy_core.bundle.contract import JointContract
from policy_core.interfaces import F64, Tensor
from policy_inference.comparison.limits import Check


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Difference:
    """Difference between an output and the expected output, over all rows.

    Attributes:
        output: Output name.
        names: Name of each value; joint names for the output that commands joints.
        rows: Row numbers in the source [rows].
        expected, found: Expected and found values [rows, values].
        mae, rmse, max_abs: Error figures (found - expected) over all rows and values.
        mae_each, rmse_each, max_abs_each, cosine_each: The same figures per value, and each value's
            cosine over the rows [values].
        cosine: Cosine of found and expected in each row [rows].
    """

    output: str
    names: tuple[str, ...]
    rows: npt.NDArray[np.int64]
    expected: F64
    found: F64
    mae: float
    rmse: float
    max_abs: float
    mae_each: F64
    rmse_each: F64
    max_abs_each: F64
    cosine_each: F64
    cosine: F64

    @property
    def worst(self) -> tuple[int, str]:
        """Row number and name of the value with the largest error."""
        row, column = self.worst_place
        return int(self.rows[row]), self.names[column]

    @property
    def worst_place(self) -> tuple[int, int]:
        row, column = np.unravel_index(
            np.argmax(np.abs(self.found - self.expected)), self.found.shape
        )
        return int(row), int(column)

    @property
    def worst_direction(self) -> int:
        return int(self.rows[np.argmin(self.cosine)])


def joints(contract: JointContract) -> tuple[str, ...]:
    return tuple(joint for term in contract.action.terms for joint in term.joints)


def joint_differences(
    contract: JointContract,
    found: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    rows: npt.NDArray[np.int64] | None = None,
) -> tuple[Difference, ...]:
    """Measure every expected output of a joint policy; the output that commands joints comes first.

    Args:
        contract: The model's contract.
        found: Found rows [rows, ...] by output.
        expected: Reference rows, in the same form.
        rows: Same as for `difference`.
    """
    action = contract.action.output
    return tuple(
        difference(
            name,
            joints(contract)
            if name == action
            else [f"{name}[{i}]" for i in range(expected[name][0].size)],
            found[name],
            expected[name],
            rows,
        )
        for name in (action, *(other for other in expected if other != action))
    )


def difference(
    output: str,
    names: Sequence[str],
    found: Tensor,
    expected: Tensor,
    rows: npt.NDArray[np.int64] | None = None,
) -> Difference:
    """Measure rows of an output [rows, ...] against the expected rows.

    If any value is not finite, the figures are not finite either, and NaN is never within a limit.
    `rows` are the row numbers in the source; 0, 1, ... if absent.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        return _measured(
            output, names, found, expected, np.arange(len(found)) if rows is None else rows
        )


def _measured(
    output: str, names: Sequence[str], found: Tensor, expected: Tensor, rows: npt.NDArray[np.int64]
) -> Difference:
    a, b = (array.reshape(len(array), -1).astype(np.float64) for array in (found, expected))
    error = np.abs(a - b)
    return Difference(
        output=output,
        names=tuple(names),
        rows=rows,
        expected=b,
        found=a,
        mae=float(error.mean()),
        rmse=float(np.sqrt((error**2).mean())),
        max_abs=float(error.max()),
        mae_each=error.mean(axis=0),
        rmse_each=np.sqrt((error**2).mean(axis=0)),
        max_abs_each=error.max(axis=0),
        cosine_each=_cosine(a.T, b.T),
        cosine=_cosine(a, b),
    )


def judge(found: Difference, source: str, limits: ComparisonLimits) -> tuple[Check, ...]:
    """Check a difference on a source's rows against the limits that are set."""
    row, name = found.worst
    worst = f"{source}: largest in {name}, row {row}"
    most = found.names[int(np.argmax(found.rmse_each))]
    checks = (
        ("mean absolute error", found.mae, limits.mae, f"{worst}; largest RMSE in {most}"),
        ("RMSE", found.rmse, limits.rmse, f"{worst}; largest RMSE in {most}"),
        ("largest error", found.max_abs, limits.max_abs, worst),
    )
    judged = [
        Check(what=what, value=value, limit=limit, where=where)
        for what, value, limit, where in checks
        if limit is not None
    ]
    if limits.cosine_min is not None:
        judged.append(
            Check(
                what="smallest cosine",
                value=float(found.cosine.min()),
                limit=limits.cosine_min,
                at_least=True,
                where=f"{source}: row {found.worst_direction}",
            )
        )
    return tuple(judged)


def _cosine(a: F64, b: F64) -> F64:
    """Return the cosine of each pair of rows; 1 if both are zero, 0 if only one is."""
    lengths = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    product, same = lengths[0] * lengths[1], (lengths[0] == 0) & (lengths[1] == 0)
    dots = np.einsum("ij,ij->i", a, b)
    cosine = np.divide(dots, product, out=np.zeros_like(product), where=product != 0)
    return np.where(same, 1.0, cosine)
