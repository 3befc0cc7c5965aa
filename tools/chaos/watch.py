# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The invariants checked during a run, which must hold whatever the seed does."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from lite3_driver import wire
from model_tools.prove.replaying.invariants import FlightWatch, LiveTick
from policy_core.bundle.set_contract import SetContract
from policy_core.control.tick import Tick
from policy_core.interfaces import F64, FAULT_MODES, Mode, OnFault
from policy_core.sets.policy import SetReport
from policy_core.words import WHY
from policy_inference.kinds.opening import OpenedPolicy
from robot_driver.interfaces import MODE_DAMP, STIFFNESS
from tools.chaos.timeline import NS_PER_S, VirtualTimeline

_HEAD, _SEQUENCE_AT = struct.Struct("<Q8xB"), 12
"""Part of a serialized JointCommand, and its offset: `sequence`, `valid_for` (skipped), `mode`."""
_ROUNDING_RAD = 1e-6
_LONGEST_SILENCE_NS = 100_000_000


CHAOS_INVARIANTS: Mapping[str, str] = {
    "nothing_raises": "No exception from its own code ends a node.",
    "sequence_rises": "Command sequence numbers increase by one.",
    "estop_is_final": "After an e-stop, only the fault command is published until `reset` is "
    "granted.",
    "frames_can_be_read": "Each datagram from a driver to its robot is a valid request or frame.",
    "control_is_kept": "A driver in control sends a frame at least every 0.1 s.",
    "answered_once": "Each request to a node gets one answer.",
    "answered_in_time": "Each answer arrives before its deadline.",
    "loads_are_in_order": "The policy in use changes exactly once for each granted `load`, between "
    "the request and its answer, and at no other time.",
    "switches_are_in_order": "A set enters a state exactly once for each granted `switch`, or as "
    "its contract says, and at no other time.",
    "runs_again": "Within 15 s after all faults have ended, the robot runs again.",
    "tilted_is_a_fault": "Motion ends when the robot tilts beyond its limit; while an "
    "input is stale, when HOLD ends.",
    "limits_not_looser": "No limit in force is looser than the contract's.",
    "velocity_in_range": "The policy receives no velocity command outside the contract's range.",
    "cores_agree": "With `--core both`, the Python and the native core give the same results, bit "
    "for bit.",
}
"""Invariants that are checked only here, by name."""


def _is_between(value: float, low: float, high: float) -> bool:
    return min(low, 0.0) <= value <= max(high, 0.0)  # a command fades to zero


class Broken(NamedTuple):
    """An invariant that did not hold.

    Attributes:
        name: Name of the invariant.
        time_s: Virtual time.
        found: Description of what was found.
    """

    name: str
    time_s: float
    found: str


class ChaosWatch:
    """Collects the results of all checks; the first broken invariant ends the run.

    Attributes:
        broken: The first broken invariant; None while all hold.
        checked: Number of checks of each invariant, by name.
    """

    def __init__(self, timeline: VirtualTimeline) -> None:
        self._timeline = timeline
        self.broken: Broken | None = None
        self.checked = Counter[str]()

    def require(self, name: str, holds: bool, found: object = "") -> None:
        self.checked[name] += 1
        if not holds and self.broken is None:
            self.broken = Broken(name, self._timeline.now_ns / NS_PER_S, str(found))
            self._timeline.note(f"BROKEN {name}: {found}")
            self._timeline.ended = True


def command_rows(data: bytes | bytearray, joints: int) -> F64:
    """Return the arrays [6, joints] of a serialized JointCommand; writable for a bytearray."""
    row = 8 * (1 + joints)  # each array is its count and its numbers
    return np.ndarray((6, joints), "<f8", data, len(data) - 6 * row + 8, (row, 8))


class HostWatch:
    """Checks the commands and ticks of one policy node process."""

    def __init__(self, watch: ChaosWatch, policy: OpenedPolicy[Any]) -> None:
        self._watch = watch
        self._joints = len(policy.bundle.contract.joints.names)
        self._sequence, self._number = -1, 0
        self._pressed = False
        self._loads, self._changes = 0, list[str]()
        """Number of loads not yet answered; bundles that came into use, except through granted
        loads.
        """
        self._follow(policy)

    def _follow(self, policy: OpenedPolicy[Any]) -> None:
        contract, state = policy.bundle.contract, policy.controller.state
        self._policy = policy
        self._fault_mode = FAULT_MODES[OnFault(contract.safety.on_fault)]
        self._switched: SetReport | None = None
        self._ran = False
        self._wanted = ""
        """State of the newest granted switch, until it is entered or abandoned."""
        self._gravity = state.slices.get("gravity_body")
        self._shown, self._range = state.slices.get("velocity_command"), contract.velocity_command
        self._least_upright = _ROUNDING_RAD - np.cos(policy.limits.max_tilt_rad or np.pi)
        safety, limits = contract.safety, policy.limits
        stated = {
            "state_timeout_ns": safety.state_timeout_s or 2.0 / contract.rate_hz,
            "damp_after_ns": safety.damp_after_s,
            "command_timeout_ns": safety.command_timeout_s,
            "command_ramp_ns": safety.command_ramp_s,
        }
        looser = [name for name, most in stated.items() if getattr(limits, name) > most * NS_PER_S]
        if limits.margin > safety.margin or limits.effort_scale > 1.0:
            looser.append("margin")
        self._watch.require("limits_not_looser", not looser, looser)
        joints = contract.joints.on_robot()
        self._flight = FlightWatch(contract, policy.limits, joints, state.slices)
        self._flight.checked = self._watch.checked
        self._number += 1  # nothing is known here about ticks before this policy

    def _see(self, policy: OpenedPolicy[Any]) -> None:
        if policy is not self._policy:
            bundle = policy.request.bundle
            self._watch.require("loads_are_in_order", self._loads > 0, f"{bundle}, unasked")
            self._changes.append(bundle)
            self._follow(policy)

    def pressed(self) -> None:
        """Note that the e-stop has reached the node."""
        self._pressed = True

    def reset(self) -> None:
        """Note that `reset` was granted."""
        self._pressed = False

    def load_asked(self, bundle: str) -> Callable[[OpenedPolicy[Any], bool], None]:
        """Note a load; return a function for its answer: policy in use, and whether granted."""
        before, self._loads = len(self._changes), self._loads + 1

        def answered(policy: OpenedPolicy[Any], granted: bool) -> None:
            self._see(policy)
            self._loads -= 1
            ours = bundle in self._changes[before:]
            if granted and ours:
                self._changes[self._changes.index(bundle, before)] = ""
            unasked = [] if self._loads else [*filter(None, self._changes)]
            found = f"{bundle}: {granted=}, {ours=}, {unasked=}"
            self._watch.require("loads_are_in_order", (ours or not granted) and not unasked, found)

        return answered

    def switch_granted(self, state: str) -> None:
        """Note that a switch was granted."""
        self._wanted = state

    def _look_at_switches(self, report: SetReport, contract: SetContract, mode: Mode) -> None:
        before, self._switched = self._switched, report
        begins, self._ran = not self._ran, mode in (Mode.RUN, Mode.HOLD)
        if before is None:
            return
        new = report.switches - before.switches
        if new == 0:
            in_order = report.state == before.state or (begins and report.state == contract.initial)
        else:
            begin, end, why = report.last
            state, granted = contract.states[begin], end == self._wanted
            stated = {
                WHY[0]: granted,
                WHY[1]: end == state.way_back,
                WHY[2]: state.ends is not None and end == state.ends.to,
                WHY[3]: end in {each.timeout_state for each in state.to.values()},
            }
            # A state that fails in its first tick is left in that same tick.
            fell_back = report.fallbacks - before.fallbacks
            in_order = (
                new <= 1 + fell_back
                and end == report.state
                and (new > 1 or begins or begin == before.state)
                and stated.get(why, fell_back > 0 and end == state.fallback)
            )
        if not report.asked:
            self._wanted = ""
        self._watch.require("switches_are_in_order", in_order, f"{before}, {report}")

    def published(self, data: bytes) -> None:
        """Check a serialized command."""
        sequence, mode = _HEAD.unpack_from(data, _SEQUENCE_AT)
        block = command_rows(data, self._joints)
        before, self._sequence = self._sequence, sequence
        self._watch.require("sequence_rises", sequence == before + 1, f"{before}, {sequence}")
        if self._pressed:
            pushes = mode == MODE_DAMP and block[1:4].any()
            is_safe = mode == self._fault_mode and not pushes
            self._watch.require("estop_is_final", is_safe, f"a command of mode {mode}")

    def ticked(self, tick: Tick, policy: OpenedPolicy[Any]) -> None:
        """Check a tick, right after its command was published."""
        self._see(policy)
        self._number += 1
        waits = tick.mode is Mode.HOLD and any(
            each.is_stale(tick.now_ns) for each in tick.inputs.values()
        )
        if tick.mode is not Mode.DAMP and not waits and self._gravity is not None:
            is_upright = tick.state.flat[self._gravity][2] <= self._least_upright
            self._watch.require("tilted_is_a_fault", is_upright, tick.mode.name)
        if self._shown is not None and self._range is not None:
            shown = tick.state.flat[self._shown]
            within = all(map(_is_between, shown, self._range.min, self._range.max))
            self._watch.require("velocity_in_range", within, shown)
        if policy.switching is not None:
            self._look_at_switches(policy.switching.report, policy.bundle.contract, tick.mode)
        for name, found in self._flight.see(LiveTick.of(self._number, tick)):
            self._watch.require(name, False, found)


class VirtualDriverWatch:
    """Checks what the driver sends to the robot; a `LinkWatch` checks its state machine."""

    def __init__(self, watch: ChaosWatch, *, holds: bool) -> None:
        """Start; `holds` is True if the robot rests with stiffness."""
        self.require, self.checked = watch.require, watch.checked
        self._holds = holds
        self._has_control = self._pressed = False
        self._sent_ns = 0

    def press(self) -> None:
        self._pressed = True

    def reset(self) -> None:
        self._pressed = False

    def sent(self, data: bytes, now_ns: int) -> None:
        """Check a datagram to the robot."""
        request = wire.read_request(data)
        if request is not None:
            if request in (wire.TAKE_CONTROL, wire.GIVE_BACK):
                self._has_control, self._sent_ns = request == wire.TAKE_CONTROL, now_ns
            return
        values = wire.read_command(data)
        self.require("frames_can_be_read", values is not None, f"{len(data)} bytes")
        if values is None:
            return
        self._sent_ns = now_ns
        self.require("nothing_sent_unasked", self._has_control, "")
        rests = self._holds or not (values[:, STIFFNESS] > 0.0).any()
        self.require("estop_is_not_followed", rests or not self._pressed, "")

    def is_alive(self, now_ns: int) -> None:
        """Check that a robot under control receives frames while the driver is not stalled."""
        if self._has_control:
            silent_ns = now_ns - self._sent_ns
            within = silent_ns <= _LONGEST_SILENCE_NS
            self.require("control_is_kept", within, f"{silent_ns / NS_PER_S:.3f} s")


class AnswerWatch:
    """Checks that each request is answered once and in time.

    Attributes:
        granted: Number of times each request was granted.
    """

    def __init__(self, watch: ChaosWatch, timeline: VirtualTimeline) -> None:
        self._watch, self._timeline = watch, timeline
        self._open = dict[int, tuple[str, str, int]]()
        self._asked = 0
        self.granted = Counter[str]()

    def asked(self, actor: str, name: str, within_s: float) -> Callable[[Any], None]:
        """Register a request that has reached an actor; return the function for its response."""
        self._asked = number = self._asked + 1
        due_ns = self._timeline.now_ns + round(within_s * NS_PER_S)
        self._open[number] = actor, name, due_ns

        def answered(response: Any) -> None:
            said = "granted" if response.success else f"refused: {response.message[:80]}"
            self._timeline.note(f"{actor}: {name}: {said}")
            self.granted[name] += response.success
            found = self._open.pop(number, None)
            self._watch.require("answered_once", found is not None, f"request {number}")

        return answered

    def forget(self, actor: str) -> None:
        """Expect no answer from a process that was killed."""
        self._open = {n: each for n, each in self._open.items() if each[0] != actor}

    def wait(self, actor: str, duration_ns: int) -> None:
        """Postpone the deadlines for a stalled process's answers by the duration of the stall."""
        self._open = {
            n: (who, name, due_ns + (duration_ns if who == actor else 0))
            for n, (who, name, due_ns) in self._open.items()
        }

    def look(self) -> None:
        late = [name for _, name, due_ns in self._open.values() if due_ns < self._timeline.now_ns]
        self._watch.require("answered_in_time", not late, ", ".join(late))
