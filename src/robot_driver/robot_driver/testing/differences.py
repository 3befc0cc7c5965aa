# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Explain how a driver's numbers differ from the expected ones, naming common mistakes."""

from collections.abc import Mapping, Sequence

import numpy as np

from robot_driver.interfaces import F64

UNITS = {
    "position": "rad",
    "velocity": "rad/s",
    "effort": "N m",
    "stiffness": "N m/rad",
    "damping": "N m s/rad",
}
"""Unit of each joint quantity."""
_RELATIVE = 1e-3
_SURELY = 5.0
"""Factor by which an explanation must fit better than the expected values."""
_SHOWN = 3


def differences(
    quantity: str,
    unit: str,
    names: Sequence[str],
    found: F64,
    expected: F64,
    *,
    tolerance: float,
    others: Mapping[str, F64],
) -> list[str]:
    """Return one sentence per kind of error in the numbers; none if they are right.

    Args:
        quantity: Name of the quantity, such as "velocity".
        unit: Expected unit.
        names: Names of the joints or axes [n].
        found: Values found at k moments [k, n].
        expected: Values expected at these moments [k, n].
        tolerance: Difference allowed between equal numbers, in addition to a thousandth of their
            value.
        others: Expected values [k, n] of quantities that may be confused with this one, by name.
    """
    wrong: dict[str, list[int]] = {}
    for column in np.flatnonzero(~_equal(found, expected, tolerance).all(axis=0)).tolist():
        own = found[:, column], expected[:, column]
        text = (
            _instead(names, unit, found, expected, others, column, tolerance)
            or _scaled(*own, tolerance)
            or "is wrong"
        )
        wrong.setdefault(text, []).append(column)
    sentences = []
    for text, columns in wrong.items():
        worst = columns[0]
        row = int(np.abs(found - expected)[:, worst].argmax())
        shown = ", ".join(names[column] for column in columns[:_SHOWN])
        more = f" and {len(columns) - _SHOWN} more" if len(columns) > _SHOWN else ""
        at = f"at {names[worst]}, " if len(columns) > 1 else ""
        sentences.append(
            f"{quantity} of {shown}{more} {text}: {at}expected {expected[row, worst]:.4g} {unit}, "
            f"found {found[row, worst]:.4g}"
        )
    return sentences


def _equal(found: F64, expected: F64, tolerance: float) -> F64:
    return np.asarray(np.abs(found - expected) <= tolerance + _RELATIVE * np.abs(expected))


def _instead(
    names: Sequence[str],
    unit: str,
    found: F64,
    expected: F64,
    others: Mapping[str, F64],
    column: int,
    tolerance: float,
) -> str:
    """Return the common mistake that explains a column's values, or an empty string."""
    values, own = found[:, column], expected[:, column]
    known = {
        "is always 0": np.zeros_like(own),
        "has the opposite sign": -own,
        "is 57.3 times too large (degrees taken for rad)": np.degrees(own),
        "is 57.3 times too small (rad taken for degrees)": np.radians(own),
        **({"is 9.81 times too small (g taken for m/s^2)": own / 9.81} if unit == "m/s^2" else {}),
        **{
            f"is that of {name}": expected[:, other]
            for other, name in enumerate(names)
            if other != column
        },
        **{f"is its {name}": values[:, column] for name, values in others.items()},
    }
    return _first(known, values, own, tolerance)


def _scaled(values: F64, own: F64, tolerance: float) -> str:
    """Return the constant offset or factor that explains a column, or an empty string."""
    offset = float((values - own).mean())
    factor = float(values @ own) / max(float(own @ own), 1e-12)
    known = {
        f"has an offset of {offset:+.4g}": own + offset,
        f"is {factor:.4g} times as large": factor * own,
    }
    return _first(known, values, own, tolerance)


def _first(known: Mapping[str, F64], values: F64, own: F64, tolerance: float) -> str:
    for text, candidate in known.items():
        differ = float(np.abs(values - own).max())
        if (
            _equal(values, candidate, tolerance).all()
            and differ > _SURELY * np.abs(values - candidate).max()
        ):
            return text
    return ""
