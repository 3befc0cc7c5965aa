# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What rows say of the robot's state: measured, else taken back out of the observations."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from model_tools.calibration.collection import Records
from model_tools.terms import TermColumns, newest_columns
from policy_inference.bundle.joint_values import per_joint
from policy_inference.bundle.load import Bundle
from policy_inference.interfaces import F64

FIELDS = ("joint_pos", "joint_vel", "ang_vel_body", "gravity_body", "velocity_command")


class Fields:
    """Finds fields of `policy_inference.core.state.RobotState` in rows."""

    def __init__(self, bundle: Bundle, sensed: Collection[str]) -> None:
        """Find the terms that show them; `sensed` are those that every row has by itself."""
        self._sensed = [name for name in FIELDS if name in sensed]
        contract = bundle.contract
        self._statistics = bundle.statistics
        self._default = per_joint(contract.joints.default_position, contract.joints.names)
        self._joints = contract.joints.names
        self._shown: dict[str, tuple[str, TermColumns]] = {}
        for name in contract.observations:
            for columns in newest_columns(contract, name):
                whole = (columns.names == self._joints if columns.spec.size == "joints" else
                         not columns.term.parts or columns.spec.field == "velocity_command"
                         or len(columns.names) == len(columns.spec.parts))  # fmt: skip
                if columns.spec.field in FIELDS and whole and columns.scale.all():
                    self._shown.setdefault(columns.spec.field, (name, columns))

    def of(self, rows: Records) -> dict[str, F64]:
        """Return the fields that the rows tell [rows, size], in SI units, as far as clips let."""
        found = {name: rows["sensed"][name].astype(np.float64) for name in self._sensed}
        for field, (name, columns) in self._shown.items():
            if field not in found:
                found[field] = self._physical(name, columns, rows["tensors"][name])
        return found

    def _physical(self, name: str, columns: TermColumns, rows: F64) -> F64:
        values = rows.reshape(len(rows), -1)[:, columns.where].astype(np.float64)
        if name in self._statistics:
            mean, divisor = (part[columns.where] for part in self._statistics[name])
            values = values * divisor + mean
        values = values / columns.scale
        if columns.term.parts:
            # An axis that the policy does not see is commanded, as far as it knows, to be still.
            field = np.zeros((len(rows), len(columns.spec.parts)))
            field[:, [columns.spec.parts.index(part) for part in columns.term.parts]] = values
            return field
        return np.asarray(values + self._default if columns.spec.minus_default else values)
