# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Reasons of a chunk policy and of a takeover, in words.

The native core has them by number. Its words are made here, without the modules that see images.
"""

TAKES_OVER = "a person takes over: the arm rests until the leader matches"
PERSON_DRIVES, POLICY_DRIVES = "a person drives", "the policy drives"
HANDS_BACK = "the person hands back to the policy"
WAS_HELD = "the arm was held, and rests until the leader matches again"


def slow_words(took_ms: float, passed: int) -> str:
    """Return that a chunk came after so many steps, so that none of it is left."""
    return (
        f"inference takes {took_ms:.0f} ms: when the "
        f"chunk came, {passed} steps had passed, which is all that is executed of one"
    )


def no_step_words(took_ms: float) -> str:
    """Return that a chunk has ended before the next one came."""
    return f"no step is left, and the next chunk is not there yet: inference takes {took_ms:.0f} ms"


def frozen_words(equal: int, moved_rad: float) -> str:
    """Return that so many equal images came while a joint moved so far."""
    return (
        f"expected images that change while the robot moves, found {equal} "
        f"equal ones while a joint moved by {moved_rad:.2f} rad; is the camera or "
        "its driver frozen?"
    )


def held_words(name: str, held_s: float, why: str) -> str:
    """Return that the joints of a member were held for so long, and why."""
    return f"{name}: joints held for {held_s:.1f} s: {why}"


def dropped_out_words(problem: str) -> str:
    """Return that the leader's pose is not known any more."""
    return f"the leader has dropped out: {problem}"


def frozen_leader_words(still_s: float, off_rad: float) -> str:
    """Return that a leader was still for so long, and is so far away at once."""
    return (
        f"the leader was still for {still_s:.0f} s and moved {off_rad:.2f} rad at "
        "once: was its driver frozen? The arm rests until it matches again"
    )
