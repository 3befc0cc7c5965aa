# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Checks that rows show one moving body, and describes deviations.

Contacts shake a joint faster than a policy ticks, so in a healthy walk, individual velocities may
contradict the change in position. Joints are therefore judged by the median of those that move.
Measured on healthy walks: correlation 0.55 to 0.98 for joints, 0.48 to 0.98 for axes, and ratios of
0.8 to 1.8.

Rows of a log may be more than a tick apart, even half a gait cycle. Any quantity may then seem to
contradict its rate, but its ratio is wrong too, so only quantities with the right ratio are judged
by their sign.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from model_tools.errors import listed
from model_tools.files.rows import Row
from model_tools.prove.calibration.collection import Fields, Filling, Records
from model_tools.prove.calibration.measure import RowMotion, StatedAgreement
from policy_core.bundle.bundle import JointBundle
from policy_core.interfaces import F64

_AT_ONCE = 256
"""Number of rows judged together; pairs across two batches are left out."""
FOLLOWED = 2
"""Number of ticks until a joint reaches its target, since motors and buses add delay."""
_AXES = ("x", "y", "z")
Places = npt.NDArray[np.intp]
_FEWEST_PAIRS = 32
_MOVES_RAD_S, _MOVES_RAD = 0.05, 0.01
_AGAINST, _WITH = -0.3, 0.5
"""Correlations below which signs are opposite, and above which quantities agree."""
_OFF = 3.5
"""Factor from which a scale counts as wrong."""
_ALIKE, _UNITS = 1.5, 20.0
"""If the ratios of joints and body are wrong but agree within the first factor, the time between
rows is wrong; above the second factor, both are in degrees."""
_ELSEWHERE = 0.5
"""Mean correlation of joints with their targets: 0.6 or more in healthy walks, 0.1 to 0.44 with
swapped legs, mirrored signs, or without the commands.
"""
SHOWN = 3


class MotionOf:
    """Compares rows with those of the previous tick, where the observations permit.

    It compares joint velocities with position changes; the body's angular velocity w with the
    change of gravity g in its frame, g' = -w x g, so that -(g x g') / |g|^2 is w without its
    component along g; and joint positions with the targets one or two ticks earlier.
    """

    def __init__(self, bundle: JointBundle) -> None:
        contract = bundle.contract
        self._fields, self._period_s = Fields(bundle, ()), contract.period_ns * 1e-9
        self._output, joints = contract.action.output, contract.joints.names
        driven, scales, first = list[tuple[int, int]](), list[float](), 0
        for term in contract.action.terms:
            if term.kind == "position":
                driven += [
                    (first + place, joints.index(name)) for place, name in enumerate(term.joints)
                ]
                scales += term.scale.tolist()
            first += len(term.joints)
        self._from, self._to = np.array(driven, np.intp).reshape(-1, 2).T
        self._scale = np.array(scales)
        self._joints, self._body = _Compared(joints), _Compared(_AXES)
        self._targets = [_Compared([joints[place] for place in self._to]) for _ in range(FOLLOWED)]
        self._filling: Filling | None = None
        self._count = 0

    def watch(self, row: Row) -> None:
        if self._filling is None:
            self._filling = Filling(row, _AT_ONCE)
        self._filling.put(self._count, row)
        self._count += 1
        if self._count == _AT_ONCE:
            self._settle()

    def found(self) -> RowMotion:
        self._settle()
        targets = [found for each in self._targets if (found := each.found(centred=True))]
        return RowMotion(
            joints=self._joints.found(),
            body=self._body.found(),
            targets=max(
                targets, key=lambda one: np.nan_to_num(one.correlation).mean(), default=None
            ),
        )

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
            square = np.maximum((gravity**2).sum(axis=1, keepdims=True), 1e-6)
            along = (gravity * turning).sum(axis=1, keepdims=True) * gravity / square
            self._body.add(
                turning - along, -np.cross(gravity, rate(fields["gravity_body"])) / square
            )


class _Compared:
    """Sums for the correlation and the ratio of two quantities."""

    def __init__(self, names: tuple[str, ...] | list[str]) -> None:
        self._names, self._count = tuple(names), 0
        self._first, self._second = np.zeros((2, len(names))), np.zeros((2, len(names)))
        self._product = np.zeros(len(names))

    def add(self, first: F64, second: F64) -> None:
        self._count += len(first)
        for sums, values in ((self._first, first), (self._second, second)):
            sums += values.sum(axis=0), np.square(values).sum(axis=0)
        self._product += (first * second).sum(axis=0)

    def found(self, *, centred: bool = False) -> StatedAgreement | None:
        if not self._count:
            return None
        first, second = (sums / self._count for sums in (self._first, self._second))
        means = (first[0], second[0]) if centred else (np.zeros(1), np.zeros(1))
        squares = [
            np.maximum(part[1] - mean**2, 0.0)
            for part, mean in zip((first, second), means, strict=True)
        ]
        size = np.sqrt(squares)
        with np.errstate(divide="ignore", invalid="ignore"):
            return StatedAgreement(
                names=self._names,
                pairs=self._count,
                stated=size[0],
                seen=size[1],
                correlation=(self._product / self._count - means[0] * means[1])
                / (size[0] * size[1]),
                ratio=size[0] / size[1],
            )


def moved_wrongly(found: RowMotion) -> Iterator[str]:
    if found.joints is not None:
        moving = _moving(found.joints, _MOVES_RAD_S)
        if moving.any():
            correlation = float(np.median(found.joints.correlation[moving]))
            ratio = float(np.median(found.joints.ratio[moving]))
            which = listed(np.array(found.joints.names)[moving], SHOWN)
            if _is_reversed(correlation, ratio):
                yield (
                    "joint velocities have the opposite sign to the changes in position "
                    f"({which}; correlation {correlation:.2f}): check the signs in the driver"
                )
            elif _is_scaled(correlation, ratio) and not _rate(found):
                yield (
                    f"joint velocities are {ratio:.2g} x the changes in position ({which}): wrong "
                    "units or scales, or motor-side velocities (before the gearboxes)"
                )
    if found.body is not None:
        for place in np.flatnonzero(_moving(found.body, _MOVES_RAD_S)):
            axis, correlation = found.body.names[place], found.body.correlation[place]
            ratio = float(found.body.ratio[place])
            if _is_reversed(correlation, ratio):
                yield (
                    f"the angular velocity about {axis} has the opposite sign to the change in "
                    f"orientation (correlation {correlation:.2f}): the IMU's gyroscope and its "
                    "orientation are in different frames"
                )
            elif _is_scaled(correlation, ratio) and not _rate(found):
                yield (
                    f"the angular velocity about {axis} is {ratio:.2g} x the change in "
                    "orientation: wrong units or scales"
                )


def _is_reversed(correlation: float, ratio: float) -> bool:
    return correlation < _AGAINST and not _is_off(ratio)


def _is_scaled(correlation: float, ratio: float) -> bool:
    return correlation > _WITH and _is_off(ratio)


def moved_elsewhere(found: RowMotion) -> Iterator[str]:
    """Yield evidence of a different robot or controller, or of joints with wrong names."""
    if rate := _rate(found):
        yield (
            f"joints and body both move {rate:.2g} x as far between rows as in one policy tick: "
            "the rows were logged at a different rate, which does not affect calibration; joint "
            "targets are not judged"
        )
        return
    targets = found.targets
    if targets is None:
        return
    moving = _moving(targets, _MOVES_RAD)
    if not moving.any():
        return
    correlation = np.where(moving, targets.correlation, 1.0)
    mean = float(correlation[moving].mean())
    if mean < _ELSEWHERE:
        worst = [
            f"{targets.names[place]} {correlation[place]:.2f}" for place in np.argsort(correlation)
        ]
        yield (
            f"the joints do not follow the targets of this policy (correlation {mean:.2f} on "
            f"average, {listed(worst, SHOWN)}): check joint names and signs, such as swapped left "
            "and right; or a different controller was running, or its commands were not recorded"
        )


def _is_off(ratio: float) -> bool:
    return not 1.0 / _OFF < ratio < _OFF


def _rate(found: RowMotion) -> float | None:
    """Return the number of ticks between rows, if joints and body agree on it; else None."""
    ratios = []
    for part in (found.joints, found.body):
        moving = part is not None and _moving(part, _MOVES_RAD_S)
        if part is None or not np.any(moving):
            return None
        ratios.append(float(np.median(part.ratio[moving])))
    alike = 1.0 / _ALIKE < ratios[0] / ratios[1] < _ALIKE
    off = all(map(_is_off, ratios)) and max(ratios) < _UNITS
    return 1.0 / ratios[0] if alike and off else None


def _moving(found: StatedAgreement, least: float) -> npt.NDArray[np.bool_]:
    if found.pairs < _FEWEST_PAIRS:
        return np.zeros(len(found.names), bool)
    return np.asarray(
        (found.stated > least / 10.0) & (found.seen > least) & np.isfinite(found.correlation)
    )
