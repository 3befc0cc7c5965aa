# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The guard's limits: the contract's, possibly tightened by the operator."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from math import inf
from typing import Any

from policy_core.bundle.body import Body
from policy_core.bundle.contract import JointContract
from policy_core.bundle.schema import entry
from policy_core.bundle.state_fields import COMMAND, MOTION_TOPICS
from policy_core.errors import PolicyError
from policy_core.interfaces import F64


def _limit(doc: str) -> Any:
    return entry(doc, default=None, exclusiveMinimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class StricterLimits:
    """Stricter limits from the operator; None keeps the contract's value."""

    max_tilt_rad: float | None = _limit(
        "maximum angle between the body's up axis and the world's, rad"
    )
    state_timeout_s: float | None = _limit("maximum age of the robot state, s")
    damp_after_s: float | None = _limit("maximum duration of HOLD, s; a longer HOLD is a fault")
    command_timeout_s: float | None = _limit(
        "age of the velocity command at which it begins to fade, s"
    )
    margin: float | None = _limit("multiple of the `nominal` values that the guard allows")
    effort_scale: float | None = _limit(
        "share of the contract's effort limits that the drives may use, in (0, 1]"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits in force. Times are in ns, angles in rad."""

    max_tilt_rad: float | None
    state_timeout_ns: int
    damp_after_ns: int
    command_timeout_ns: int
    command_ramp_ns: int
    margin: float
    effort_scale: float
    blend_ns: int

    @property
    def longest_gap_ns(self) -> int:
        """Maximum time between two ticks: after this time without data, the guard enters DAMP."""
        return self.state_timeout_ns + self.damp_after_ns


def limits_in_force(body: Body, stricter_limits: StricterLimits) -> Limits:
    """Return the contract's limits, tightened by the operator's limits.

    Raises:
        PolicyError: A value would loosen the contract's limit; the error lists every such value.
    """
    safety = body.safety
    ours = {
        "state_timeout_s": safety.state_timeout_s or 2.0 / body.rate_hz,
        "damp_after_s": safety.damp_after_s,
        "command_timeout_s": safety.command_timeout_s,
        "margin": safety.margin,
        "effort_scale": 1.0,
    }
    if safety.max_tilt_rad is not None:
        ours["max_tilt_rad"] = safety.max_tilt_rad
    problems = []
    for field in fields(StricterLimits):
        value, bound = getattr(stricter_limits, field.name), ours.get(field.name, inf)
        if value is None:
            continue
        if not 0.0 < value <= bound:
            problems.append(
                f"{field.name}: expected a value in (0, {bound}], found {value}; "
                "parameters may tighten the contract's safety, never loosen it"
            )
        ours[field.name] = value
    if problems:
        raise PolicyError(*problems)
    return Limits(
        max_tilt_rad=ours.get("max_tilt_rad"),
        state_timeout_ns=_ns(ours["state_timeout_s"]),
        damp_after_ns=_ns(ours["damp_after_s"]),
        command_timeout_ns=_ns(ours["command_timeout_s"]),
        command_ramp_ns=_ns(safety.command_ramp_s),
        margin=ours["margin"],
        effort_scale=ours["effort_scale"],
        blend_ns=_ns(safety.blend_s),
    )


def effort_limit(body: Body, limits: Limits) -> F64:
    """Return the maximum effort that the drives may use [joints], N·m."""
    joints = body.joints
    return limits.effort_scale * joints.effort_limit


def input_timeouts_ns(contract: JointContract) -> dict[str, int | None]:
    """Return the time-outs, by topic, of the inputs to which `state_timeout_s` does not apply.

    None means no time-out: a command fades out instead. External vectors may arrive at a different
    rate from the robot's state.
    """
    timeouts_ns: dict[str, int | None] = {COMMAND: None}
    for term in contract.terms:
        timeout_s = term.timeout_s
        if term.scan:
            timeout_s = term.scan.pose_timeout_s
        elif term.camera_image:
            timeout_s = term.camera_image.timeout_s
        if term.topic and term.commanded:
            timeouts_ns[term.topic] = None  # fades instead
        elif term.topic and timeout_s:
            own_ns = _ns(timeout_s)
            timeouts_ns[term.topic] = min(own_ns, timeouts_ns.get(term.topic) or own_ns)
    if contract.motion and contract.motion.live:
        own_ns = _ns(contract.motion.live.timeout_s)
        timeouts_ns |= dict.fromkeys(MOTION_TOPICS, own_ns)
    return timeouts_ns


def timeouts_in_force_ns(
    contract: JointContract, limits: Limits, inputs: Iterable[str]
) -> dict[str, int | None]:
    """Return, by input, the maximum age of the newest message, in ns; None for no limit."""
    own = input_timeouts_ns(contract)
    return {name: own.get(name, limits.state_timeout_ns) for name in inputs}


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
