# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Walking quality, computed from the ground truth in a `Trace`.

Velocities are those of the base in the yaw-aligned base frame: x along the heading, z vertical.
Means exclude the first 2 s of each command, since a robot needs time to respond.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from robot_sim.figures import LITE3, Array
from robot_sim.rotation import rotate, tilt_rad, turn, yaw_rad
from robot_sim.trace import Trace
from robot_sim.world import UPRIGHT_TILT_RAD

SETTLE_S = 2.0
# A trotting base sways by millimeters at each step; points this far apart leave the sway out.
DISTANCE_STEP_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A period of one command, held for longer than the settling time.

    Attributes:
        start_s: Time of the first row with this command.
        end_s: Time of the last row with this command.
        command: vx, vy in m/s, wz in rad/s.
        mean_velocity: Mean velocity (same three components) after settling.
        error: |mean velocity - command| for the same three components.
        max_tilt_deg: Largest tilt in the whole segment.
        mean_action_change: Mean |change of the action from row to row| after settling.
    """

    start_s: float
    end_s: float
    command: tuple[float, float, float]
    mean_velocity: tuple[float, float, float]
    error: tuple[float, float, float]
    max_tilt_deg: float
    mean_action_change: float

    @property
    def planar_error_mps(self) -> float:
        """Length of the error vector (vx, vy), m/s."""
        return float(np.hypot(*self.error[:2]))


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkMetrics:
    """Metrics of a whole walk.

    Attributes:
        duration_s: Time from first to last row.
        distance_m: Length of the path on the ground.
        mean_velocity_error_mps: Mean of the segments' planar errors; NaN without segments.
        mean_turn_error_radps: Mean of the segments' |wz| errors; NaN without segments.
        max_tilt_deg: Largest tilt.
        min_height_m: Lowest height of the base.
        falls: Number of times the robot went from upright to fallen: tilted by more than 60 degrees
            or with its base too low.
        torque_limit_share: Share of samples (joint x row) in which a drive exerted its rated
            torque.
        segments: Commands held long enough, in order.
    """

    duration_s: float
    distance_m: float
    mean_velocity_error_mps: float
    mean_turn_error_radps: float
    max_tilt_deg: float
    min_height_m: float
    falls: int
    torque_limit_share: float
    segments: tuple[Segment, ...]


def measure(
    trace: Trace,
    *,
    action_scale: npt.ArrayLike = 1.0,
    effort_limit_nm: npt.ArrayLike = LITE3.effort_limit_nm,
    fallen_height_m: float = LITE3.fallen_height_m,
) -> WalkMetrics:
    """Measure a walk. Starting on the ground is not a fall: only going down from upright counts.

    Args:
        trace: The walk.
        action_scale: Change of a joint target (rad) per unit of the policy's action, one number or
            [n]. Action changes are reported in that unit, by default rad.
        effort_limit_nm: Rated torques of the drives [n], N m; a Lite3's by default.
        fallen_height_m: Height of the base below which the robot is down; a Lite3's by default.
    """
    action = trace.target / np.asarray(action_scale)
    down = fallen(trace.quat_xyzw, trace.pos_world, fallen_height_m)
    bounds = _segment_bounds(trace.command)
    found = [_segment(trace, action, slice(start, end)) for start, end in pairwise(bounds)]
    segments = tuple(segment for segment in found if segment is not None)
    return WalkMetrics(
        duration_s=float(trace.time_s[-1] - trace.time_s[0]),
        distance_m=_distance_m(trace),
        mean_velocity_error_mps=_mean([segment.planar_error_mps for segment in segments]),
        mean_turn_error_radps=_mean([segment.error[2] for segment in segments]),
        max_tilt_deg=_max_tilt_deg(trace.quat_xyzw),
        min_height_m=float(trace.pos_world[:, 2].min()),
        falls=int(np.count_nonzero(np.diff(down.astype(int)) == 1)),
        torque_limit_share=float(np.mean(np.abs(trace.joint_effort) >= effort_limit_nm)),
        segments=segments,
    )


def velocity_yaw_aligned(trace: Trace) -> Array:
    """Return vx, vy (m/s) and wz (rad/s) of the base in the yaw-aligned base frame, [T, 3]."""
    world = rotate(trace.quat_xyzw, trace.lin_vel_body)
    velocity = turn(world, -yaw_rad(trace.quat_xyzw))
    velocity[:, 2] = rotate(trace.quat_xyzw, trace.ang_vel_body)[:, 2]
    return velocity


def fallen(
    quat_xyzw: Array, pos_world: Array, fallen_height_m: float = LITE3.fallen_height_m
) -> npt.NDArray[np.bool_]:
    """Return whether the robot is down [...] at orientations [..., 4] and positions [..., 3].

    Valid for level ground only; `World.fallen` takes slopes into account.
    """
    low = pos_world[..., 2] < fallen_height_m
    return np.asarray((tilt_rad(quat_xyzw) > UPRIGHT_TILT_RAD) | low)


def _segment_bounds(command: Array) -> list[int]:
    """Return the rows at which the command changes, preceded by 0 and followed by the row count."""
    changes = np.flatnonzero((np.diff(command, axis=0) != 0.0).any(axis=1)) + 1
    return [0, *changes.tolist(), len(command)]


def _segment(trace: Trace, action: Array, rows: slice) -> Segment | None:
    """Measure the rows of one command; None if it ended before the robot could settle."""
    time_s, command = trace.time_s[rows], trace.command[rows][0]
    settled = time_s - time_s[0] >= SETTLE_S
    if not settled.any():
        return None
    mean = velocity_yaw_aligned(trace)[rows][settled].mean(axis=0)
    changes = np.abs(np.diff(action[rows][settled], axis=0))
    return Segment(
        start_s=float(time_s[0]),
        end_s=float(time_s[-1]),
        command=_triple(command),
        mean_velocity=_triple(mean),
        error=_triple(np.abs(mean - command)),
        max_tilt_deg=_max_tilt_deg(trace.quat_xyzw[rows]),
        mean_action_change=_mean(changes[np.isfinite(changes)]),
    )


def _distance_m(trace: Trace) -> float:
    """Return the length of the base's path on the ground, excluding its sway."""
    grid_s = np.arange(trace.time_s[0], trace.time_s[-1], DISTANCE_STEP_S)
    rows = [*np.searchsorted(trace.time_s, grid_s), len(trace.time_s) - 1]
    steps = np.diff(trace.pos_world[rows, :2], axis=0)
    return float(np.linalg.norm(steps, axis=1).sum())


def _max_tilt_deg(quat_xyzw: Array) -> float:
    return float(np.degrees(tilt_rad(quat_xyzw).max()))


def _mean(values: list[float] | Array) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _triple(values: Array) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
