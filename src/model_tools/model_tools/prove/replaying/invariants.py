# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Invariants of a control path, checked on each tick of a recording.

They must hold for any policy, sensors and operator. No part of the control path runs again:
`replay` shows that the code computed what it should, and this check shows that the result is
allowed. A recording whose ticks contradict themselves (such as a target of the policy in STAND) is
refused; see `RecordedTick.contradiction`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from model_tools.prove.replaying.recording import FlightRecording, RecordedTick, find_rule
from model_tools.prove.replaying.which_bundle import (
    is_of_set,
    recorded_bundle,
    recorded_contract,
    recorded_limits,
    recorded_set,
)
from policy_core.bundle.set_contract import HostedContract
from policy_core.bundle.state_fields import IMU, JOINT_STATES, ODOMETRY
from policy_core.control.prechecks import LIMIT_SLACK_RAD
from policy_core.control.tick import Tick
from policy_core.guard.bounds import Rule, healthy_range
from policy_core.guard.limits import Limits, effort_limit
from policy_core.interfaces import F64, Kind, Mode, OnFault
from policy_inference.flight.ring import ShadowOutcome

INVARIANTS: Mapping[str, str] = {
    "no_motion_unasked": "The robot leaves DAMP only if `stand` was granted since the previous "
    "tick.",
    "run_only_from_ready": "`run` is granted only in READY.",
    "modes_in_order": "Without a request, the mode changes only from STAND to READY; from STAND, "
    "READY or RUN to HOLD; from HOLD back to the previous mode; and from any mode to DAMP.",
    "latched_until_reset": "After a latched fault, the mode stays DAMP until `reset` is granted.",
    "changes_have_reasons": "Each mode change states its reason.",
    "hold_ends": "HOLD lasts no longer than `damp_after_s`.",
    "gap_is_a_fault": "Motion ends if a tick is too late or its time is earlier than the previous "
    "tick's.",
    "stale_state_is_not_followed": "Motion ends if the robot state is older than its timeout.",
    "state_is_finite": "Motion ends if positions or velocities are not finite.",
    "command_is_finite": "Each value of a command is finite.",
    "fault_command": "In DAMP, the command is the one that `on_fault` defines: its gains, zero "
    "velocity, zero effort.",
    "position_in_limits": "Outside DAMP, the commanded position of a joint with stiffness is "
    "within its limits; in STAND it may exceed them by up to 0.1 rad.",
    "effort_in_limits": "The effort limit in a command does not exceed the limit in force.",
    "gains_not_negative": "No stiffness or damping is negative.",
    "hold_repeats": "HOLD repeats the last command sent before HOLD began.",
    "step_in_bounds": "If a joint's steps are limited, its commanded position changes no more per "
    "tick than its velocity limit allows.",
    "target_in_limits": "The policy's target is within the joint's position, velocity or effort "
    "limits.",
    "target_step_in_bounds": "The policy's target moves no further per tick than the largest step "
    "in a healthy run, times the margin.",
    "blend_grows": "The policy's share of the command is between 0 and 1, and never decreases "
    "during a run.",
    "time_goes_on": "Neither ticks nor stamps go back in time.",
}
"""Statements about a control path, by name."""
RECORDER_INVARIANTS: Mapping[str, str] = {
    "numbers_rise": "Recorded tick numbers increase and never repeat.",
    "shadow_answers_once": "A shadow produces at most one result per tick, in tick order.",
    "shadow_compares_numbers": "Both targets in a comparison are finite.",
}
"""Statements about a recording, by name."""
_LATCHING = {
    Rule.ESTOP,
    Rule.NOT_FINITE,
    Rule.HELD_TOO_LONG,
    Rule.ATTITUDE,
    Rule.CLOCK,
    Rule.INTERNAL,
    Rule.CLIPPED_TOO_LONG,
    Rule.TRIAL,
}
_MOTIONS = (Mode.STAND, Mode.READY, Mode.RUN)
_AFTER = {
    Mode.DAMP: {Mode.DAMP},
    Mode.STAND: {Mode.STAND, Mode.READY},
    Mode.READY: {Mode.READY},
    Mode.RUN: {Mode.RUN},
}
"""Possible modes of the next tick, other than HOLD and DAMP, by mode."""
_REQUESTED = {"stand": Mode.STAND, "run": Mode.RUN, "damp": Mode.DAMP, "reset": Mode.DAMP}
_SENSORS = (JOINT_STATES.name, IMU.name, ODOMETRY.name)
_ROUNDING_NS, _ROUNDING = 1_000, 1e-9
"""Tolerances, since ages are recorded in seconds and sums of doubles are rounded."""


class Violation(NamedTuple):
    """A violated invariant.

    Attributes:
        name: Name of the invariant.
        tick: Number of the tick.
        time_s: Time since the first tick.
        found: Description of the violation.
    """

    name: str
    tick: int
    time_s: float
    found: str


@dataclass(slots=True, kw_only=True)
class CheckedFlight:
    """Result of checking a recording; true if all invariants hold.

    Attributes:
        recording: The checked recording.
        ticks: Number of checked ticks.
        checked: Number of checks of each invariant, by name.
        violations: First violation of each invariant.
        counts: Number of violations of each invariant.
    """

    recording: FlightRecording
    ticks: int = 0
    checked: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def __bool__(self) -> bool:
        """Return whether no invariant was violated."""
        return not self.counts


def check_flight(path: Path) -> CheckedFlight:
    """Check all invariants on a recording of the flight recorder.

    Args:
        path: Folder or file of the recording.

    Raises:
        ToolError: The path is not a flight recording, or the set that ran is not available.
    """
    recording = FlightRecording(path)
    if is_of_set(recording):
        contract = recorded_set(recording, recorded_bundle(recording))
    else:
        contract = recorded_contract(recording)
    info = recording.info
    watch = FlightWatch(contract, recorded_limits(recording), info.joints, info.fields)
    found = CheckedFlight(recording=recording, checked=watch.checked)
    shadow = _ShadowWatch(recording, watch.checked)
    began_ns = None
    for tick in recording.ticks():
        began_ns = tick.time_ns if began_ns is None else began_ns
        found.ticks += 1
        for name, what in chain(watch.see(tick), shadow.see(tick)):
            if not found.counts[name]:
                time_s = (tick.time_ns - began_ns) * 1e-9
                found.violations.append(Violation(name, tick.number, time_s, what))
            found.counts[name] += 1
    return found


class _ShadowWatch:
    """Checks a shadow's answers to ticks."""

    def __init__(self, recording: FlightRecording, checked: Counter[str]) -> None:
        self._answers, self._checked = recording.shadow_answers(), checked
        self._next, self._seen = next(self._answers, None), -1

    def see(self, tick: RecordedTick) -> Iterator[tuple[str, str]]:
        """Yield the violations in answers that arrived by the end of a tick."""
        while self._next is not None and self._next.tick <= tick.number:
            answer, self._next = self._next, next(self._answers, None)
            self._checked["shadow_answers_once"] += 1
            if answer.tick <= self._seen:
                yield "shadow_answers_once", f"{answer.tick} after {self._seen}"
            self._seen = answer.tick
            targets = [each for each in (answer.target, answer.active_target) if each is not None]
            if answer.outcome is ShadowOutcome.COMPARED:
                self._checked["shadow_compares_numbers"] += 1
                if len(targets) != 2 or not all(np.isfinite(each).all() for each in targets):
                    yield "shadow_compares_numbers", f"{targets}"


class LiveTick(NamedTuple):
    """The data of a live tick that `FlightWatch` reads; fields as in `RecordedTick`."""

    number: int
    time_ns: int
    mode: Mode
    reason: str
    ages_ns: Mapping[str, int | None]
    state: F64
    target: F64 | None
    blend: float
    requests: Sequence[tuple[str, int]]
    command: F64 | None
    command_mode: Mode | None

    @staticmethod
    def of(number: int, tick: Tick) -> LiveTick:
        """Copy the parts of a tick that `FlightWatch` reads."""
        targets = tick.targets
        return LiveTick(
            number=number,
            time_ns=tick.now_ns,
            mode=tick.mode,
            reason=tick.reason,
            ages_ns={name: entry.age_ns(tick.now_ns) for name, entry in tick.inputs.items()},
            state=tick.state.flat,
            target=tick.target.copy() if tick.taken else None,
            blend=tick.blend,
            requests=tick.granted,
            command=None if targets is None else targets.block.copy(),
            command_mode=None if targets is None else targets.mode,
        )

    @property
    def stamp_ns(self) -> int:
        """Time of the tick, on the clock that drives the ticks."""
        return self.time_ns

    @property
    def rule(self) -> Rule | None:
        """The guard rule that the reason names."""
        return find_rule(self.reason)


_Tick = RecordedTick | LiveTick


class FlightWatch:
    """Checks the invariants of a control path, given its ticks in order.

    Attributes:
        checked: Number of checks of each invariant, by name.
    """

    def __init__(
        self,
        contract: HostedContract,
        limits: Limits,
        joint_names: Sequence[str],
        fields: Mapping[str, slice],
    ) -> None:
        """Convert the contract's bounds to the order of `joint_names`.

        Args:
            contract: Contract of the policy or set that runs.
            limits: Limits in force.
            joint_names: Joint names, in the order of targets and commands.
            fields: Slice of each field in `RecordedTick.state`.
        """
        names = contract.joints.on_robot()
        order = [names.index(name) for name in joint_names]
        joints, stand = contract.joints, contract.stand
        self._names, self._limits, self._fields = joint_names, limits, fields
        self._low, self._high = joints.position_min[order], joints.position_max[order]
        self._effort = effort_limit(contract, limits)[order]
        self._on_fault = OnFault(contract.safety.on_fault)
        holds = self._on_fault is OnFault.HOLD_MEASURED
        gains = np.zeros((2, len(names)))
        if self._on_fault is OnFault.DAMP:
            gains[1] = contract.damp.damping
        elif holds:
            gains[:] = stand.stiffness, stand.damping
        self._safe_gains = gains[:, order]
        bounded = (contract.step_bounded | holds)[order]
        stride = joints.velocity_limit[order] / contract.rate_hz
        self._stride = np.where(bounded, stride, np.inf)
        self._free_in_run = ~contract.step_bounded[order]
        kinds = [contract.command_kinds.get(name, Kind.POSITION) for name in joints.names]
        largest = {Kind.VELOCITY: joints.velocity_limit, Kind.EFFORT: joints.effort_limit}
        self._least, self._most = self._low.copy(), self._high.copy()
        for at, joint in enumerate(order):
            if kinds[joint] is not Kind.POSITION:
                self._most[at] = largest[kinds[joint]][joint]
                self._least[at] = -self._most[at]
        self._step = healthy_range(contract)[1][order] * limits.margin
        self._before: _Tick | None = None
        self._held: Mode | None = None
        self._hold_began_ns, self._latched = 0, False
        self.checked: Counter[str] = Counter()

    def see(self, tick: _Tick) -> Iterator[tuple[str, str]]:
        """Yield the name and description of each violation in this tick."""
        before = self._before
        self.checked["numbers_rise"] += 1
        if before is not None and tick.number <= before.number:
            yield "numbers_rise", f"{tick.number} after {before.number}"
        if before is None or tick.number != before.number + 1:
            # Earlier ticks are unknown; a HOLD began in this tick at the latest.
            before, self._latched, self._held = None, False, None
            self._hold_began_ns = tick.time_ns
        for look in (self._modes, self._command, self._target):
            for name, holds, what in look(tick, before):
                self.checked[name] += 1
                if not holds:
                    yield name, what
        self._before = tick

    def _modes(self, tick: _Tick, before: _Tick | None) -> Iterator[tuple[str, bool, str]]:
        mode = tick.mode
        if before is not None:
            yield from self._changes(tick, before)
        if mode is Mode.HOLD:
            held_ns = tick.time_ns - self._hold_began_ns
            yield "hold_ends", held_ns <= self._limits.damp_after_ns, f"{held_ns * 1e-9:.3f} s"
        if mode in _MOTIONS:
            ages = {name: tick.ages_ns.get(name, 0) for name in _SENSORS}
            limit_ns = self._limits.state_timeout_ns + _ROUNDING_NS
            old = [name for name, age in ages.items() if age is None or age > limit_ns]
            yield "stale_state_is_not_followed", not old, ", ".join(old)
            for name in {"joint_pos", "joint_vel"} & self._fields.keys():
                values = tick.state[self._fields[name]]
                yield "state_is_finite", bool(np.isfinite(values).all()), name

    def _changes(self, tick: _Tick, before: _Tick) -> Iterator[tuple[str, bool, str]]:
        asked, granted = before.mode, [name for name, _ in tick.requests]
        for name in granted:
            if name == "run":
                yield "run_only_from_ready", asked is Mode.READY, f"in {asked.name}"
            asked = _REQUESTED.get(name, asked)
        if "reset" in granted:
            self._latched = False
        mode = tick.mode
        if before.mode is Mode.DAMP and mode is not Mode.DAMP:
            yield "no_motion_unasked", "stand" in granted, mode.name
        if self._latched:
            yield "latched_until_reset", mode is Mode.DAMP, mode.name
        start = self._held if asked is Mode.HOLD else asked
        if mode is Mode.HOLD and asked is not Mode.HOLD:
            self._held, self._hold_began_ns = asked, tick.time_ns
        if start is not None:
            allowed = _AFTER[start] | {Mode.DAMP}
            if start is not Mode.DAMP:
                allowed = allowed | {Mode.HOLD}
            yield "modes_in_order", mode in allowed, f"from {start.name} to {mode.name}"
        if mode is not before.mode:
            yield "changes_have_reasons", bool(tick.reason), f"{mode.name} without one"
        gap_ns = tick.time_ns - before.time_ns
        if asked is not Mode.DAMP and not 0 <= gap_ns <= self._limits.longest_gap_ns:
            yield "gap_is_a_fault", mode is Mode.DAMP, f"{gap_ns * 1e-9:.3f} s, {mode.name}"
        # A simulator that has received no answer repeats its time.
        goes_on = gap_ns >= 0 and tick.stamp_ns >= before.stamp_ns
        yield "time_goes_on", goes_on or tick.rule is Rule.CLOCK, f"{gap_ns * 1e-9:.6f} s"
        if mode is Mode.DAMP and tick.rule in _LATCHING:
            self._latched = True
        if Mode.RUN in (before.mode, mode) and before.target is not None is not tick.target:
            grows = tick.blend >= before.blend or "run" in granted
            yield "blend_grows", grows, f"{before.blend} to {tick.blend}"

    def _command(self, tick: _Tick, before: _Tick | None) -> Iterator[tuple[str, bool, str]]:
        command, mode = tick.command, tick.command_mode
        if command is None or mode is None:
            return
        position, velocity, effort, stiffness, _, limit = command
        yield "command_is_finite", bool(np.isfinite(command).all()), "NaN or infinity"
        excess = limit - self._effort
        within = bool((excess <= _ROUNDING).all())  # the policy's limit is blended in
        yield "effort_in_limits", within, "" if within else self._worst(excess, limit)
        gains = command[3:5]
        yield "gains_not_negative", gains.min() >= 0.0, "a gain below 0"
        if mode is Mode.DAMP:
            same = np.array_equal(gains, self._safe_gains) and not (velocity.any() or effort.any())
            yield "fault_command", same, f"not that of {self._on_fault.value}"
        else:
            excess = np.maximum(position - self._high, self._low - position)
            held = self._held or Mode.STAND if mode is Mode.HOLD else mode
            slack = LIMIT_SLACK_RAD if held is Mode.STAND else 0.0
            outside = (excess > slack + _ROUNDING) & (stiffness > 0.0)
            inside = not outside.any()
            yield "position_in_limits", inside, "" if inside else self._worst(excess, position)
        last = None if before is None else before.command
        if last is None or before is None or before.command_mode is None:
            return
        if mode is Mode.HOLD and before.mode is not Mode.DAMP and tick.mode is Mode.HOLD:
            yield "hold_repeats", np.array_equal(command, last), "another command"
        steps = np.abs(position - last[0])
        stride = np.where(last[3] > 0.0, self._stride, np.inf)
        if before.command_mode in (Mode.RUN, Mode.HOLD):
            stride = np.where(self._free_in_run, np.inf, stride)
        if np.isfinite(stride).any():
            within = bool((steps <= stride + _ROUNDING).all())
            yield "step_in_bounds", within, "" if within else self._worst(steps - stride, steps)

    def _target(self, tick: _Tick, before: _Tick | None) -> Iterator[tuple[str, bool, str]]:
        target = tick.target
        if target is None or tick.rule is Rule.NOT_FINITE:
            return
        yield "blend_grows", 0.0 <= tick.blend <= 1.0, f"{tick.blend}"
        excess = np.maximum(target - self._most, self._least - target)
        inside = bool((excess <= _ROUNDING).all())
        yield "target_in_limits", inside, "" if inside else self._worst(excess, target)
        if before is not None and before.target is not None:
            step = np.abs(target - before.target)
            within = bool((step <= self._step + _ROUNDING).all())
            yield (
                "target_step_in_bounds",
                within,
                "" if within else self._worst(step - self._step, step),
            )

    def _worst(self, excess: F64, values: F64) -> str:
        place = int(np.argmax(excess))
        return f"{self._names[place]}: {values[place]:.6g}"
