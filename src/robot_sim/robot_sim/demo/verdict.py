# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the demo's walk was a good one, and in one line why not."""

from robot_sim.demo.summary import Reported
from robot_sim.metrics import WalkMetrics

LARGEST_TILT_DEG = 25.0
LOWEST_M = 0.2
LARGEST_ERROR_MPS = 0.3
_CONTRACT = "check joint order, term order and scales of the contract"
_SIGNS_OF_A_WRONG_CONTRACT = ("attitude", "clipped_too_long")


def verdict(metrics: WalkMetrics, reported: Reported, *, lockstep: bool) -> str | None:
    """Judge a walk on flat ground.

    Args:
        metrics: Of the time in which the robot should have been up.
        reported: What the policy node said.
        lockstep: Whether simulated time waited for the policy node, so that a busy machine is no
            excuse.

    Returns:
        None for a good walk: the policy ran to the end, the robot neither fell nor tilted by more
        than 25 degrees nor sank below 0.2 m, and its mean velocity error was at most 0.3 m/s,
        where that could be measured. Else all causes and what to do, in one line.
    """
    # Whoever fell was unsteady, too, and did not follow: those would be no causes of their own.
    causes = _failed(metrics, reported) or _faults_of_walking(metrics)
    if not causes:
        return None
    return "; ".join([*causes, *_remedy(reported, lockstep=lockstep)])


def _failed(metrics: WalkMetrics, reported: Reported) -> list[str]:
    causes = []
    if reported.left_run:
        causes.append(f"the policy node left RUN by itself ({reported.reason})")
    if metrics.falls:
        times = "once" if metrics.falls == 1 else f"{metrics.falls} times"
        causes.append(f"the robot fell {times}")
    return causes


def _faults_of_walking(metrics: WalkMetrics) -> list[str]:
    causes = []
    if metrics.max_tilt_deg > LARGEST_TILT_DEG:
        causes.append(f"the robot is unsteady: expected a tilt of at most {LARGEST_TILT_DEG:g} "
                      f"degrees on flat ground, found {metrics.max_tilt_deg:.1f}")  # fmt: skip
    if metrics.min_height_m < LOWEST_M:
        causes.append(f"the robot does not stay up: expected its body at {LOWEST_M:g} m or more, "
                      f"found {metrics.min_height_m:.2f} m")  # fmt: skip
    if metrics.mean_velocity_error_mps > LARGEST_ERROR_MPS:
        causes.append("the robot does not follow its commands: expected a mean velocity error of "
                      f"at most {LARGEST_ERROR_MPS:g} m/s, found "
                      f"{metrics.mean_velocity_error_mps:.2f} m/s")  # fmt: skip
    return causes


def _remedy(reported: Reported, *, lockstep: bool) -> list[str]:
    """Return what to do about it, nothing where the policy node's reason says it all."""
    if reported.ticks_missed and not lockstep:
        return [f"{reported.ticks_missed} ticks were missed, so this machine may be too busy for "
                "real time: try --lockstep"]  # fmt: skip
    if reported.left_run and not reported.reason.startswith(_SIGNS_OF_A_WRONG_CONTRACT):
        return []
    return [_CONTRACT]
