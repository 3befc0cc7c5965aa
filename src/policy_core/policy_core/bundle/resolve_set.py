# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Build the contract of a policy set from `set.yaml` and its members' contracts."""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from policy_core.bundle.body import AnyContract, Nominal
from policy_core.bundle.contract import (
    Damp,
    Joints,
    Safety,
    StandingUp,
    VelocityCommand,
    Via,
)
from policy_core.bundle.resolve import matched, per_joint
from policy_core.bundle.schema import Found, Reader
from policy_core.bundle.set_contract import (
    FIRST_FRAME,
    EntryConditions,
    MemberContract,
    SetContract,
    SetFile,
    SetState,
    ends_by_itself,
    tracks_clip,
)
from policy_core.bundle.validate_body import listed
from policy_core.interfaces import F64, Kind

_ROBOT = ("position_min", "position_max", "velocity_limit", "effort_limit")
"""Joint values that identify a robot: they must be equal for all members."""
_RATE_TOLERANCE = 1e-6
_LARGEST_DENOMINATOR = 1000


def resolve_set(
    stated: SetFile, contracts: Mapping[str, AnyContract], reader: Reader
) -> SetContract | None:
    """Return a set's contract; if its parts do not match, add problems to `reader` and return None.

    Args:
        stated: Content of `set.yaml`, with valid names.
        contracts: Contracts of the set's members.
        reader: Collects the problems.
    """
    return _SetResolver(stated, contracts, reader).resolved()


class _SetResolver:
    """Merges the members' robot descriptions into one, and resolves names into arrays."""

    def __init__(
        self, stated: SetFile, contracts: Mapping[str, AnyContract], reader: Reader
    ) -> None:
        self._stated, self._contracts, self._reader = stated, contracts, reader
        first = stated.states[stated.initial].members
        self._order = [*first, *(name for name in contracts if name not in first)]
        on_robot = {name: contract.joints.on_robot() for name, contract in contracts.items()}
        self._on_robot = on_robot
        self._names = tuple(
            dict.fromkeys(joint for name in self._order for joint in on_robot[name])
        )
        self._commanded = {name: self._commanded_by(name) for name in contracts}
        self._owner = {joint: self._find_owner(joint, first) for joint in self._names}

    def _find_owner(self, joint: str, first: Sequence[str]) -> str:
        """Return the member whose values the set uses for a joint: the first that commands it.

        Members in command in the initial state come first. If no member commands the joint, its
        owner is the first member that has it.
        """
        having = [name for name in self._order if joint in self._on_robot[name]]
        commanding = [name for name in having if joint in self._commanded[name]]
        return next((name for name in commanding if name in first), (commanding or having)[0])

    def resolved(self) -> SetContract | None:
        stated = self._stated
        rate_hz = max(contract.rate_hz for contract in self._contracts.values())
        self._check_robot()
        kinds = self._kinds()
        members = {name: self._member(name, rate_hz) for name in self._contracts}
        states = {name: self._state(name, state, kinds) for name, state in stated.states.items()}
        poses = {
            name: self._reader.tried(f"poses.{name}", per_joint, pose, self._names)
            for name, pose in stated.poses.items()
        }
        stand, velocity_command = self._stand(), self._velocity_command()
        self._reader.expect(
            stated.silence_s is None or velocity_command is not None,
            "silence_s",
            "a member that takes a velocity command",
            Found("none"),
        )
        if self._reader.problems:
            return None
        return SetContract(
            name=stated.name,
            version=stated.version,
            description=stated.description,
            rate_hz=rate_hz,
            joints=self._joints(),
            kinds=tuple(kinds[joint] for joint in self._names),
            stand=stand,
            damp=Damp(damping=self._owned(lambda contract: contract.damp.damping)),
            nominal=self._nominal(),
            safety=self._safety(),
            velocity_command=velocity_command,
            members=members,
            initial=stated.initial,
            states=states,
            silence_s=stated.silence_s,
            poses={name: pose for name, pose in poses.items() if pose is not None},
        )

    def _commanded_by(self, name: str) -> tuple[str, ...]:
        """Return the robot joints that a member commands."""
        own, entries = self._on_robot[name], self._stated.members[name].joints
        if entries is None:
            return own
        key = f"members.{name}.joints"
        found = self._reader.tried(key, matched, entries, own) or ()
        for joint in [joint for joint in found if joint not in own]:
            self._reader.problem(key, f"joints of the member ({listed(own)})", joint)
        self._reader.expect(len({*found}) == len(found), key, "each joint once", list(found))
        return tuple(joint for joint in found if joint in own)

    def _member(self, name: str, rate_hz: float) -> MemberContract:
        contract, own = self._contracts[name], self._on_robot[name]
        followed = self._stated.members[name].starts == "followed"
        remembers = contract.unfollowable
        self._reader.expect(
            not followed or not remembers,
            f"members.{name}.starts",
            f"clean for a policy with {', '.join(remembers)}",
            "followed",
            "only the policy's own model can update this state",
        )
        self._reader.expect(
            not followed or not contract.motion,
            f"members.{name}.starts",
            "clean for a policy that tracks a motion",
            "followed",
            "the motion would continue while others command",
        )
        self._reader.expect(
            not contract.sets_gains,
            f"members.{name}",
            "a policy with fixed joint gains",
            Found("action.gains"),
            "a policy whose model outputs gains can only run alone",
        )
        return MemberContract(
            contract=contract,
            folder=posixpath.normpath(self._stated.members[name].bundle),
            sha256=self._stated.members[name].sha256,
            places=np.array([self._names.index(joint) for joint in own], dtype=np.intp),
            commanded=np.array(
                [own.index(joint) for joint in self._commanded[name]], dtype=np.intp
            ),
            every=self._every(name, rate_hz),
            is_followed=followed,
            velocity_command=self._narrower_range(contract),
        )

    def _every(self, name: str, rate_hz: float) -> Fraction:
        """Return a member's period in set ticks.

        The period must be a whole number if `counts_ticks` is true for the member's contract.
        """
        contract = self._contracts[name]
        every = rate_hz / contract.rate_hz
        if abs(every - round(every)) <= _RATE_TOLERANCE * every:
            return Fraction(round(every))
        self._reader.expect(
            not contract.counts_ticks,
            f"members.{name}.bundle",
            f"a divisor of the set's fastest rate ({rate_hz:g} Hz)",
            Found(f"{contract.rate_hz:g} Hz"),
            "export the policy for another rate",
        )
        return Fraction(every).limit_denominator(_LARGEST_DENOMINATOR)

    def _check_robot(self) -> None:
        """Check that all members are for the same robot, and react to faults in the same way."""
        for joint in self._names:
            having = [name for name in self._order if joint in self._on_robot[name]]
            for field in _ROBOT:
                expected = self._value(having[0], joint, field)
                for name in having[1:]:
                    value = self._value(name, joint, field)
                    self._same(name, f"{field} of {joint}", expected, having[0], value)
        self._check_external_vectors()
        self._check_on_fault({name: self._contracts[name].safety.on_fault for name in self._order})

    def _check_external_vectors(self) -> None:
        """Check that members that read the same topic expect the same values."""
        first = dict[str, tuple[str, int]]()
        commanded = dict[str, tuple[str, tuple[Any, ...]]]()
        for name in self._order:
            for topic, size in self._contracts[name].external_sizes.items():
                as_in, expected = first.setdefault(topic, (name, size))
                self._same(name, f"size of the external vector {topic}", expected, as_in, size)
                term = self._contracts[name].commanded.get(topic)
                values = (term.commanded, term.timeout_s) if term else ()
                as_in, shared = commanded.setdefault(topic, (name, values))
                self._reader.expect(
                    values == shared,
                    f"members.{name}.bundle",
                    f"the same `commanded` and `timeout_s` for {topic} as in member {as_in}",
                    Found("different ones"),
                    "use the same values in all members, or different topics",
                )
        perceived = dict[str, tuple[str, str]]()
        for name in self._order:
            for topic, here in self._contracts[name].perceived.items():
                as_in, stated = perceived.setdefault(topic, (name, here))
                self._reader.expect(
                    here == stated,
                    f"members.{name}.bundle",
                    f"the same content on {topic} as in member {as_in}",
                    Found("different content"),
                    "give this member a topic of its own",
                )

    def _check_on_fault(self, members: Mapping[str, str]) -> None:
        stated, known = self._stated.on_fault, [*dict.fromkeys(members.values())]
        if stated is not None and stated not in known:
            self._reader.problem(
                "on_fault", f"one of the members' values ({listed(known)})", stated
            )
        elif stated is None and len(known) > 1:
            said = ", ".join(f"{on_fault} in {name}" for name, on_fault in members.items())
            self._reader.problem(
                "on_fault",
                "a fault behavior (the members' differ)",
                Found(f"nothing ({said})"),
                "set it if the members may differ; otherwise correct the wrong policy.yaml",
            )

    def _same(self, name: str, what: str, expected: float, as_in: str, found: float) -> None:
        self._reader.expect(
            found == expected,
            f"members.{name}.bundle",
            f"{what} to be {expected:g} (as in member {as_in})",
            Found(f"{found:g}"),
            "all members of a set are for the same robot: correct the wrong policy.yaml",
        )

    def _value(self, name: str, joint: str, field: str) -> float:
        values: F64 = getattr(self._contracts[name].joints, field)
        return float(values[self._on_robot[name].index(joint)])

    def _kinds(self) -> dict[str, Kind]:
        """Return the command interface for each joint; check that all members agree on it."""
        found = dict[str, tuple[str, Kind]]()
        for name in self._order:
            for joint, kind in self._value_kinds(name).items():
                first, expected = found.setdefault(joint, (name, kind))
                self._reader.expect(
                    kind is expected,
                    f"members.{name}.bundle",
                    f"{joint} to be commanded by {expected.value} (as in member {first})",
                    Found(f"a {kind.value} command"),
                )
        return {
            joint: found[joint][1] if joint in found else Kind.POSITION for joint in self._names
        }

    def _value_kinds(self, name: str) -> dict[str, Kind]:
        contract = self._contracts[name]
        on_robot = contract.joints.robot_names
        driven = {on_robot[joint]: kind for joint, kind in contract.command_kinds.items()}
        return {joint: driven.get(joint, Kind.POSITION) for joint in self._commanded[name]}

    def _state(self, name: str, state: SetState, kinds: Mapping[str, Kind]) -> SetState:
        """Return a state with names resolved; check that it commands or holds each joint once."""
        key = f"states.{name}"
        held = self._reader.tried(f"{key}.held", matched, state.held, self._names) or ()
        taken = dict[str, str]()
        for member in state.members:
            for joint in self._commanded[member]:
                self._reader.expect(
                    joint not in taken,
                    f"{key}.members",
                    f"one member for {joint}",
                    Found(f"{taken.get(joint)} and {member}"),
                    "state which joints each one commands (`members.NAME.joints`)",
                )
                taken[joint] = member
        for joint in held:
            if joint not in self._names or joint in taken:
                by = f", which member {taken[joint]} commands" if joint in taken else ""
                self._reader.problem(
                    f"{key}.held", "joints that no member commands", Found(f"{joint}{by}")
                )
            elif kinds[joint] is Kind.EFFORT:
                self._reader.problem(
                    f"{key}.held", "joints that are commanded by position or velocity", joint
                )
        if missing := [joint for joint in self._names if joint not in (*taken, *held)]:
            owners = dict.fromkeys(self._owner[joint] for joint in missing)
            self._reader.problem(
                f"{key}.members",
                "a member for each joint of the set",
                Found(f"none for {', '.join(missing)} (which {', '.join(owners)} can command)"),
                "list the joints that stay in the stand pose in `held`",
            )
        ending = map(ends_by_itself, map(self._contracts.__getitem__, state.members))
        if state.ends is not None and state.ends.after_s is None and not any(ending):
            self._reader.problem(
                f"{key}.ends.after_s",
                "the time (in s) after which the state ends",
                Found(
                    f"nothing, and none of its members (`{'`, `'.join(state.members)}`) tracks a "
                    "motion that ends"
                ),
                "set after_s, or have a member track a motion with `at_end: hold`",
            )
        to = {
            target: dataclasses.replace(
                transition, when=self._conditions(f"{key}.to.{target}.when", name, target)
            )
            for target, transition in state.to.items()
        }
        return dataclasses.replace(state, held=tuple(held), to=to)

    def _conditions(self, key: str, name: str, to: str) -> EntryConditions:
        """Return the resolved conditions of a transition; check that the values they test exist."""
        states = self._stated.states
        when, leaving, entering = states[name].to[to].when, states[name].members, states[to].members
        self._reader.expect(
            when.pose != FIRST_FRAME
            or any(tracks_clip(self._contracts[member]) for member in entering),
            f"{key}.pose",
            f"a member of {to} that tracks a clip",
            Found(f"none (members: {listed(entering)})"),
        )
        terms = [term for name in leaving for term in self._contracts[name].terms]
        self._reader.expect(
            when.gait_phase is None or any(term.period_s for term in terms),
            f"{key}.gait_phase",
            "the term phase in a member that commands before the switch",
            listed(leaving),
        )
        self._reader.expect(
            when.command is None or self._velocity_command() is not None,
            f"{key}.command",
            "a member that takes a velocity command",
            Found("none"),
        )
        arrays: dict[str, Any] = {
            field: self._reader.tried(f"{key}.{field}", per_joint, value, self._names)
            for field in ("pose_within", "joint_speed")
            if (value := getattr(when, field)) is not None
        }
        return dataclasses.replace(when, **arrays)

    def _joints(self) -> Joints:
        fields = [field.name for field in dataclasses.fields(Joints)]
        values = {
            field: self._owned(lambda contract, field=field: getattr(contract.joints, field))  # type: ignore[misc]
            for field in fields
            if field not in ("names", "robot_names")
        }
        return Joints(names=self._names, robot_names={name: name for name in self._names}, **values)

    def _owned(self, values: Callable[[AnyContract], F64]) -> F64:
        """Return one value per joint in the set, taken from the member that owns the joint."""
        found = np.array(
            [
                values(self._contracts[owner])[self._on_robot[owner].index(joint)]
                for joint, owner in self._owner.items()
            ]
        )
        found.flags.writeable = False
        return found

    def _stand(self) -> StandingUp:
        members = self._stated.states[self._stated.initial].members
        stands = {name: self._contracts[name].stand for name in members}
        position = self._owned(lambda contract: contract.stand.position)
        with_via = [name for name, stand in stands.items() if stand.via]
        self._reader.expect(
            len(with_via) <= 1,
            f"states.{self._stated.initial}.members",
            "at most one member whose stand motion passes through poses (stand.via)",
            listed(with_via),
        )
        via = []
        for pose in stands[with_via[0]].via if with_via else ():
            on_the_way = position.copy()
            for joint, value in zip(self._on_robot[with_via[0]], pose.position, strict=True):
                on_the_way[self._names.index(joint)] = value
            via.append(Via(position=on_the_way, duration_s=pose.duration_s))
        return StandingUp(
            position=position,
            stiffness=self._owned(lambda contract: contract.stand.stiffness),
            damping=self._owned(lambda contract: contract.stand.damping),
            duration_s=max(stand.duration_s for stand in stands.values()),
            via=tuple(via),
            tolerance=self._owned(lambda contract: contract.stand.tolerance),
        )

    def _safety(self) -> Safety:
        every = [contract.safety for contract in self._contracts.values()]
        initial = self._stated.states[self._stated.initial].members
        tilts = [safety.max_tilt_rad for safety in every if safety.max_tilt_rad is not None]
        return Safety(
            on_fault=self._stated.on_fault or every[0].on_fault,
            max_tilt_rad=min(tilts, default=None),
            state_timeout_s=min(
                contract.safety.state_timeout_s or 2.0 / contract.rate_hz
                for contract in self._contracts.values()
            ),
            damp_after_s=min(safety.damp_after_s for safety in every),
            command_timeout_s=min(safety.command_timeout_s for safety in every),
            command_ramp_s=min(safety.command_ramp_s for safety in every),
            margin=min(safety.margin for safety in every),
            blend_s=max(self._contracts[name].safety.blend_s for name in initial),
        )

    def _nominal(self) -> Nominal | None:
        """Return the largest nominal values of all members; None unless every member has some."""
        nominals = {
            name: contract.nominal
            for name, contract in self._contracts.items()
            if contract.nominal is not None
        }
        if len(nominals) < len(self._contracts):
            return None
        step, demand = np.zeros((2, len(self._names)))
        for name, nominal in nominals.items():
            places = [self._names.index(joint) for joint in self._on_robot[name]]
            step[places] = np.maximum(step[places], nominal.target_step)
            demand[places] = np.maximum(demand[places], nominal.effort_demand)
        return Nominal(
            source="the largest values of all members",
            ticks=min(nominal.ticks for nominal in nominals.values()),
            target_step=step,
            effort_demand=demand,
        )

    def _narrower_range(self, contract: AnyContract) -> VelocityCommand | None:
        """Return a member's own command range; None if it is the same as the set's."""
        own = contract.velocity_command
        return None if own == self._velocity_command() else own

    def _velocity_command(self) -> VelocityCommand | None:
        """Return a range that covers all members' command ranges; None if no member has one."""
        ranges = [
            contract.velocity_command
            for contract in self._contracts.values()
            if contract.velocity_command is not None
        ]
        if not ranges:
            return None
        return VelocityCommand(
            min=tuple(map(min, zip(*(each.min for each in ranges), strict=True))),
            max=tuple(map(max, zip(*(each.max for each in ranges), strict=True))),
        )
