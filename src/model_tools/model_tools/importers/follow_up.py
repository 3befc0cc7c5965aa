# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Questions that follow from what a draft says: what only some contracts need."""

from __future__ import annotations

from model_tools.importers.draft import Draft
from policy_inference.bundle.terms import TERMS

_OF_IMU = ("quat_xyzw", "ang_vel_body", "gravity_body")


def ask_what_follows(draft: Draft) -> None:
    """Ask for the range of commands, for options of terms, and for the tilt of robots with IMU."""
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
    for path, term in terms:
        if term["term"] == "phase":
            draft.ask((*path, "period_s"), "period of the phase, s")
        if term["term"] == "external":
            draft.ask((*path, "topic"), "relative topic of the vector")
            draft.ask((*path, "size"), "number of values")
