# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Messages of the control path, with placeholders for names and numbers.

Python fills in the placeholders with `str.format`. The native core identifies a message by a
number: the plan contains the texts with the known values filled in (`filled`), and C++ fills in the
rest.
"""

from __future__ import annotations

from string import Formatter

STARTED, RESET = "started", "reset"
STANDING, STANDING_UP, RUNS = "standing", "standing up", "the policy runs"
MODEL_OUTPUT, POLICY_TARGET = "model output", "policy target"
FIRST_AWAITED = "waiting for the first chunk"
"""Reason for a HOLD at the start of RUN; not a problem."""
DAMP_ASKED = "requested"
GAP = "{a:.0f} ms since the last tick, limit {limit:.0f} ms"
LATE = "{a:.1f} ms late"
CLIPPED = "{limit} ticks in a row ({rules})"
TILT = "tilt {a:.2f} rad, limit {limit:.2f} rad"
LATCHED = "{rule}: {why}"
RECOVERED = "recovered from: {why}"
PRESSED_TOO = "{why}; estop: {estop}"

# Joint samples.
BEYOND = "{joint} at {a:.3g} {unit}, expected within [{b:.3g}, {c:.3g}]"
UNCONFIRMED = "{count} of {needed} consistent samples so far"
JUMP = "{joint} jumped from {b:.3g} to {a:.3g} rad, faster than it can move"

# Inputs.
OUR_CLOCK, SENDERS_CLOCK = "our clock", "the sender's clock"
CLOCK_STEP = "{whose} jumped by {a:+.0f} ms; ages are not affected"
NO_MESSAGE, AGE = "no message", "{a:.0f} ms old"
NO_ESTIMATE = "no message, expected the estimated velocity; start velocity_estimator_node"
NO_VELOCITY = (
    "no message, expected the velocity that the robot measures; if it measures none, import the "
    "policy again with --estimator (docs/estimation.md)"
)
AGE_LIMIT = "{age}, limit {limit:.0f} ms"
STAMPS = ("", "repeat", "run backward")
REFUSED_STAMPS = "{count} newer messages were ignored: their stamps {stamps}"
INPUT, INPUT_PROBLEM = "{name}: {age}", "{name}: {age} ({problems})"

# Refused requests.
REQUEST_REFUSED = "{wanted} refused: {problems}"
LATCHED_FAULT = "latched fault ({why}); request reset first"
PRESSED = "e-stop ({why}); request reset first"
WRONG_MODE = "the mode is {mode}, expected READY; request stand first"
FAR_OFF = "too far from the stand pose: {joints}"
BAD_SHARE = "expected a share from 0 to 1, found {found}"
MAY_NOT_DISABLE = "a robot with on_fault: hold_measured falls without stiffness; use FREEZE"
NO_SUCH_JOINT = "joints: expected names or patterns that match {names}; found {found}"
NOTHING_TO_FREEZE = "FREEZE: nothing is commanded in DAMP; request stand first"
HELD_ELSEWHERE = (
    "{joint} is measured at {a:.2f} rad but held at {b:.2f} rad; request damp to hold the "
    "measured pose"
)
NO_POSE = "nothing is commanded, and there is no pose to hold: {problems}"
FIELDS_NOT_FINITE = "not finite: {fields}"
OUTSIDE = "outside their position limits: {joints}"
SILENT, SILENT_ASKED = (
    "no command is sent until damp or stand is requested",
    "no command is sent until the joints' pose is trusted",
)

# Sets.
MEMBER_LATE, MEMBER_NOT_FINITE = (
    "inference came too late",
    "a model output is not finite",
)
"""Reasons why a member has failed."""
WHY = ("requested", "on the way back to standing", "the state has ended", "waited too long")
"""A set's reasons for a switch when nothing has failed."""
FAILED = "{state} failed: {why}"
SWITCHED = "{begin} -> {end}: {why}"
OF_MEMBER = "{member}: {why}"
SWITCH = "switch to {to}: {problems}"
GIVEN_UP = "{refusal}; {state} continues"
INSTEAD = "switch to {to}: {other} was requested instead"
SAME_STATE = "switch refused: the state is already {to}"
NO_TRANSITION = "switch refused: expected a state that {state} leads to ({known}), found {found}"
SWITCH_REFUSED = "switch to {to} refused: {problems}"
STILL_BLENDING = "the switch to {state} has not ended"
TOO_SOON = "{ticks} ticks in the state, at least {needed} needed"
OFF_POSE = "{joint} is {a:.2f} rad from {pose}, limit {limit:.2f} rad"
FIRST_TARGET = "the first target"
TOO_FAST = "{joint} moves at {a:.2f} rad/s, limit {limit:.2f} rad/s"
TOO_TILTED = "tilt {a:.2f} rad, limit {limit:g} rad"
TURNS_TOO_FAST = "body angular velocity {a:.2f} rad/s, limit {limit:g} rad/s"
COMMANDED = "commanded {axis} {a:.2f}, limit {limit:g}"
AXES = ("vx", "vy", "yaw rate")
OUT_OF_PHASE = "gait phase {a:.2f}, expected {begin:g} to {end:g}"

# Chunk policies and takeovers.
NO_STEP_LEFT = "no step is left, and the next chunk has not arrived: inference takes {a:.0f} ms"
SLOW = (
    "inference takes {a:.0f} ms: when the chunk arrived, all {count} steps to execute were already "
    "in the past"
)
OF_CAMERA = "{camera}: {why}"
NO_FRAME = "{camera}: no frame"
FRAMES_APART = (
    "{camera}: its frame closest in time to the other cameras' is {a:.0f} ms away, expected at "
    "most {limit:.0f} ms (pairing.tolerance_s)"
)
FROZEN_CAMERA = (
    "expected images that change while the robot moves, found {count} identical ones while a joint "
    "moved by {a:.2f} rad; is the camera or its driver frozen?"
)
MEMBER_HELD = "{member}: joints held for {held_s:.1f} s: {why}"
LEADER_SILENT = "{input}, limit {limit:.0f} ms"
LEADER, LEADER_IN_RAD = "{leader}: {why}", "{leader}: {why}; is it in rad?"
DROPPED_OUT = "the leader has dropped out: {why}"
FROZEN_LEADER = (
    "the leader was still for {a:.0f} s, then suddenly moved {b:.2f} rad: was its driver frozen? "
    "The arm rests until it matches again"
)
TAKES_OVER = "a person is taking over: the arm rests until the leader matches"
PERSON_DRIVES, POLICY_DRIVES = "a person is driving", "the policy is driving"
HANDS_BACK = "the person is handing control back to the policy"
WAS_HELD = "the arm was held, and rests until the leader matches again"


def filled(text: str, **known: object) -> str:
    """Return a text with the `known` placeholders filled in and all others kept."""
    parts = list[str]()
    for literal, name, form, _ in Formatter().parse(text):
        parts.append(_escaped(literal))
        if name in known:
            parts.append(_escaped(format(known[name], form or "")))
        elif name is not None:
            parts.append(f"{{{name}:{form}}}" if form else f"{{{name}}}")
    return "".join(parts)


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
