# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Compares predicted with recorded actions: errors per joint, delay, and values out of range."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lerobot_bridge.open_loop.predict import Predicted
from policy_core.bundle.chunk_contract import ChunkContract, JointVector, Scaling
from policy_core.interfaces import F64
from policy_core.members.chunk.normalise import Units

LARGEST_LAG_S = 0.5
"""Maximum shift of the recorded actions in the search for the best fit, s."""
_MOVES_RAD = 0.05
"""Range of motion up to which a joint counts as still, since noise reveals no delay."""
_BEYOND = 0.05
"""Fraction of a joint's range by which a value may exceed it, since calibrations differ slightly.
"""
_LITTLE = 0.1
"""Values below this fraction of the training values suggest different units: 1 rad is 57 degrees.
"""
_ASKED = "is the dataset in the policy's units?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Statistics of one joint's absolute error over all frames."""

    mean: float
    p95: float
    largest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JointErrors:
    """Error statistics for one joint.

    Attributes:
        name: Name of the joint.
        unit: The joint's unit in the dataset, from the contract.
        error, error_rad: Statistics of the absolute error, in that unit and in rad.
        correlation: Correlation between predicted and recorded values; NaN if either is constant.
        worst: Episode and frame of the largest error.
    """

    name: str
    unit: str
    error: Spread
    error_rad: Spread
    correlation: float
    worst: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """The shift at which the recorded actions fit the predicted ones best, over all joints.

    Attributes:
        frames: Shift of the best-fitting recorded actions, in frames; negative if they are earlier.
        error, error_unshifted: Mean absolute error with and without the shift, in standard
            deviations of the recorded actions of each joint.
        error_of_mean: The unshifted error of a policy that always returns the mean of the recorded
            actions.
    """

    frames: int
    error: float
    error_unshifted: float
    error_of_mean: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionErrors:
    """The errors measured over one or more episodes.

    Attributes:
        joints: Errors of each joint, in the order of the action.
        lag: The best shift; None if no joint moves.
        by_step: Mean absolute error of each step of a chunk [steps], over all joints that move, in
            standard deviations of the recorded actions; NaN for steps that no frame used.
        strange: A line for each joint with values beyond its limits, and one if all values are far
            smaller than in training, which suggests wrong units.
    """

    joints: tuple[JointErrors, ...]
    lag: Lag | None
    by_step: F64
    strange: tuple[str, ...]


def measure(contract: ChunkContract, found: Sequence[Predicted]) -> PredictionErrors:
    """Measure several episodes together; each must contain frames to compare."""
    recorded, predicted = (
        np.concatenate(parts)
        for parts in (
            [one.actions[one.compared] for one in found],
            [one.predicted[one.compared] for one in found],
        )
    )
    # without the joints at rest: their errors have no scale
    recorded_rad = Units(contract.units, contract.action.joints).to_rad(recorded)
    moving, spread = np.ptp(recorded_rad, axis=0) > _MOVES_RAD, recorded.std(axis=0)
    scaled = [
        (
            one.actions[run][:, moving] / spread[moving],
            one.predicted[run][:, moving] / spread[moving],
        )
        for one in found
        for run in _runs(one)
    ]
    return PredictionErrors(
        joints=tuple(_joints(contract, found, recorded, predicted)),
        lag=_lag(contract, scaled) if moving.any() else None,
        by_step=_by_step(found, scaled),
        strange=tuple(_strange(contract, found)),
    )


def _runs(one: Predicted) -> list[npt.NDArray[np.int64]]:
    """Return the frames to compare, grouped into runs of consecutive frames."""
    frames = np.flatnonzero(one.compared)
    return np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1)


def _joints(
    contract: ChunkContract, found: Sequence[Predicted], recorded: F64, predicted: F64
) -> Iterator[JointErrors]:
    names = contract.action.joints
    units = Units(contract.units, names)
    errors = np.abs(predicted - recorded)
    errors_rad = np.abs(units.to_rad(predicted) - units.to_rad(recorded))
    places = [
        (one.episode.index, int(frame)) for one in found for frame in np.flatnonzero(one.compared)
    ]
    for i, name in enumerate(names):
        yield JointErrors(
            name=name,
            unit=contract.units[name].unit,
            error=_spread(errors[:, i]),
            error_rad=_spread(errors_rad[:, i]),
            correlation=_correlation(recorded[:, i], predicted[:, i]),
            worst=places[int(np.argmax(errors[:, i]))],
        )


def _spread(errors: F64) -> Spread:
    return Spread(
        mean=float(errors.mean()), p95=float(np.quantile(errors, 0.95)), largest=float(errors.max())
    )


def _correlation(a: F64, b: F64) -> float:
    a, b = a - a.mean(), b - b.mean()
    product = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / product if product > 0.0 else float("nan")


def _lag(contract: ChunkContract, scaled: Sequence[tuple[F64, F64]]) -> Lag:
    """Find the shift with the smallest error over the frames that all shifts have in common."""
    longest = max(len(actions) for actions, _ in scaled)
    most = min(round(LARGEST_LAG_S * contract.rate_hz), (longest - 1) // 2)
    scaled = [(actions, predicted) for actions, predicted in scaled if len(actions) > 2 * most]

    def error(shift: int) -> float:
        inside = [
            (
                actions[most + shift : len(actions) - most + shift],
                predicted[most : len(predicted) - most],
            )
            for actions, predicted in scaled
        ]
        return float(np.mean(np.concatenate([np.abs(a - b) for a, b in inside])))

    errors = {shift: error(shift) for shift in range(-most, most + 1)}
    best = min(errors, key=lambda shift: (errors[shift], abs(shift)))
    actions = np.concatenate([actions for actions, _ in scaled])
    return Lag(
        frames=best,
        error=errors[best],
        error_unshifted=errors[0],
        error_of_mean=float(np.abs(actions - actions.mean(axis=0)).mean()),
    )


def _by_step(found: Sequence[Predicted], scaled: Sequence[tuple[F64, F64]]) -> F64:
    steps = np.concatenate([_steps(one)[one.compared] for one in found])
    errors = np.concatenate(
        [np.abs(a - b).mean(axis=1) if a.size else np.zeros(len(a)) for a, b in scaled]
    )
    counts = np.bincount(steps)
    means: F64 = np.bincount(steps, errors) / np.where(counts > 0, counts, np.nan)
    return means


def _steps(one: Predicted) -> npt.NDArray[np.int64]:
    """For each frame, return the index of the chunk step that was used."""
    frames, begins = np.arange(len(one.actions)), np.array(one.begins)
    steps: npt.NDArray[np.int64] = frames - begins[np.searchsorted(begins, frames, "right") - 1]
    return steps


def _strange(contract: ChunkContract, found: Sequence[Predicted]) -> Iterator[str]:
    yield from _of_other_units(
        contract, "action", contract.action, np.concatenate([one.actions for one in found])
    )
    if contract.state is not None:
        state = [one.state for one in found if one.state is not None]
        yield from _of_other_units(contract, "state", contract.state, np.concatenate(state))


def _of_other_units(
    contract: ChunkContract, what: str, one: JointVector, values: F64
) -> Iterator[str]:
    """Yield a message for each joint beyond its limits, and one if no joint moves much."""
    body = contract.joints
    units, names = Units(contract.units, one.joints), list(body.names)
    places = [names.index(joint) for joint in one.joints]
    ends = units.of_rad(np.stack([body.position_min, body.position_max])[:, places])
    low, high = ends.min(axis=0), ends.max(axis=0)
    margin = _BEYOND * (high - low)
    least, most = values.min(axis=0), values.max(axis=0)
    for i, joint in enumerate(one.joints):
        if least[i] < low[i] - margin[i] or most[i] > high[i] + margin[i]:
            yield (
                f"{what}: {joint}: expected values within its limits, {low[i]:.4g} to "
                f"{high[i]:.4g} ({contract.units[joint].unit}), found {least[i]:.4g} to "
                f"{most[i]:.4g}; {_ASKED}"
            )
    usual, largest = _usual(one.normalisation), np.abs(values).max(axis=0)
    if usual is not None and (largest < _LITTLE * usual).all():
        yield (
            f"{what}: expected values like those in training, up to about {usual.max():.3g}, found "
            f"none above {largest.max():.3g}; {_ASKED}"
        )


def _usual(of: Scaling) -> F64 | None:
    """Return the typical size of values in the training data."""
    if of.mode == "mean_std":
        return np.asarray(np.abs(of.mean or 0.0) + np.asarray(of.std))
    if of.mode == "min_max":
        return np.maximum(np.abs(of.min or 0.0), np.abs(of.max or 0.0))
    return None
