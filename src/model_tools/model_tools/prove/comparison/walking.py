# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Walks the simulated robot with a model and the real controller, in lockstep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import degrees, inf

from model_tools.errors import ToolError
from model_tools.prove.trial import WalkOutcome, try_case
from model_tools.simulation.robot import LITE3, SimulatedRobot, Velocity, WalkCase, steady
from policy_core.bundle.body import ClosedLoopLimits
from policy_core.bundle.bundle import JointBundle
from policy_core.errors import RobotError
from policy_core.interfaces import Backend
from policy_inference.comparison.limits import Check
from robot_sim.errors import SimError
from robot_sim.metrics import SETTLE_S
from robot_sim.trace import Trace

VELOCITIES: tuple[Velocity, ...] = ((0.8, 0, 0), (0, 0.5, 0), (0, 0, 0.8), (0, 0, 0))
"""Commands vx, vy (m/s) and yaw rate (rad/s) of a Lite3, each constant over a walk."""
DURATION_S = 20.0
AXES = ("vx", "vy", "yaw rate")
_ERROR_SHARE, _SMALLEST_ERROR = 0.25, 0.05
"""Error limit for a good walk: as a fraction of the command's largest component, and at least this
many m/s or rad/s."""
_ALTERED_SHARE = 0.001
"""Share of ticks in which the guard may change a target in a good walk; the guard's bounds are
1.5 x nominal."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Walked:
    """A walk with one command (vx, vy in m/s, yaw rate in rad/s), its results and ground truth."""

    command: Velocity
    outcome: WalkOutcome
    trace: Trace

    @property
    def standing(self) -> bool:
        return not any(self.command)


def check_walks(
    bundles: Sequence[JointBundle], duration_s: float, robot: SimulatedRobot = LITE3
) -> None:
    """Raise unless walks of this length are possible with these bundles and this robot."""
    if not SETTLE_S < duration_s < inf:
        raise ToolError(
            f"expected a finite duration longer than the {SETTLE_S:g} s in which a robot settles, "
            f"found {duration_s:g} s"
        )
    for bundle in bundles:
        try:
            robot.require(bundle.contract)
            if robot.model is not None:
                robot.world(bundle.contract)
        except SimError as error:
            raise ToolError(*error.args) from error


def walk_each(
    bundle: JointBundle,
    backend: Backend,
    duration_s: float = DURATION_S,
    robot: SimulatedRobot = LITE3,
) -> list[Walked]:
    """Return one walk for each of `VELOCITIES`, scaled to the robot."""
    check_walks([bundle], duration_s, robot)
    if bundle.clip is not None:  # the whole clip: a model may compute late frames differently
        duration_s = max(duration_s, len(bundle.clip.joint_pos) / bundle.contract.rate_hz)
    walks = []
    for command in dict.fromkeys(robot.velocity(bundle.contract, each) for each in VELOCITIES):
        name = "({:g}, {:g}, {:g})".format(*command)
        case = WalkCase(
            name=name,
            group="compare",
            schedule=steady(*command),
            duration_s=duration_s,
            limits=None,
        )
        try:
            outcome, trace = try_case(bundle, backend, case, robot=robot)
        except (SimError, RobotError) as error:
            raise ToolError(f"{bundle.path}: {error}") from error
        walks.append(Walked(command=command, outcome=outcome, trace=trace))
    return walks


def judge(
    walks: Sequence[Walked], reference: Sequence[Walked], limits: ClosedLoopLimits
) -> tuple[Check, ...]:
    """Check walks against limits and, for command tracking, against the reference.

    Survival alone is never enough, because a model that stands still also survives.
    """
    checks = [_cut_short(walks)]
    for walk, other in zip(walks, reference, strict=True):
        if (error := limits.velocity_error) is not None:
            allowed = [each + error for each in other.outcome.error]
            checks += _errors(walk, allowed)
    checks += _worst(
        walks,
        "largest tilt, degrees",
        "tilt_deg",
        None if limits.max_tilt_rad is None else degrees(limits.max_tilt_rad),
    )
    checks += _worst(
        walks, "share at the torque limit", "torque_limit_share", limits.torque_limit_share
    )
    checks += _worst(
        [walk for walk in walks if walk.standing],
        "mean |action change|, standing",
        "action_change",
        limits.standing_action_change,
    )
    return tuple(checks)


def judge_alone(walks: Sequence[Walked], bundle: JointBundle) -> tuple[Check, ...]:
    """Check walks against the criteria of a good walk, independent of the reference.

    Args:
        walks: Walks of one artifact.
        bundle: The artifact's bundle; altered ticks count only if it has a `nominal`.
    """
    checks = [_cut_short(walks)]
    for walk in walks:
        most = max(_SMALLEST_ERROR, _ERROR_SHARE * max(map(abs, walk.command)))
        checks += _errors(walk, [most] * len(AXES))
    altered = None if bundle.contract.nominal is None else _ALTERED_SHARE
    return (
        *checks,
        *_worst(walks, "share of ticks altered by the guard", "altered_share", altered),
    )


def _cut_short(walks: Sequence[Walked]) -> Check:
    short = [walk.outcome for walk in walks if not walk.outcome.survived]
    where = "; ".join(
        f"{outcome.name}: {outcome.stopped_by or f'fell after {outcome.survived_s:.1f} s'}"
        for outcome in short
    )
    return Check(what="walks cut short", value=len(short), limit=0, where=where)


def _errors(walk: Walked, limits: Sequence[float]) -> list[Check]:
    return [
        Check(what=f"error of {axis}", value=error, limit=limit, where=walk.outcome.name)
        for axis, error, limit in zip(AXES, walk.outcome.error, limits, strict=True)
    ]


def _worst(walks: Sequence[Walked], what: str, field: str, limit: float | None) -> list[Check]:
    """Return the check of a quantity's largest value; NaN (not measured) counts as the worst."""
    if limit is None:
        return []
    values = {walk.outcome.name: getattr(walk.outcome, field) for walk in walks}
    where = max(values, key=lambda name: (values[name] != values[name], values[name]))
    return [Check(what=what, value=values[where], limit=limit, where=where)]
