# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What follows from what a draft says: questions of some contracts, and what looks odd."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from model_tools.importers.draft import Draft
from model_tools.importers.joints import unlike_pairs
from policy_inference.bundle.joint_values import per_joint
from policy_inference.bundle.terms import TERMS
from policy_inference.interfaces import F64

_POSE = ("default_position", "position_min", "position_max")
_PER_JOINT = (*_POSE, "stiffness", "damping")
_SHOWN = 3
_OF_IMU = ("quat_xyzw", "ang_vel_body", "gravity_body")


def ask_what_follows(draft: Draft) -> None:
    """Ask for the range of commands, for options of terms, and for the tilt of robots with IMU.

    A robot with an IMU may lie folded before it stands up, so `stand.via` is mentioned for it.
    """
    terms = [(path, term) for path, term in draft.terms() if isinstance(term["term"], str)]
    names = {term["term"] for _, term in terms}
    if "velocity_command" in names:
        draft.ask("velocity_command.min", "lowest vx, vy in m/s and yaw rate in rad/s in training")
        draft.ask("velocity_command.max", "highest vx, vy in m/s and yaw rate in rad/s in training")
    has_imu = any(TERMS[name].field in _OF_IMU for name in names if name in TERMS)
    safety = draft.find("safety")
    if has_imu and not (isinstance(safety, dict) and "max_tilt_rad" in safety):
        draft.ask("safety.max_tilt_rad", "largest angle between the body's up and the world's, "
                  "rad; null for a robot without IMU")
    if has_imu and not draft.find("stand.via"):
        draft.remark("stand.via is not set: standing up goes straight to stand.position. A robot "
                     "that lies folded may need less torque through other poses: --set "
                     "'stand.via=[{position: ..., duration_s: 1}]'")
    for path, term in terms:
        if term["term"] == "phase":
            draft.ask((*path, "period_s"), "period of the phase, s")
        if term["term"] == "external":
            draft.ask((*path, "topic"), "relative topic of the vector")
            draft.ask((*path, "size"), "number of values")


def note_oddities(draft: Draft) -> None:
    """Remark what looks as if the joints had another order: unlike sides, a pose beyond limits."""
    names = draft.find("joints.names")
    values = {key: found for key in _PER_JOINT if (found := _values(draft, key)) is not None}
    for key in ("default_position", "stiffness", "damping"):
        if key in values and (pairs := unlike_pairs(names, values[key].tolist())):
            draft.remark(f"left and right differ in joints.{key}: {_some(pairs)}: see that the "
                         "joints are in the policy's order")
    for joints, scale in _scales(draft):
        if pairs := unlike_pairs(joints, scale.tolist()):
            draft.remark(f"left and right differ in the scale of the action: {_some(pairs)}: see "
                         "that the joints are in the policy's order")
    if len(values.keys() & _POSE) == len(_POSE):
        pose, low, high = (values[key] for key in _POSE)
        beyond = [f"{name} {at:g}, {least:g} to {most:g}"
                  for name, at, least, most in zip(names, pose, low, high, strict=True)
                  if not least <= at <= most]
        if beyond:
            draft.remark(f"joints.default_position lies outside of the joints' limits: "
                         f"{_some(beyond)}: see that the joints are in the policy's order, and "
                         "that it is the same robot; limits are the robot's own, and stay")


def _scales(draft: Draft) -> Iterator[tuple[list[str], F64]]:
    """Yield the joints of each term of the action and their scales, where these are known."""
    terms = draft.find("action.terms")
    for i in range(len(terms) if isinstance(terms, list) else 0):
        joints = draft.find(("action", "terms", i, "joints"))
        scale = _each(draft.find(("action", "terms", i, "scale")), joints)
        if scale is not None:
            yield joints, scale


def _values(draft: Draft, key: str) -> F64 | None:
    return _each(draft.find(f"joints.{key}"), draft.find("joints.names"))


def _each(value: Any, names: Any) -> F64 | None:
    """Return a value of each name, None where that is open or wrong, which the loader says."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    try:
        return per_joint(value, names)
    except (ValueError, TypeError):
        return None


def _some(found: Sequence[str]) -> str:
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(found[:_SHOWN]) + more
