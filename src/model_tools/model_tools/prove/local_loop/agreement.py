# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Quick checks that an environment's observation matches the contract.

Only cheap properties are checked: the last action, the length of the gravity vector, joints within
their limits, and values that occurred in no healthy run. Inputs with past frames are not checked.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.terms import TermColumns, term_columns, value_name
from policy_core.bundle.body import Statistics
from policy_core.bundle.contract import JointContract
from policy_core.interfaces import F32, F64, Tensor

_SAME_ACTION, _GRAVITY, JOINT_SLACK_RAD = 1e-3, 0.2, 0.5
"""Tolerances: for the last action, relative to its largest value; for a unit vector's length; and
for joint positions beyond their limits.
"""
_FAR = 1.0
"""Allowed distance outside the healthy range, as a multiple of that range."""
_SMALLEST_RANGE, _SHOWN = 0.1, 4
_log = logging.getLogger("model_tools")


class ObservationAgreement:
    """Checks observations against the contract, step by step."""

    def __init__(self, contract: JointContract, environment: str) -> None:
        """Look up the columns once; `environment` is the prefix for messages."""
        self._contract, self._environment = contract, environment
        self._terms = {name: list(term_columns(contract, name)) for name in contract.observations}
        names = contract.joints.names
        low, high, default = (
            dict(zip(names, getattr(contract.joints, key), strict=True))
            for key in ("position_min", "position_max", "default_position")
        )
        self._low, self._high, self._default = low, high, default

    def check(self, observations: Mapping[str, F64], action: F32, step: int) -> None:
        """Check the observations of a step, before normalization and clipping.

        Args:
            observations: Observations by model input, [size] each.
            action: Previous action [actions]; zeros at the start of an episode.
            step: Number of the step, for messages.
        """
        for name, terms in self._terms.items():
            for columns in terms:
                problem = self._problem(name, columns, observations[name][columns.where], action)
                if problem:
                    first, last = columns.where.start, columns.where.stop - 1
                    raise ToolError(
                        f"{self._environment}: step {step}: {name}, columns {first} to {last} "
                        f"({columns.name}): {problem}; the environment's observation is not the "
                        "one that the contract describes"
                    )

    def _problem(self, name: str, columns: TermColumns, found: F64, action: F32) -> str:
        if columns.spec.field == "last_action":
            return self._last_action(name, columns, found, action)
        if not columns.scale.all():
            return ""
        values = found / columns.scale
        if columns.spec.field == "gravity_body":
            length = float(np.linalg.norm(values))
            wrong = abs(length - 1.0) > _GRAVITY
            return f"expected a direction of length 1, found {_list(found)}" if wrong else ""
        if columns.spec.field == "joint_pos":
            return "".join(list(self._outside(columns, values))[:1])
        return ""

    def _last_action(self, name: str, columns: TermColumns, found: F64, action: F32) -> str:
        observation = self._contract.observations[name]
        bound = np.inf if observation.clip is None else observation.clip
        expected = columns.observed(action.astype(np.float64), observation.order)
        error = np.abs(np.clip(found, -bound, bound) - np.clip(expected, -bound, bound)).max()
        if error <= _SAME_ACTION * max(1.0, float(np.abs(expected).max())):
            return ""
        return (
            f"expected the previous action, {_list(expected)}, or zeros at the "
            f"beginning of an episode, found {_list(found)}"
        )

    def _outside(self, columns: TermColumns, values: F64) -> Iterator[str]:
        for joint, value in zip(columns.names, values, strict=True):
            position = value + self._default[joint] * columns.spec.minus_default
            low, high = self._low[joint], self._high[joint]
            if not low - JOINT_SLACK_RAD <= position <= high + JOINT_SLACK_RAD:
                yield (f"expected {joint} within {low:g} to {high:g} rad, found {position:.4g}")


def far_bounds(healthy: Statistics) -> tuple[F64, F64]:
    """Return the lower and upper limits [size] beyond which values are far from a healthy run's."""
    lowest, highest = np.array(healthy.min), np.array(healthy.max)
    slack = _FAR * np.maximum(highest - lowest, _SMALLEST_RANGE)
    return lowest - slack, highest + slack


def warn_of_unusual(contract: JointContract, rows: Mapping[str, Tensor], environment: str) -> None:
    """Warn about columns of model inputs [rows, ...] with values far from those of healthy runs."""
    healthy = contract.nominal.observation if contract.nominal else {}
    for name, statistics in healthy.items():
        lowest, highest = np.array(statistics.min), np.array(statistics.max)
        too_low, too_high = far_bounds(statistics)
        flat = rows[name].reshape(len(rows[name]), -1)
        least, most = flat.min(axis=0), flat.max(axis=0)
        far = np.flatnonzero((least < too_low) | (most > too_high))
        for column in far[:_SHOWN].tolist():
            _log.warning(
                "%s: %s[%d] (%s): %.4g to %.4g, where a healthy run has %.4g to %.4g",
                environment,
                name,
                column,
                value_name(contract, name, column),
                least[column],
                most[column],
                lowest[column],
                highest[column],
            )
        if len(far) > _SHOWN:
            _log.warning("%s: %s: %d more columns like this", environment, name, len(far) - _SHOWN)


def _list(values: F64) -> str:
    shown = ", ".join(f"{value:.3g}" for value in values[:_SHOWN])
    return f"[{shown}{', ...' if len(values) > _SHOWN else ''}]"
