# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a policy set says, `set.yaml`, as dataclasses, and the contract that follows from it.

A set names bundles, which joints each of them commands, and how the robot gets from one to the
other. What it says about the robot follows from its members. No file is touched here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
import numpy.typing as npt

from policy_core.bundle.body import AnyContract, Nominal
from policy_core.bundle.chunk_contract import Camera
from policy_core.bundle.contract import (
    NAME,
    SHA256,
    VERSION,
    Damp,
    File,
    Graph,
    Joints,
    Provenance,
    Safety,
    StandingUp,
    VelocityCommand,
)
from policy_core.bundle.schema import PerJoint, entry
from policy_core.interfaces import Index, Kind

STAND, FIRST_TARGET, FIRST_FRAME = "stand", "first_target", "first_frame"
"""Poses that each set has: that of standing up, what the entering members would command, and where
the clips that they track begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMember:
    """A policy of the set."""

    bundle: str = entry(
        "folder of its bundle, relative to that of the set, or an installed version: NAME@VERSION"
    )
    sha256: str = entry("SHA-256 of its policy.yaml, 64 hex digits", pattern=SHA256)
    joints: tuple[str, ...] | None = entry(
        "joints of the robot that it commands, or patterns of them; all of its own if absent",
        default=None,
        minItems=1,
    )
    starts: Literal["clean", "followed"] = entry(
        "what it remembers when it begins to command: nothing, as at the start of a run, or the "
        "observations and commands of the ticks before",
        default="clean",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryConditions:
    """What must hold in the tick of a switch; what is absent is not asked for."""

    pose: str | None = entry(
        f"pose that the joints must be near: {STAND}, {FIRST_TARGET} (what the entering members "
        f"command first), {FIRST_FRAME} (of the clips that they track) or one of `poses`",
        default=None,
    )
    pose_within: PerJoint = entry(
        "largest distance from the pose, rad", default=0.35, exclusiveMinimum=0
    )
    joint_speed: PerJoint | None = entry(
        "largest speed of the joints, rad/s", default=None, exclusiveMinimum=0
    )
    tilt_rad: float | None = entry(
        "largest angle between the body's up and the world's, rad",
        default=None,
        exclusiveMinimum=0,
        maximum=3.15,
    )
    body_rate_rad_s: float | None = entry(
        "largest angular velocity of the body, rad/s", default=None, exclusiveMinimum=0
    )
    gait_phase: tuple[float, ...] | None = entry(
        "begin and end of the part of the gait, in periods of the phase of a member that commands; "
        "where the begin is larger, the part leads through 0",
        default=None,
        length=2,
        minimum=0,
        maximum=1,
    )
    command: tuple[float, ...] | None = entry(
        "largest |vx|, |vy| in m/s and |yaw rate| in rad/s of the velocity command",
        default=None,
        length=3,
        minimum=0,
    )
    time_in_state_s: float = entry(
        "shortest time since the state was entered, s", default=0.0, minimum=0, maximum=3600
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """How the robot gets from a state to another one."""

    when: EntryConditions = entry("what must hold", default=EntryConditions())
    blend_s: float = entry(
        "time over which targets and gains become those of the new state, s",
        default=0.2,
        minimum=0,
        maximum=60,
    )
    otherwise: Literal["refuse", "wait"] = entry(
        "what happens to a request while the conditions do not hold", default="refuse"
    )
    timeout_s: float = entry(
        "how long a request waits, s", default=2.0, exclusiveMinimum=0, maximum=3600
    )
    timeout_state: str | None = entry(
        "state to ask for when a request has waited for too long; none if absent", default=None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StateEnd:
    """When a state ends by itself."""

    after_s: float | None = entry(
        "time since the state was entered, s; if absent, it ends when the motions that its members "
        "track have ended",
        default=None,
        exclusiveMinimum=0,
        maximum=86400,
    )
    to: str = entry("state to ask for then; again in each tick until it is entered")


@dataclass(frozen=True, slots=True, kw_only=True)
class SetState:
    """Who commands, and where the robot can go from there."""

    members: tuple[str, ...] = entry(
        "members that command, of which no two command the same joint", minItems=1
    )
    held: tuple[str, ...] = entry(
        "joints, or patterns of them, that no member commands: they are held in the stand pose",
        default=(),
    )
    to: dict[str, Transition] = entry("transitions by the state that they lead to", default={})
    stand: bool = entry(
        "whether the robot may stand up from it, by the stand motion", default=False
    )
    way_back: str | None = entry(
        "next state on the way to one with `stand`; needed where `stand` is false", default=None
    )
    fallback: str | None = entry(
        "state that is entered at once, without conditions, when a member fails; the guard acts if "
        "absent",
        default=None,
    )
    ends: StateEnd | None = entry("when the state ends by itself", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFile:
    """A policy set: members, states, and the ways between them."""

    schema_version: Literal[1] = entry("1")
    kind: Literal["set"] = entry("set")
    name: str = entry("name of the set", pattern=NAME)
    version: str = entry("version of the set, in quotes", pattern=VERSION)
    description: str = entry("one sentence", default="")
    members: dict[str, SetMember] = entry("policies by a name of their own", minProperties=1)
    initial: str = entry("state in which RUN begins; the robot may stand up from it (`stand`)")
    states: dict[str, SetState] = entry("states by name", minProperties=1)
    on_fault: Literal["damp", "hold_measured", "torque_off"] | None = entry(
        "what replaces all targets after a fault; needed where the members do not say the same",
        default=None,
    )
    silence_s: float | None = entry(
        "time without a new velocity command after which the robot goes back to standing, s; never "
        "if absent",
        default=None,
        exclusiveMinimum=0,
        maximum=86400,
    )
    poses: dict[str, PerJoint] = entry("poses that conditions refer to, rad", default={})


def ends_by_itself(contract: AnyContract) -> bool:
    """Return whether a member tracks a motion that ends."""
    return contract.motion is not None and contract.motion.at_end == "hold"


def tracks_clip(contract: AnyContract) -> bool:
    """Return whether a member tracks a motion that is in its bundle."""
    return contract.motion is not None and contract.motion.clip is not None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MemberContract:
    """A member's contract, and its place in the set.

    Attributes:
        contract: Its own.
        folder: Of its bundle, as the set names it.
        sha256: Of its `policy.yaml`.
        places: Index in the set's joints of each of its joints [its joints].
        commanded: Index in its own joints of those that it commands here.
        every: Ticks of the set from one of its ticks to the next, whole where it `counts_ticks`. A
            step that falls between two ticks is made in the later one.
        is_followed: Whether it remembers what it observed while it did not command.
        velocity_command: Range that the set's velocity command is clipped to for it; None where it
            takes all of that.
    """

    contract: AnyContract
    folder: str
    sha256: str
    places: Index
    commanded: Index
    every: Fraction
    is_followed: bool
    velocity_command: VelocityCommand | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SetContract:
    """The contract of a policy set, resolved: a body for the guard, members, states.

    Joints are those of all members, named as the robot names them. Their limits are the same in all
    members; gains, stand pose and damping are those of the member that commands the joint in the
    initial state, else of the first that has it. Time-outs, tilt and margin are the strictest.
    """

    name: str
    version: str
    description: str
    rate_hz: float
    joints: Joints
    kinds: tuple[Kind, ...]
    stand: StandingUp
    damp: Damp
    nominal: Nominal | None
    safety: Safety
    velocity_command: VelocityCommand | None
    members: Mapping[str, MemberContract]
    initial: str
    states: Mapping[str, SetState]
    silence_s: float | None
    poses: Mapping[str, PerJoint]

    @property
    def period_ns(self) -> int:
        """Time between two ticks, ns."""
        return round(1e9 / self.rate_hz)

    @property
    def kind(self) -> Literal["set"]:
        return "set"

    @property
    def way_back_s(self) -> float:
        """Longest time, s, that the way back to standing takes while no request waits too long."""
        return max(self._way_back_s(name) for name in self.states)

    def _way_back_s(self, name: str) -> float:
        state, found = self.states[name], 0.0
        while not state.stand and state.way_back is not None:
            transition = state.to[state.way_back]
            found += transition.timeout_s + transition.blend_s
            state = self.states[state.way_back]
        return found

    @property
    def commands(self) -> frozenset[str]:
        """What is commanded to joints: position, velocity, effort."""
        return frozenset(kind.value for kind in self.kinds)

    @property
    def command_kinds(self) -> Mapping[str, Kind]:
        """How each joint of the set is commanded."""
        return dict(zip(self.joints.names, self.kinds, strict=True))

    @property
    def perceived(self) -> Mapping[str, str]:
        """Labels of what its members perceive, by topic: members that share one state the same."""
        labels = dict[str, str]()
        for member in self.members.values():
            labels |= member.contract.perceived
        return labels

    @property
    def measures_velocities(self) -> bool:
        """Whether a member does."""
        return any(member.contract.measures_velocities for member in self.members.values())

    @property
    def step_bounded(self) -> npt.NDArray[np.bool_]:
        """The joints that members command whose contracts bound them [joints]."""
        found = np.zeros(len(self.joints.names), np.bool_)
        for member in self.members.values():
            places = member.places[member.commanded]
            found[places] |= member.contract.step_bounded[member.commanded]
        return found

    @property
    def models(self) -> Mapping[str, Graph]:
        """The models of all members, by MEMBER.KEY."""
        return {
            f"{name}.{key}": graph
            for name, member in self.members.items()
            for key, graph in member.contract.models.items()
        }

    @property
    def reports(self) -> Mapping[str, File]:
        """None of its own: its members have theirs."""
        return {}

    @property
    def encoders(self) -> Mapping[str, Graph]:
        """None of its own: its members have theirs."""
        return {}

    @property
    def files(self) -> Sequence[File]:
        """None of its own: its members have theirs."""
        return ()

    @property
    def cameras(self) -> Mapping[str, Camera]:
        """None of its own: its members have theirs."""
        return {}

    @property
    def graphs(self) -> Mapping[str, Graph]:
        """None of its own: its members have theirs."""
        return {}

    @property
    def provenance(self) -> Provenance | None:
        """None of its own: its members have theirs."""
        return None


HostedContract = AnyContract | SetContract
"""Of what a host runs: a policy, or a set of them."""
