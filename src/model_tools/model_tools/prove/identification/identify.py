# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Identifies drive delays, gains and friction from a recording.

A drive follows the law in policy_msgs/JointCommand, with the command from `delay` ago:

    torque = stiffness * (position - q) + damping * (velocity - dq) + effort
             - friction * sign(dq) + offset

For a given delay, everything else is linear and is found by least squares; the drive's delay is the
one with the smallest residual. 95 % intervals come from resampled blocks of one second. They are
widened for two effects that the blocks do not show: between two samples of a joint, any delay
explains the data equally well, so the delay is uncertain by one sample; and few, similar blocks
underestimate their own spread.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import yaml

from model_tools.errors import ToolError
from model_tools.prove.identification.imu_mounting import ImuMounting, identify_mounting
from model_tools.prove.identification.motion_capture import CaptureComparison, compare_capture
from model_tools.prove.identification.recorded_motion import InputTiming, RecordedMotion
from model_tools.prove.identification.resampling import (
    BLOCK_S,
    FEWEST_BLOCKS,
    SEED,
    Estimate,
    estimate_from,
)
from policy_core.interfaces import F64
from policy_store.report import plain

_LONGEST_S, _COARSE_S, _FINE_S = 0.080, 0.002, 0.00025
_RESAMPLES = 400
_SATURATED = 0.98
"""Fraction of the torque limit above which a torque counts as clipped, and reveals nothing about
the gains."""
_SLOW_RADPS = 0.1
"""Speed below which the direction of friction is uncertain, so that friction has less weight."""
_LEFT_OUT, _LEFT_OUT_NM = 0.005, 0.002
"""Uncertainty of a gain, and of friction, that no resampling shows, however long the recording. It
is caused by position noise, which makes gains look softer, and by effects that the law omits."""
_DIGITS = 5
"""Significant digits of values in files."""
_MOST_LATENCY_MS, _NARROWEST = 40.0, 1e-3
"""Limits that `evaluate` sets for factors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentifiedDrive:
    """Identified parameters of a joint's drive.

    Attributes:
        joint: Name of the joint.
        delay_s: Time from the measurement on which a command is based to the resulting torque.
        stiffness: Effective position gain, N m/rad; `commanded_stiffness` is the commanded one.
        damping: Effective velocity gain, N m s/rad; `commanded_damping` is the commanded one.
        friction_nm: Torque that opposes the motion and that neither gain explains.
        residual_nm: Unexplained torque, root mean square.
    """

    joint: str
    delay_s: Estimate
    stiffness: Estimate
    commanded_stiffness: float
    damping: Estimate
    commanded_damping: float
    friction_nm: Estimate
    residual_nm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRate:
    """Rate and regularity of an input's messages.

    Attributes:
        name: Name of the input.
        rate_hz: Messages per second.
        jitter_s: Standard deviation of the time between two messages.
        longest_s: Longest time between two messages.
        age_s: Median of log time minus stamp.
    """

    name: str
    rate_hz: float
    jitter_s: float
    longest_s: float
    age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Identified:
    """All results from a recording."""

    drives: tuple[IdentifiedDrive, ...]
    rates: tuple[InputRate, ...]
    imu: ImuMounting | None
    velocity: CaptureComparison | None


def identify(motion: RecordedMotion) -> Identified:
    """Identify a robot's drives, inputs and sensors from a recorded motion.

    Raises:
        ToolError: The recording is too short, or lacks data that a result needs.
    """
    return Identified(
        drives=_drives(motion),
        rates=tuple(_rate(timing) for timing in motion.timings),
        imu=identify_mounting(motion) if len(motion.imu_s) > 2 * FEWEST_BLOCKS else None,
        velocity=compare_capture(motion) if len(motion.capture_s) else None,
    )


def figures_text(found: Identified) -> str:
    """Return all results as JSON; unknown ones are null."""
    content = plain(dataclasses.asdict(found), _DIGITS)
    return f"{json.dumps(content, indent=1, allow_nan=False)}\n"


def factors_text(found: Identified, source: str) -> str:
    """Return the ranges over all joints as YAML, for the `factors` section of a plan."""
    drives = found.drives
    factors = {
        "latency_ms": _range([drive.delay_s for drive in drives], [1e-3] * len(drives)),
        "stiffness_scale": _range(
            [drive.stiffness for drive in drives], [drive.commanded_stiffness for drive in drives]
        ),
        "damping_scale": _range(
            [drive.damping for drive in drives], [drive.commanded_damping for drive in drives]
        ),
    }
    factors["latency_ms"]["max"] = min(factors["latency_ms"]["max"], _MOST_LATENCY_MS)
    text = yaml.safe_dump({"factors": factors}, sort_keys=False)
    return f"# Identified by model_tools from {source}.\n{text}"


def _range(found: Sequence[Estimate], units: Sequence[float]) -> dict[str, float]:
    """Return the range of the values divided by their units, leaving out those whose unit is 0."""
    known = [(each, unit) for each, unit in zip(found, units, strict=True) if unit > 0.0]
    low = max(0.0, min((each.low / unit for each, unit in known), default=1.0))
    high = max((each.high / unit for each, unit in known), default=1.0)
    return {"min": round(low, 4), "max": round(max(high, low + _NARROWEST), 4)}


class _DriveRows:
    """Rows of the least-squares problem: torques and regressors, for any delay."""

    def __init__(self, motion: RecordedMotion) -> None:
        self._motion = motion
        ran_s = motion.command_s[motion.running]
        if not len(ran_s):
            raise ToolError("joint_command: expected commands from a policy in RUN, found none")
        # One command is still in transit when the policy starts, and one when it ends.
        rows = (motion.state_s > ran_s[0] + _LONGEST_S) & (motion.state_s < ran_s[-1])
        self._rows = np.flatnonzero(rows)
        self.time_s = motion.state_s[self._rows]
        blocks = ((self.time_s - self.time_s[:1]) / BLOCK_S).astype(np.int64)
        self._ends = np.flatnonzero(np.diff(blocks)) + 1
        if len(self._ends) + 1 < FEWEST_BLOCKS:
            raise ToolError(
                f"joint_states: expected {FEWEST_BLOCKS * BLOCK_S:g} s or more in which the "
                f"policy runs, found {len(self._ends) + 1} s; 60 s of walking with different "
                "commands are best"
            )

    def moments(self, delay_s: float) -> F64:
        """Return the sums of products of columns in each block [blocks, joints, 5, 5] for a delay.

        Columns: the commanded stiffness and damping terms, friction, offset (1 for each valid row),
        and torque minus feedforward.
        """
        motion = self._motion
        newest = np.searchsorted(motion.command_s + delay_s, self.time_s, side="right") - 1
        newest = np.maximum(newest, 0)
        position, velocity, effort, stiffness, damping, limit = (
            motion.commands[newest, part] for part in range(6)
        )
        q, dq, torque = (motion.state[self._rows, part] for part in range(3))
        use = np.abs(torque) < _SATURATED * limit
        use &= motion.running[newest][:, np.newaxis]
        columns = np.stack(
            [
                stiffness * (position - q),
                damping * (velocity - dq),
                -np.tanh(dq / _SLOW_RADPS),
                np.ones_like(q),
                torque - effort,
            ],
            axis=-1,
        )
        columns *= use[..., np.newaxis]
        parts = np.split(columns, self._ends)
        return np.stack([np.einsum("njf,njg->jfg", part, part, optimize=True) for part in parts])


def _drives(motion: RecordedMotion) -> tuple[IdentifiedDrive, ...]:
    rows = _DriveRows(motion)
    coarse = np.arange(0.0, _LONGEST_S, _COARSE_S)
    residuals = np.stack([_solved(rows.moments(delay).sum(axis=0))[1] for delay in coarse])
    best = coarse[np.argmin(residuals, axis=0)]
    fine = np.arange(max(0.0, best.min() - 2.0 * _COARSE_S), best.max() + 2.0 * _COARSE_S, _FINE_S)
    moments = np.stack([rows.moments(delay) for delay in fine], axis=1)
    commanded = np.median(motion.commands[motion.running, 3:5], axis=0)
    sample_s = float(np.median(np.diff(rows.time_s)))
    return tuple(
        _drive(name, fine, moments[:, :, joint], commanded[:, joint], sample_s)
        for joint, name in enumerate(motion.joints)
    )


def _drive(
    joint: str, delays_s: F64, moments: F64, commanded: F64, sample_s: float
) -> IdentifiedDrive:
    """Estimate one drive from its moments [blocks, delays, 5, 5]."""
    total = moments.sum(axis=0)
    values, residuals = _solved(total)
    place = _middle_of_best(residuals)
    count = total[int(place), 3, 3]
    if not np.isfinite(values[int(place)]).all() or count == 0:
        raise ToolError(f"{joint}: expected motion with torque below the limit, found none")
    random = np.random.default_rng(SEED)
    draws = random.integers(0, len(moments), (_RESAMPLES, len(moments)))
    delays, gains = list[float](), list[F64]()
    for draw in draws:
        found, left = _solved(moments[draw].sum(axis=0))
        at = _middle_of_best(left)
        delays.append(_at(delays_s, at))
        gains.append(found[int(at)])
    gains_of = np.array(gains)
    stiffness, damping = commanded

    def estimate(column: int, scale: float) -> Estimate:
        found = estimate_from(scale * values[int(place), column], scale * gains_of[:, column])
        return _widened(found, len(moments), _LEFT_OUT * abs(scale * values[int(place), column]))

    return IdentifiedDrive(
        joint=joint,
        delay_s=estimate_from(_at(delays_s, place), np.array(delays), step=sample_s + _FINE_S),
        stiffness=estimate(0, float(stiffness)),
        commanded_stiffness=float(stiffness),
        damping=estimate(1, float(damping)),
        commanded_damping=float(damping),
        friction_nm=_widened(
            estimate_from(values[int(place), 2], gains_of[:, 2]), len(moments), _LEFT_OUT_NM
        ),
        residual_nm=float(np.sqrt(max(0.0, residuals[int(place)]) / count)),
    )


def _solved(moments: F64) -> tuple[F64, F64]:
    """Return the solutions [..., 4] and sums of squared residuals [...] of moments [..., 5, 5]."""
    products, targets = moments[..., :4, :4], moments[..., :4, 4]
    # Regularized, so that a joint without motion has a (useless) solution.
    scale = np.trace(products, axis1=-2, axis2=-1)[..., np.newaxis, np.newaxis]
    regular = products + 1e-12 * np.maximum(scale, 1e-9) * np.eye(4)
    solution = np.linalg.solve(regular, targets[..., np.newaxis])[..., 0]
    residual = moments[..., 4, 4] - np.einsum("...f,...f->...", solution, targets)
    return solution, residual


def _middle_of_best(residuals: F64) -> float:
    """Return the mean of the indices with practically the smallest residual.

    Between two samples, every delay explains the data equally well, so several indices are best.
    """
    least = float(residuals.min())
    best = np.flatnonzero(residuals <= least + 1e-6 * (float(residuals.max()) - least) + 1e-15)
    first = int(np.argmin(residuals))
    together = best[np.abs(best - first) <= len(best)]
    return float(together[0] + together[-1]) / 2.0


def _at(delays_s: F64, place: float) -> float:
    return float(np.interp(place, np.arange(len(delays_s)), delays_s))


def _widened(found: Estimate, blocks: int, left_out: float) -> Estimate:
    """Return an interval widened for the small number of blocks, and for effects the law omits.

    Student's t replaces the normal distribution. Neighboring blocks are correlated, since a gait
    is periodic, so only half of them count.
    """
    free = max(1.0, blocks / 2.0 - 1.0)
    share = (1.0 + 1.25 / free) * np.sqrt((free + 1.0) / free)
    return Estimate(
        value=found.value,
        low=float(found.value - share * (found.value - found.low) - left_out),
        high=float(found.value + share * (found.high - found.value) + left_out),
    )


def _rate(timing: InputTiming) -> InputRate:
    between_s = np.diff(np.sort(timing.measured_ns)) * 1e-9
    if not len(between_s):
        between_s = np.array([np.inf])
    return InputRate(
        name=timing.name,
        rate_hz=float(1.0 / max(between_s.mean(), 1e-9)),
        jitter_s=float(between_s.std()) if np.isfinite(between_s).all() else float("nan"),
        longest_s=float(between_s.max()),
        age_s=float(np.median(timing.logged_ns - timing.measured_ns)) * 1e-9,
    )
