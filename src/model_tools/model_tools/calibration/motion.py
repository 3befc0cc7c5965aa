# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whether rows are of one body that moves: rates against changes, joints against their targets."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from model_tools.calibration.collection import Filling, Records
from model_tools.calibration.coverage import Agreement, Motion
from model_tools.calibration.fields import Fields
from model_tools.calibration.source import Row
from policy_inference.bundle.joint_values import per_joint
from policy_inference.bundle.load import Bundle
from policy_inference.interfaces import F64

_AT_ONCE = 256
"""Rows that are judged at once; the pair across two such lots is left out."""
FOLLOWED = 2
"""Ticks after which a joint is where it was sent: motors and buses take their time."""
_AXES = ("x", "y", "z")
Places = npt.NDArray[np.intp]


class MotionOf:
    """Compares rows with those of the tick before, as far as the observations tell.

    Joints' velocities with the changes of their positions; the body's angular velocity w with the
    change of gravity g in its frame, which is g' = -w x g, so that -(g x g') / |g|^2 is w without
    its part along g; and the positions of joints with what they were sent to a tick or two before.
    """

    def __init__(self, bundle: Bundle) -> None:
        """Begin without rows."""
        contract = bundle.contract
        self._fields, self._period_s = Fields(bundle, ()), contract.period_ns * 1e-9
        self._output, joints = contract.action.output, contract.joints.names
        driven, scales, first = list[tuple[int, int]](), list[float](), 0
        for term in contract.action.terms:
            if term.kind == "position":
                driven += [(first + place, joints.index(name))
                           for place, name in enumerate(term.joints)]
                scales += per_joint(term.scale, term.joints).tolist()
            first += len(term.joints)
        self._from, self._to = np.array(driven, np.intp).reshape(-1, 2).T
        self._scale = np.array(scales)
        self._joints, self._body = _Compared(joints), _Compared(_AXES)
        self._targets = [_Compared([joints[place] for place in self._to]) for _ in range(FOLLOWED)]
        self._filling: Filling | None = None
        self._count = 0

    def watch(self, row: Row) -> None:
        """Take a row, in the order of time; not all need come.

        Raises:
            ToolError: It holds other tensors than the first.
        """
        if self._filling is None:
            self._filling = Filling(row, _AT_ONCE)
        self._filling.put(self._count, row)
        self._count += 1
        if self._count == _AT_ONCE:
            self._settle()

    def found(self) -> Motion:
        """Return what was found in all rows so far."""
        self._settle()
        targets = [found for each in self._targets if (found := each.found(centred=True))]
        return Motion(joints=self._joints.found(), body=self._body.found(),
                      targets=max(targets, key=_together, default=None))

    def _settle(self) -> None:
        if self._filling is not None and self._count > 1:
            self._add(self._filling.records[: self._count])
        self._count = 0

    def _add(self, rows: Records) -> None:
        follows = np.append(False, (np.diff(rows["number"]) == 1) & ~rows["begins"][1:])
        fields, output = self._fields.of(rows), rows["tensors"][self._output]
        self._add_rates(fields, np.flatnonzero(follows))
        target = output.reshape(len(rows), -1)[:, self._from] * self._scale
        position, after = fields.get("joint_pos"), follows
        if position is not None and len(self._to):
            for ticks, compared in enumerate(self._targets, 1):
                places = np.flatnonzero(after)
                compared.add(target[places - ticks], position[places][:, self._to])
                after = follows & np.append(False, after[:-1])

    def _add_rates(self, fields: Mapping[str, F64], after: Places) -> None:
        def mean(values: F64) -> F64:
            return np.asarray((values[after] + values[after - 1]) / 2.0)

        def rate(values: F64) -> F64:
            return np.asarray((values[after] - values[after - 1]) / self._period_s)

        if "joint_pos" in fields and "joint_vel" in fields:
            self._joints.add(mean(fields["joint_vel"]), rate(fields["joint_pos"]))
        if "gravity_body" in fields and "ang_vel_body" in fields:
            gravity, turning = mean(fields["gravity_body"]), mean(fields["ang_vel_body"])
            square = np.maximum((gravity ** 2).sum(axis=1, keepdims=True), 1e-6)
            along = (gravity * turning).sum(axis=1, keepdims=True) * gravity / square
            self._body.add(turning - along,
                           -np.cross(gravity, rate(fields["gravity_body"])) / square)


def _together(found: Agreement) -> float:
    return float(np.nan_to_num(found.correlation).mean())


class _Compared:
    """Sums for the correlation and the ratio of two quantities."""

    def __init__(self, names: tuple[str, ...] | list[str]) -> None:
        self._names, self._count = tuple(names), 0
        self._first, self._second = np.zeros((2, len(names))), np.zeros((2, len(names)))
        self._product = np.zeros(len(names))

    def add(self, first: F64, second: F64) -> None:
        """Take both [rows, values]."""
        self._count += len(first)
        for sums, values in ((self._first, first), (self._second, second)):
            sums += values.sum(axis=0), np.square(values).sum(axis=0)
        self._product += (first * second).sum(axis=0)

    def found(self, *, centred: bool = False) -> Agreement | None:
        """Return the figures, about the means or about 0; None where nothing was compared."""
        if not self._count:
            return None
        first, second = (sums / self._count for sums in (self._first, self._second))
        means = (first[0], second[0]) if centred else (np.zeros(1), np.zeros(1))
        squares = [np.maximum(part[1] - mean ** 2, 0.0)
                   for part, mean in zip((first, second), means, strict=True)]
        size = np.sqrt(squares)
        with np.errstate(divide="ignore", invalid="ignore"):
            return Agreement(
                names=self._names, pairs=self._count, stated=size[0], seen=size[1],
                correlation=(self._product / self._count - means[0] * means[1])
                / (size[0] * size[1]), ratio=size[0] / size[1])
