# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Compares the estimated base velocity with motion capture.

Motion capture tracks a body on the robot, on its own clock. The clock's offset and the body's
position and orientation on the robot are unknown. The offset and orientation are chosen so that the
body's rotation matches the gyroscope; the position is the one that best explains, by least squares,
the difference between the two velocities while the robot turns. None of these three can hide a
constant error in the estimate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from model_tools.errors import ToolError
from model_tools.prove.identification.imu_mounting import find_rotation, rotation_vectors
from model_tools.prove.identification.recorded_motion import RecordedMotion
from model_tools.prove.identification.resampling import (
    BLOCK_S,
    FEWEST_BLOCKS,
    Estimate,
    block_count,
    resampled,
)
from policy_core.interfaces import F64, Index
from robot_sim.rotation import rotate_inverse

_WINDOW_S = 0.06
"""Length of the local cubic fits that turn positions into velocities."""
_LONGEST_GAP = 3.0
"""Longest gap in the motion capture, in periods, to interpolate over."""
_SHORTEST_S, _LONGEST_S, _BURSTS = 0.001, 1.0 / 30.0, 4.0
"""Limits of the motion capture's period, and how uneven periods may be."""
_OUTLIERS, _FASTEST_RADPS = 8.0, 20.0
"""Signs of confused markers: a position this many times farther from its fit than usual, or a body
that turns faster than this.
"""
_FARTHEST_M = 2.0
_LATEST_S, _COARSE_S, _FINE_S = 1.0, 0.004, 0.00025
_ALIKE = 0.8
"""Minimum correlation between the angular velocities of the body and the gyroscope."""
_SECOND_AXIS = 0.01
"""Minimum fraction of rotation about a second axis, without which the orientation is unknown."""
_ESTIMATE_GAP_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureComparison:
    """Error of the estimated base velocity, in the base frame, while the policy ran.

    Attributes:
        rmse_mps: Root mean square of the error's length; includes `noise_mps`.
        noise_mps: Part of `rmse_mps` that the noise of the motion capture explains.
        p95_mps: 95th percentile of the error's length.
        bias_mps: Mean error along x, y and z.
        nees: Normalized estimation error squared, per axis: 1 if the estimator's variance is right,
            more if the estimator is overconfident; NaN if it states no variance.
        late_s: How much later than the IMU the motion capture arrives, or is stamped.
        body_m: Position of the tracked body in the base, x, y and z.
        body_deg: Roll, pitch and yaw of the tracked body in the base.
        compared_s: Duration of the comparison.
    """

    rmse_mps: Estimate
    noise_mps: float
    p95_mps: Estimate
    bias_mps: tuple[Estimate, Estimate, Estimate]
    nees: float
    late_s: float
    body_m: tuple[Estimate, Estimate, Estimate]
    body_deg: tuple[float, float, float]
    compared_s: float


def compare_capture(motion: RecordedMotion) -> CaptureComparison:
    """Return the error of `odom`, by comparison with the motion capture.

    Raises:
        ToolError: The recording has no `odom` or no IMU, the motion capture is too short, or the
            body does not turn as the gyroscope measures.
    """
    missing = [
        name
        for name, times_s in (("odom", motion.estimate_s), ("imu/data", motion.imu_s))
        if len(times_s) < 2
    ]
    if missing:
        raise ToolError(
            f"motion_capture: expected {' and '.join(missing)} in the same recording, for "
            "comparison, found none; record "
            f"{'both' if len(missing) > 1 else 'it'} as well"
        )
    body = _track(motion)
    late_s, turn = _align(motion, body)
    at_s = body.time_s - late_s
    rate = _mean_rate(motion, _turned(motion), at_s, body.step_s)
    moved = body.velocity @ turn.T
    estimate = np.stack([np.interp(at_s, motion.estimate_s, one) for one in motion.estimate.T], 1)
    use = body.known & _ran(motion, at_s) & _is_within(motion.estimate_s, at_s, _ESTIMATE_GAP_S)
    if (found_s := float(use.sum() * body.step_s)) < FEWEST_BLOCKS * BLOCK_S:
        raise ToolError(
            f"motion_capture: expected {FEWEST_BLOCKS * BLOCK_S:g} s or more in which the policy "
            f"runs and both odom (at {1.0 / _ESTIMATE_GAP_S:g} Hz or more) and the motion capture "
            f"are known, found {found_s:.1f} s"
        )
    rate, moved, estimate, at_s = rate[use], moved[use], estimate[use], at_s[use]
    blocks = np.array_split(np.arange(len(at_s)), block_count(at_s))
    difference = moved - estimate[:, :3]
    x, y, z = resampled(lambda rows: _find_place(rate[rows], difference[rows]), blocks)
    place = np.array([x.value, y.value, z.value])
    if (far_m := float(np.linalg.norm(place))) > _FARTHEST_M:
        raise ToolError(
            f"motion_capture: expected a body on the robot, found one {far_m:.3g} m from the base: "
            "are its positions in m, right-handed, and in the same frame as its orientation?"
        )
    error = estimate[:, :3] - (moved - np.cross(rate, place))
    square = np.square(error).sum(axis=1)

    def figures(rows: Index) -> F64:
        tail = np.percentile(np.sqrt(square[rows]), 95.0)
        return np.array([np.sqrt(square[rows].mean()), tail, *error[rows].mean(axis=0)])

    rmse, p95, *bias = resampled(figures, blocks)
    variance = estimate[:, 3:]
    states, expected = bool((variance > 0.0).all()), variance + body.noise_mps**2
    yaw, pitch = np.arctan2(turn[1, 0], turn[0, 0]), -np.arcsin(np.clip(turn[2, 0], -1.0, 1.0))
    roll = np.arctan2(turn[2, 1], turn[2, 2])
    return CaptureComparison(
        rmse_mps=rmse,
        noise_mps=float(3.0**0.5 * body.noise_mps),
        p95_mps=p95,
        bias_mps=(bias[0], bias[1], bias[2]),
        nees=float((np.square(error) / expected).mean()) if states else float("nan"),
        late_s=late_s,
        body_m=(x, y, z),
        body_deg=(float(np.degrees(roll)), float(np.degrees(pitch)), float(np.degrees(yaw))),
        compared_s=found_s,
    )


class _Track(NamedTuple):
    """The tracked body at equal time steps: velocity and angular velocity in its own frame.

    `noise_mps` is the standard deviation of the velocity on each axis.
    """

    time_s: F64
    step_s: float
    velocity: F64
    noise_mps: float
    rate: F64
    known: np.ndarray[tuple[int], np.dtype[np.bool_]]


def _track(motion: RecordedMotion) -> _Track:
    time_s, pose = motion.capture_s, motion.capture
    # A body out of sight has zeros, or the last pose again.
    seen = np.linalg.norm(pose[:, 3:], axis=1) > 0.5
    seen &= np.concatenate([[True], (np.diff(pose, axis=0) != 0.0).any(axis=1)])
    seen &= np.concatenate([[True], np.diff(time_s) > 0.0])
    time_s, pose = time_s[seen], pose[seen]
    step_s = float(np.median(np.diff(time_s))) if len(time_s) > 1 else np.inf
    if not len(time_s) or time_s[-1] - time_s[0] < max(FEWEST_BLOCKS * BLOCK_S, 20.0 * step_s):
        raise ToolError(
            f"motion_capture: expected {FEWEST_BLOCKS * BLOCK_S:g} s or more of changing poses, "
            f"found {len(time_s)} different ones; was the body out of sight?"
        )
    if np.percentile(np.diff(time_s), 80.0) > _BURSTS * step_s or step_s > _LONGEST_S:
        raise ToolError(
            f"motion_capture: expected evenly spaced poses at {1.0 / _LONGEST_S:g} Hz or more, "
            f"found {len(time_s) / (time_s[-1] - time_s[0]):.3g} Hz, or bursts; poses need stamps"
        )
    step_s = max(step_s, _SHORTEST_S)
    grid_s = np.arange(time_s[0], time_s[-1], step_s)
    quat = pose[:, 3:] / np.linalg.norm(pose[:, 3:], axis=1, keepdims=True)
    flips = np.cumprod(np.where((quat[1:] * quat[:-1]).sum(axis=1) < 0.0, -1.0, 1.0))
    quat[1:] *= flips[:, np.newaxis]
    position = np.stack([np.interp(grid_s, time_s, axis) for axis in pose[:, :3].T], 1)
    turned = np.stack([np.interp(grid_s, time_s, axis) for axis in quat.T], 1)
    turned /= np.linalg.norm(turned, axis=1, keepdims=True)
    half = max(2, round(_WINDOW_S / step_s / 2.0))
    value, slope = np.linalg.pinv(np.vander(np.arange(-half, half + 1.0), 4, increasing=True))[:2]
    rate = np.zeros_like(position)
    rate[1:-1] = rotation_vectors(turned[:-2], turned[2:]) / (2.0 * step_s)
    world = _filtered(position, slope / step_s)
    residual = np.linalg.norm(position - _filtered(position, value), axis=1)
    gaps = ~_is_within(time_s, grid_s, _LONGEST_GAP * step_s)
    gaps |= residual > _OUTLIERS * np.median(residual)
    gaps |= np.linalg.norm(rate, axis=1) > _FASTEST_RADPS
    known = np.convolve(gaps, np.ones(2 * half + 3), "same") < 0.5
    known[: half + 1] = known[-half - 1 :] = False
    # A fit leaves 1 - value[half] of the variance of a position as residual.
    spread = float(np.sqrt(np.square(residual[known]).mean() / 3.0 / (1.0 - value[half])))
    noise_mps = spread * float(np.linalg.norm(slope)) / step_s
    velocity = rotate_inverse(turned, world)
    return _Track(grid_s, step_s, velocity, noise_mps, _filtered(rate, value), known)


def _filtered(values: F64, weights: F64) -> F64:
    """Return a weighted sum of each value and its neighbors."""
    return np.stack([np.convolve(axis, weights[::-1], "same") for axis in values.T], 1)


def _align(motion: RecordedMotion, body: _Track) -> tuple[float, F64]:
    """Return the capture's delay, and the rotation [3, 3] from the body to the base."""
    known = body.rate[body.known]
    spread = np.linalg.svd(known, compute_uv=False) ** 2 if len(known) > 2 else np.zeros(3)
    if spread[1] <= _SECOND_AXIS * spread.sum():
        raise ToolError(
            "motion_capture: expected a body that turns about at least two axes (which shows its "
            f"orientation on the robot), found {len(known)} samples of a body that does not; "
            "record 60 s of walking with turns"
        )
    angle = _turned(motion)
    score, longest_s = 0.0, 0.0
    late_s = middle_s = 0.0
    turn = np.eye(3)
    for reach_s, step_s in ((_LATEST_S, _COARSE_S), (2.0 * _COARSE_S, _FINE_S)):
        for each_s in np.arange(middle_s - reach_s, middle_s + reach_s, step_s).tolist():
            at_s = body.time_s - each_s
            use = body.known & _is_within(motion.imu_s, at_s, _ESTIMATE_GAP_S)
            longest_s = max(longest_s, float(use.sum() * body.step_s))
            if use.sum() * body.step_s < FEWEST_BLOCKS * BLOCK_S:
                continue
            rate, seen = _mean_rate(motion, angle, at_s, body.step_s)[use], body.rate[use]
            found = find_rotation(seen, rate)
            length = np.sqrt(np.square(rate).sum() * np.square(seen).sum())
            alike = float((rate * (seen @ found.T)).sum() / length)
            if alike > score:
                score, late_s, turn = alike, each_s, found
        middle_s = late_s
    if score < _ALIKE or abs(late_s) > _LATEST_S - 2.0 * _COARSE_S:
        raise ToolError(
            "motion_capture: expected a body that turns like imu/data (a correlation of at least "
            f"{_ALIKE:g}), found a correlation of at most {score:.2f} (clock offsets up to "
            f"{_LATEST_S:g} s, over {longest_s:.1f} s with data from both): is the body on this "
            "robot, are its quaternions x y z w, and do the clocks agree?"
        )
    return late_s, turn


def _turned(motion: RecordedMotion) -> F64:
    """Return the integral of the gyroscope [measurements, 3]."""
    gyro = motion.imu[:, 4:7]
    steps = np.diff(motion.imu_s)[:, np.newaxis]
    return np.concatenate([np.zeros((1, 3)), np.cumsum(steps * (gyro[1:] + gyro[:-1]) / 2.0, 0)])


def _mean_rate(motion: RecordedMotion, angle: F64, at_s: F64, step_s: float) -> F64:
    """Return the gyroscope's mean angular velocity from a step before to a step after each time.

    `angle` is the integral of the angular velocity.
    """
    ends = (
        np.stack([np.interp(at_s + side * step_s, motion.imu_s, axis) for axis in angle.T], 1)
        for side in (1.0, -1.0)
    )
    after, before = ends
    return np.asarray((after - before) / (2.0 * step_s))


def _find_place(rate: F64, difference: F64) -> F64:
    """Return the position [3] of a body whose velocity differs from the base's by `difference`."""
    x, y, z = rate.T
    none = np.zeros_like(x)
    rows = np.stack([none, -z, y, z, none, -x, -y, x, none], 1).reshape(-1, 3)
    # A constant part belongs to the estimate's error, not to the position.
    constant = np.tile(np.eye(3), (len(rate), 1))
    solution = np.linalg.lstsq(np.hstack([rows, constant]), difference.reshape(-1), rcond=None)[0]
    return np.asarray(solution[:3])


def _ran(motion: RecordedMotion, at_s: F64) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    newest = np.searchsorted(motion.command_s, at_s, side="right") - 1
    return np.asarray((newest >= 0) & motion.running[np.maximum(newest, 0)])


def _is_within(time_s: F64, at_s: F64, gap_s: float) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which times lie between two samples at most `gap_s` apart."""
    after = np.searchsorted(time_s, at_s, side="left")
    inside = (after > 0) & (after < len(time_s))
    after = np.clip(after, 1, len(time_s) - 1)
    return np.asarray(inside & (time_s[after] - time_s[after - 1] <= gap_s))
