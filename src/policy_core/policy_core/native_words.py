# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The texts of a controller, with their numbers in the native core."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import Any

from policy_core import words
from policy_core.guard.bounds import CLIPPED_TICKS_LIMIT, Rule
from policy_core.words import filled

ReasonCode = IntEnum(
    "ReasonCode",
    "TEXT STARTED RESET STANDING STANDING_UP RUNS GAP FIELDS STALE TILT MODEL_ERROR MODEL_OUTPUT "
    "POLICY_TARGET LATE CLIPPED SWITCHED FIRST_AWAITED NO_STEP_LEFT SLOW_INFERENCE NO_FRAME "
    "FRAMES_APART FROZEN_CAMERA LEADER_SILENT LEADER_BEYOND LEADER_JUMP "
    "LEADER_UNCONFIRMED LEADER_WAS_FROZEN "
    "ARM_WAS_HELD PERSON_TAKES_OVER PERSON_DRIVES PERSON_HANDS_BACK POLICY_DRIVES",
    start=0,
)
"""`Reason::Code` in guard.hpp, in the same order."""

_PLAIN = {
    ReasonCode.STARTED: words.STARTED,
    ReasonCode.RESET: words.RESET,
    ReasonCode.STANDING: words.STANDING,
    ReasonCode.STANDING_UP: words.STANDING_UP,
    ReasonCode.RUNS: words.RUNS,
    ReasonCode.MODEL_OUTPUT: words.MODEL_OUTPUT,
    ReasonCode.POLICY_TARGET: words.POLICY_TARGET,
    ReasonCode.LATE: words.LATE,
    ReasonCode.FIRST_AWAITED: words.FIRST_AWAITED,
    ReasonCode.NO_STEP_LEFT: words.NO_STEP_LEFT,
    ReasonCode.SLOW_INFERENCE: words.SLOW,
    ReasonCode.LEADER_WAS_FROZEN: words.FROZEN_LEADER,
    ReasonCode.ARM_WAS_HELD: words.WAS_HELD,
    ReasonCode.PERSON_TAKES_OVER: words.TAKES_OVER,
    ReasonCode.PERSON_DRIVES: words.PERSON_DRIVES,
    ReasonCode.PERSON_HANDS_BACK: words.HANDS_BACK,
    ReasonCode.POLICY_DRIVES: words.POLICY_DRIVES,
}
"""Texts for reasons that are the same in every controller."""

_COMMON = (
    "LATCHED RECOVERED PRESSED_TOO AGE AGE_LIMIT REFUSED_STAMPS INPUT INPUT_PROBLEM "
    "REQUEST_REFUSED LATCHED_FAULT PRESSED WRONG_MODE FAR_OFF HELD_ELSEWHERE NO_POSE "
    "FIELDS_NOT_FINITE OUTSIDE SILENT SILENT_ASKED MEMBER_LATE MEMBER_NOT_FINITE FAILED SWITCHED "
    "OF_MEMBER MEMBER_HELD DROPPED_OUT SWITCH GIVEN_UP INSTEAD SAME_STATE NO_TRANSITION "
    "SWITCH_REFUSED STILL_BLENDING CLOCK_STEP"
)
"""Names, in `words`, of the texts whose placeholders C++ fills in."""

Texts = dict[str, Any]


def native_plan(controller: Any) -> Texts:
    """Return the plan of a `Controller`, with the texts that `Words` in words.hpp needs."""
    common = {name.lower(): getattr(words, name) for name in _COMMON.split()}
    lists = {
        "why": [*words.WHY],
        "stamps": [*words.STAMPS],
        "clocks": [words.OUR_CLOCK, words.SENDERS_CLOCK],
    }
    return {
        **controller.plan(),
        "words": {**_make_texts(controller), "common": common, **lists},
    }


def _make_texts(controller: Any) -> Texts:
    """Return the texts for a controller's reasons, refusals and joint samples.

    The texts contain placeholders for the numbers in a `Reason` (a, b, c, count), and for `why`,
    `rules` and other texts to insert.
    """
    joints, limits, policy = controller.joint_check.names, controller.limits, controller.policy
    states = getattr(policy, "states", {})
    members = {**policy.members} if states else {"": policy}
    return {
        "rules": [rule.value for rule in Rule],
        "joints": [*joints],
        "fields": [*controller.state.slices],
        "members": [*members] if states else [],
        "states": [*states],
        "reasons": {
            **{str(code.value): [text] for code, text in _PLAIN.items()},
            **_numbered(
                {
                    ReasonCode.GAP: [filled(words.GAP, limit=limits.longest_gap_ns * 1e-6)],
                    ReasonCode.TILT: [filled(words.TILT, limit=limits.max_tilt_rad or 0.0)],
                    ReasonCode.CLIPPED: [filled(words.CLIPPED, limit=CLIPPED_TICKS_LIMIT)],
                    **_leader(policy, limits.state_timeout_ns),
                }
            ),
        },
        "chunks": [_numbered(_cameras(each)) for each in members.values()],
        "samples": {
            "position": _each(joints, lambda joint: filled(words.BEYOND, joint=joint, unit="rad")),
            "velocity": _each(
                joints, lambda joint: filled(words.BEYOND, joint=joint, unit="rad/s")
            ),
            "jump": _each(joints, lambda joint: filled(words.JUMP, joint=joint)),
            "unconfirmed": words.UNCONFIRMED,
        },
        "switches": {
            str(i): {
                str(j): state.checks[to].texts for j, to in enumerate(states) if to in state.checks
            }
            for i, state in enumerate(states.values())
        },
    }


def _numbered(texts: dict[ReasonCode, list[str]]) -> Texts:
    return {str(code.value): said for code, said in texts.items()}


def _each(names: Iterable[str], said: Callable[[str], str]) -> list[str]:
    return [said(name) for name in names]


def _cameras(member: Any) -> dict[ReasonCode, list[str]]:
    """Return a chunk policy's texts about its cameras, one per camera; empty for other policies."""
    chunks = getattr(member, "chunk_policy", None)
    if chunks is None:
        return {}
    cameras: Sequence[str] = [*chunks.sync.cameras]
    limit = chunks.sync.tolerance_ns * 1e-6
    return {
        ReasonCode.NO_FRAME: _each(cameras, lambda name: filled(words.NO_FRAME, camera=name)),
        ReasonCode.FRAMES_APART: _each(
            cameras, lambda name: filled(words.FRAMES_APART, camera=name, limit=limit)
        ),
        ReasonCode.FROZEN_CAMERA: _each(
            cameras, lambda name: filled(words.OF_CAMERA, camera=name, why="") + words.FROZEN_CAMERA
        ),
    }


def _leader(policy: Any, timeout_ns: int) -> dict[ReasonCode, list[str]]:
    """Return the texts about a leader arm; texts about its joints are lists, one text per joint.

    The first half of such a list applies to any implausible pose, the second half to the first
    pose, whose unit may be wrong. Empty for a policy without takeover.
    """
    if not hasattr(policy, "driver"):
        return {}
    leader = policy.leader.name
    of_joints = {
        ReasonCode.LEADER_BEYOND: filled(words.BEYOND, unit="rad"),
        ReasonCode.LEADER_JUMP: words.JUMP,
    }
    return {
        ReasonCode.LEADER_SILENT: [filled(words.LEADER_SILENT, limit=timeout_ns * 1e-6)],
        ReasonCode.LEADER_UNCONFIRMED: [
            filled(words.LEADER, leader=leader).replace(
                "{why}", words.UNCONFIRMED.replace("{needed}", "{a:.0f}")
            )
        ],
        **{
            code: [
                filled(said, leader=leader).replace("{why}", filled(text, joint=joint))
                for said in (words.LEADER, words.LEADER_IN_RAD)
                for joint in policy.joint_names
            ]
            for code, text in of_joints.items()
        },
    }
