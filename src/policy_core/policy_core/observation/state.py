# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Robot state as one vector with named fields: a single gather operation reads an observation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from policy_core.bundle.contract import JointContract, Term
from policy_core.bundle.state_fields import STATE_FIELDS, is_per_joint
from policy_core.bundle.terms import TERMS, is_of_anchor, is_of_motion, term_names, term_places
from policy_core.control_state import Stateful, Tree
from policy_core.interfaces import F64, Index

if TYPE_CHECKING:  # not needed by a policy without a reference motion
    from policy_core.bundle.clip import MotionClip
    from policy_core.observation.clip_player import ClipPlayer, LivePlayer


def phase_name(term: Term) -> str:
    """Return the name of a phase's state field; terms with equal settings share it."""
    name = f"phase:{term.period_s}"
    if term.offsets not in (None, (0.0,)):
        name += f",offsets={term.offsets}"
    if term.standing is not None:
        stand = term.standing
        name += f",standing={stand.below, stand.phase, stand.clock}"
    return name


class Phase(Stateful):
    """A gait phase; writes sin for all feet, then cos for all feet, to its state field.

    The robot stands in each tick in which the command's norm is below the `standing` threshold.
    Published policies were trained with different phases when standing: sin and cos set to 0, with
    the clock running (Unitree's G1 and Go2 in mjlab) or stopped (Booster); pi for both feet, with
    the clock running (MuJoCo Playground) or restarting (Holosoma); or an unchanged phase
    (unitree_rl_gym).

    Attributes:
        is_commanded: True if the phase depends on the velocity command.
    """

    STATE = ("_tick",)
    PLAN = ("_rate", "_period_s", "_offsets")

    def __init__(self, term: Term, out: F64, rate_hz: float, command: F64 | None) -> None:
        """Start counting at 0.

        Args:
            term: A valid `phase` term.
            out: State field [2 x feet] to write to.
            rate_hz: Ticks per second.
            command: Velocity command [3], read if the term has `standing`.
        """
        assert term.period_s is not None
        self._rate, self._period_s = 2.0 * math.pi / term.period_s, 1.0 / rate_hz
        self._offsets = [2.0 * math.pi * offset for offset in term.offsets or (0.0,)]
        self._out, self._command, self._standing = out, command, term.standing
        self.is_commanded = term.standing is not None
        self.restart()

    def plan(self) -> dict[str, Any]:
        """Return the configuration for the native core: rate in rad/s, offsets, standing."""
        standing = self._standing
        if standing is None:
            return super().plan()
        phase = standing.phase
        return {
            **super().plan(),
            "standing": {
                "below": standing.below,
                "clock": standing.clock,
                "zero": phase == "zero",
                "angle": None if phase in (None, "zero") else 2.0 * math.pi * float(phase),
            },
        }

    def restart(self) -> None:
        """Set the clock to 0, as at the start of RUN."""
        self._tick = 0
        self.write()

    def advance(self) -> None:
        """Advance the clock by one tick, unless it stops or restarts because the robot stands."""
        clock = self._standing.clock if self._standing and self._stands() else "runs"
        if clock == "runs":
            self._tick += 1
        elif clock == "restarts":
            self._tick = 0
        self.write()

    def write(self) -> None:
        """Write this tick's phase for the current command."""
        phase = self._standing.phase if self._standing and self._stands() else None
        if phase == "zero":
            self._out[:] = 0.0
            return
        feet, now = len(self._offsets), self._rate * self._tick * self._period_s
        for foot, offset in enumerate(self._offsets):
            angle = now + offset if phase is None else 2.0 * math.pi * float(phase)
            self._out[foot], self._out[feet + foot] = math.sin(angle), math.cos(angle)

    def _stands(self) -> bool:
        assert self._standing is not None
        assert self._command is not None
        return length(self._command) < self._standing.below


LAST_OUTPUT = "last_output:"
"""Prefix of a model output's state field; the output name follows."""
EXTERNAL = "external:"
"""Prefix of an external vector's state field; the topic follows."""
_CLOCKS = "clocks"


def field_name(term: Term) -> str:
    """Return the name of the state field that a term reads, such as ``external:height_scan``."""
    field = TERMS[term.term].field
    if field == "external":
        return f"{EXTERNAL}{term.topic}"
    if field == "last_output":
        return f"{LAST_OUTPUT}{term.output}"
    if term.ahead:
        return f"{field}+{term.ahead}"
    return phase_name(term) if field == "phase" else field


class StateVector(Stateful):
    """The newest values of named fields, as float64 in a single array `flat`.

    Fields are NaN until first written, so that a missing input never looks like zero.

    Attributes:
        perceived: Contract label by perception topic; see `perceived_label`.
    """

    def __init__(
        self, sizes: Mapping[str, int], perceived: Mapping[str, str] | None = None
    ) -> None:
        """Lay out the fields in the order of `sizes`, which gives each field's size by name."""
        self.perceived = perceived or {}
        self.flat: F64 = np.full(sum(sizes.values()), np.nan)
        ends = np.cumsum(list(sizes.values())).tolist()
        self.slices = {
            name: slice(end - sizes[name], end) for name, end in zip(sizes, ends, strict=True)
        }

    def __getitem__(self, field: str) -> F64:
        """Return a writable view of a field [size]."""
        return self.flat[self.slices[field]]

    def get(self, field: str) -> F64 | None:
        """Return a writable view of a field [size]; None if the contract does not need it."""
        return self[field] if field in self.slices else None

    @property
    def inputs(self) -> tuple[str, ...]:
        """Topics whose messages fill the fields."""
        return tuple(dict.fromkeys(filter(None, map(_find_topic, self.slices))))

    @property
    def sensed(self) -> tuple[str, ...]:
        """Names of the fields that messages fill, or that `derive` computes from such fields."""
        return tuple(filter(_find_topic, self.slices))

    def derive(self) -> None:
        """Compute the fields that are derived from other fields; this class has none."""

    def saved(self) -> dict[str, Any]:
        """Return a copy of each field."""
        return {name: self[name].copy() for name in self.slices}

    def restore(self, saved: Tree) -> None:
        """Restore each field from a saved state with the same fields."""
        for name in self.slices:
            self[name][...] = saved[name]

    def plan(self) -> dict[str, Any]:
        """Return the configuration for the native core: the fields and their sizes."""
        return {
            "names": [*self.slices],
            "sizes": [each.stop - each.start for each in self.slices.values()],
            "is_own": False,
        }

    def take_sensed(self, saved: Tree) -> list[str]:
        """Copy the measurements from a saved state; return the names of missing fields."""
        unknown = []
        for name, mine in ((name, self[name]) for name in self.sensed):
            theirs = saved.get(name)
            if theirs is None or theirs.size != mine.size:
                unknown.append(name)
            else:
                mine[:] = theirs
        return unknown

    def is_finite(self) -> bool:
        """Return True if every field is finite; a dot product is faster than np.isfinite."""
        return math.isfinite(self.flat.dot(self.flat))

    def not_finite(self) -> list[str]:
        """Return the names of the fields that hold NaN or infinite values."""
        return [name for name in self.slices if not math.isfinite(self[name].dot(self[name]))]


class RobotState(StateVector):
    """The state that a joint policy's contract needs: measurements and the policy's own fields.

    Per-joint fields are in contract order; `quat_xyzw` rotates body to world; fields that end in
    `_body` are in the body frame; all units are SI.
    """

    def __init__(self, contract: JointContract, *, orientation: bool = False) -> None:
        """Lay out the fields that the contract's terms need.

        Args:
            contract: The contract.
            orientation: True to include the orientation, even if no term needs it, for the guard.
        """
        super().__init__(dict(_needed(contract, orientation)), contract.perceived)
        command = self.get("velocity_command")
        self.phases = {
            name: Phase(term, self[name], contract.rate_hz, command)
            for term in contract.terms
            if (name := field_name(term)).startswith("phase:")
        }
        """The phases, by state field."""
        self.last_outputs = {
            name.removeprefix(LAST_OUTPUT): self[name]
            for name in self.slices
            if name.startswith(LAST_OUTPUT)
        }
        """Fields that hold a model output, by output name."""
        self.motions = {field_name(term): term for term in contract.terms if is_of_motion(term)}
        """Terms that read the reference motion, by state field."""
        self._joint_names, self._reference = contract.joints.names, contract.motion
        self.motion: ClipPlayer | None = None
        """Player of the clip; None if there is no clip."""
        self._go_by()
        if contract.motion and contract.motion.live:
            from policy_core.observation.clip_player import LivePlayer

            self._go_by(LivePlayer(contract.motion, *self._for_player()))
        self._orientation = "gravity_body" in self.slices
        if self._orientation:
            self._quat, self._gravity = self["quat_xyzw"], self["gravity_body"]
        self._tick = self.get("tick")
        if command is not None:
            command[:] = 0.0
        self.restart()

    def play(self, clip: MotionClip) -> None:
        """Play the clip of the contract's reference motion from its first frame."""
        from policy_core.observation.clip_player import ClipPlayer

        assert self._reference is not None
        self.motion = ClipPlayer(clip, self._reference, *self._for_player())
        self._go_by(self.motion)

    def _for_player(
        self,
    ) -> tuple[Sequence[str], Mapping[str, F64], Mapping[tuple[str, int], F64]]:
        """Return the arguments for a player: joint names, fields to read, and fields to write."""
        outputs = {
            (TERMS[term.term].field, term.ahead or 0): self[name]
            for name, term in self.motions.items()
        }
        return self._joint_names, {name: self[name] for name in self.slices}, outputs

    def _go_by(self, *players: ClipPlayer | LivePlayer) -> None:
        """Make the phases and the player of the reference motion advance with the ticks."""
        phases = self.phases.values()
        self._clocks: list[Phase | ClipPlayer | LivePlayer] = [*phases, *players]
        commanded = [phase for phase in phases if phase.is_commanded]
        self._derived: list[Phase | ClipPlayer | LivePlayer] = [*commanded, *players]

    def restart(self) -> None:
        """Reset the policy's own fields for a new run: last action and outputs, clocks, tick."""
        self["last_action"][:] = 0.0
        for output in self.last_outputs.values():
            output[:] = 0.0
        if self._tick is not None:
            self._tick[0] = 0.0
        for clock in self._clocks:
            clock.restart()

    def advance(self) -> None:
        """Advance the tick number, the phases and the reference motion by one tick."""
        if self._tick is not None:
            self._tick[0] += 1.0
        for clock in self._clocks:
            clock.advance()

    def derive(self) -> None:
        """Compute the fields that are derived from other fields."""
        if self._orientation:
            gravity_body(self._quat, self._gravity)
        self.derive_own()

    def derive_own(self) -> None:
        """Compute the derived fields that `SensedCopy` does not copy: phases, reference motion."""
        for part in self._derived:
            part.write()

    def saved(self) -> dict[str, Any]:
        """Return a copy of each field and of the clocks."""
        clocks = tuple(clock.saved() for clock in self._clocks)
        return {**super().saved(), _CLOCKS: clocks}

    def restore(self, saved: Tree) -> None:
        """Restore a saved state with the same fields and clocks."""
        super().restore(saved)
        for clock, own in zip(self._clocks, saved[_CLOCKS], strict=True):
            clock.restore(own)

    def plan(self) -> dict[str, Any]:
        """Return the configuration for the native core: fields, phases, reference motion."""
        phases = [{"field": name, **phase.plan()} for name, phase in self.phases.items()]
        plan = {**super().plan(), "is_own": True, "phases": phases}
        for player in self._clocks[len(phases) :]:
            plan["motion"] = {**player.plan(), **self._planned_outputs()}
        return plan

    def _planned_outputs(self) -> dict[str, Any]:
        """Return the fields that the motion's player reads and writes, for the native core."""
        outputs = dict[str, Any](joints=[], anchors=[])
        for name, term in self.motions.items():
            field = TERMS[term.term].field
            newest = field.replace("motion_", "live_")
            outputs["anchors" if is_of_anchor(term) else "joints"].append(
                {
                    "field": name,
                    "ahead": term.ahead or 0,
                    "is_position": field in ("motion_joint_pos", "motion_anchor_pos"),
                    "newest": newest if newest in self.slices and not is_of_anchor(term) else None,
                }
            )
        return outputs

    @property
    def keeps_time(self) -> bool:
        """True if `advance` has any effect."""
        return self._tick is not None or bool(self._clocks)


class SensedCopy:
    """Copies measurements from one state to another, without allocating."""

    def __init__(self, source: StateVector, into: StateVector, places: Index) -> None:
        """Resolve names to indices.

        Args:
            source: State that has all measured fields of `into`.
            into: State with different joints or a different order.
            places: For each joint in `into`, its index among the joints of `source`.
        """
        self._source = source.flat
        self._parts = list[tuple[Index, F64]]()
        self._starts = list[int]()
        """Start index in `into` of each run of adjacent fields."""
        start, index = 0, np.zeros(0, np.intp)
        for name in into.sensed:
            there, here = source.slices[name], into.slices[name]
            if here.start != start + index.size:
                self._add(into, start, index)
                start, index = here.start, index[:0]
            own = places if is_per_joint(name) else np.arange(there.stop - there.start)
            index = np.concatenate([index, there.start + own])
        self._add(into, start, index)

    def _add(self, into: StateVector, start: int, index: Index) -> None:
        if index.size:
            self._parts.append((index, into.flat[start : start + index.size]))
            self._starts.append(start)

    def plan(self) -> list[dict[str, Any]]:
        """Return the configuration for the native core: runs of fields and source indices."""
        return [
            {"start": start, "index": index}
            for start, (index, _) in zip(self._starts, self._parts, strict=True)
        ]

    def take(self) -> None:
        """Copy the source's current measurements."""
        for index, part in self._parts:
            self._source.take(index, None, part, "clip")


def _find_topic(field: str) -> str:
    """Return the topic that provides a field; "" for a field that the policy computes."""
    if field in STATE_FIELDS:
        return STATE_FIELDS[field].topic.name
    return field.partition(EXTERNAL)[2]


def _needed(contract: JointContract, orientation: bool) -> Iterator[tuple[str, int]]:
    """Yield the name and size of each field that a contract needs; names may repeat."""
    joints, terms = len(contract.joints.names), list(contract.terms)
    yield "joint_pos", joints
    yield "joint_vel", joints
    yield "last_action", sum(len(term.joints) for term in contract.action.terms)
    if orientation or any(TERMS[term.term].field == "gravity_body" for term in terms):
        yield _sized("quat_xyzw", joints)
        yield _sized("gravity_body", joints)
    for term in terms:
        name = field_name(term)
        if name in STATE_FIELDS:
            yield _sized(name, joints)
        elif name.startswith(EXTERNAL):
            yield name, len(term_names(term, contract))
        elif name.startswith("phase:"):
            yield name, 2 * len(term.offsets or (0.0,))
            if term.standing:
                yield _sized("velocity_command", joints)
        elif name.startswith(LAST_OUTPUT):
            yield name, len(term_names(term, contract))
        elif name == "tick":
            yield name, 1
        elif is_of_motion(term):
            yield name, len(term_places(term, contract)) if is_of_anchor(term) else joints
            for field in _live_fields(term, contract):
                yield _sized(field, joints)
            if is_of_anchor(term):
                yield _sized("quat_xyzw", joints)
            if TERMS[term.term].field == "motion_anchor_pos":
                yield _sized("pos_world", joints)


def _live_fields(term: Term, contract: JointContract) -> Sequence[str]:
    """Return the names of the measured fields from which a live motion's term is computed."""
    if contract.motion is None or contract.motion.live is None:
        return ()
    if is_of_anchor(term):
        return "live_anchor_pos", "live_anchor_quat_xyzw"
    return (TERMS[term.term].field.replace("motion_", "live_"),)


def _sized(field: str, joints: int) -> tuple[str, int]:
    size = STATE_FIELDS[field].size
    return field, joints if size == "joints" else size


def gravity_body(quat_xyzw: F64, out: F64) -> None:
    """Write the direction of gravity in the body frame [3], given the body's orientation, to `out`.

    This is minus the last row of the rotation matrix from body to world, and (0, 0, -1) if upright.
    The quaternion need not be of unit length.
    """
    x, y, z, w = quat_xyzw.tolist()
    norm = x * x + y * y + z * z + w * w
    scale = 2.0 / norm if norm > 0.0 else math.nan
    # Assigning one by one is faster than assigning a tuple, which is first converted to an array.
    out[0] = scale * (w * y - x * z)
    out[1] = -scale * (w * x + y * z)
    out[2] = scale * (x * x + y * y) - 1.0


def length(vector: F64) -> float:
    """Return the length of a vector [3]; the squares are added in order, as in C++."""
    x, y, z = vector.tolist()
    return math.sqrt(x * x + y * y + z * z)


def tilt_rad(gravity: F64) -> float:
    """Return the angle between the body's up axis and the world's, given `gravity_body` [3]."""
    return math.acos(max(-1.0, min(1.0, -float(gravity[2]))))
