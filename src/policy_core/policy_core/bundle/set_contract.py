# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The policy set file, `set.yaml`, as dataclasses, and the contract built from it.

A set names bundles, the joints that each bundle commands, and the transitions between states. Its
robot description is derived from its members. This module opens no files.
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
    Term,
    VelocityCommand,
)
from policy_core.bundle.schema import PerJoint, entry
from policy_core.interfaces import Index, Kind

STAND, FIRST_TARGET, FIRST_FRAME = "stand", "first_target", "first_frame"
"""Names of the poses that every set has: the stand pose, the first targets of the members taking
over, and the first frames of the clips that they track.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMember:
    """Member of a set: a policy, and the joints that it commands."""

    bundle: str = entry(
        "bundle folder, relative to the set's folder, or an installed version: NAME@VERSION"
    )
    sha256: str = entry("SHA-256 of the bundle's policy.yaml, 64 hex digits", pattern=SHA256)
    joints: tuple[str, ...] | None = entry(
        "robot joints that the member commands (names or patterns); all in its contract if absent",
        default=None,
        minItems=1,
    )
    starts: Literal["clean", "followed"] = entry(
        "what the member remembers when it takes over: clean (nothing, as at the start of a run) "
        "or followed (the observations and commands from previous ticks)",
        default="clean",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryConditions:
    """Conditions that must hold in the tick of a switch; absent ones are not checked."""

    pose: str | None = entry(
        f"pose that the joints must be close to: {STAND}, {FIRST_TARGET} (of the entering "
        f"members), {FIRST_FRAME} (of the clips that they track) or one of `poses`",
        default=None,
    )
    pose_within: PerJoint = entry(
        "maximum distance of a joint from the pose, rad", default=0.35, exclusiveMinimum=0
    )
    joint_speed: PerJoint | None = entry(
        "maximum joint speed, rad/s", default=None, exclusiveMinimum=0
    )
    tilt_rad: float | None = entry(
        "maximum angle between the body's up axis and the world's, rad",
        default=None,
        exclusiveMinimum=0,
        maximum=3.15,
    )
    body_rate_rad_s: float | None = entry(
        "maximum angular velocity of the body, rad/s", default=None, exclusiveMinimum=0
    )
    gait_phase: tuple[float, ...] | None = entry(
        "allowed gait phase [begin, end] of a member in command, in periods; if begin > end, the "
        "range wraps around 0",
        default=None,
        length=2,
        minimum=0,
        maximum=1,
    )
    command: tuple[float, ...] | None = entry(
        "maximum [|vx|, |vy|, |yaw rate|] of the velocity command, in m/s and rad/s",
        default=None,
        length=3,
        minimum=0,
    )
    time_in_state_s: float = entry(
        "minimum time since the state was entered, s", default=0.0, minimum=0, maximum=3600
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """Transition from one state of the set to another."""

    when: EntryConditions = entry("conditions that must hold", default=EntryConditions())
    blend_s: float = entry(
        "time over which targets and gains change to those of the new state, s",
        default=0.2,
        minimum=0,
        maximum=60,
    )
    otherwise: Literal["refuse", "wait"] = entry(
        "what happens to a request whose conditions do not hold", default="refuse"
    )
    timeout_s: float = entry(
        "maximum time that a request waits, s", default=2.0, exclusiveMinimum=0, maximum=3600
    )
    timeout_state: str | None = entry(
        "state to request when a waiting request times out; none if absent", default=None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StateEnd:
    """Time at which a state ends on its own, and the state that follows."""

    after_s: float | None = entry(
        "time since the state was entered, s; if absent, the state ends when the motions that "
        "its members track have ended",
        default=None,
        exclusiveMinimum=0,
        maximum=86400,
    )
    to: str = entry("state to request at the end, and in each tick until that state is entered")


@dataclass(frozen=True, slots=True, kw_only=True)
class SetState:
    """A state of the set: the members in command, and the transitions to other states."""

    members: tuple[str, ...] = entry(
        "members in command; no two may command the same joint", minItems=1
    )
    held: tuple[str, ...] = entry(
        "joints (names or patterns) that no member commands and that are held in the stand pose",
        default=(),
    )
    to: dict[str, Transition] = entry("transitions by target state", default={})
    stand: bool = entry("true if the stand motion may begin in this state", default=False)
    way_back: str | None = entry(
        "next state on the way to a state with `stand`; required if `stand` is false", default=None
    )
    fallback: str | None = entry(
        "state that is entered at once, without conditions, when a member fails; if absent, the "
        "guard acts",
        default=None,
    )
    ends: StateEnd | None = entry(
        "when the state ends on its own, and the state that follows", default=None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFile:
    """A policy set: members, states and transitions."""

    schema_version: Literal[1] = entry("version of the set format")
    kind: Literal["set"] = entry("kind of contract")
    name: str = entry("name of the set", pattern=NAME)
    version: str = entry("version of the set, in quotes", pattern=VERSION)
    description: str = entry("description in one sentence", default="")
    members: dict[str, SetMember] = entry("members by name", minProperties=1)
    initial: str = entry("state in which RUN begins; its `stand` must be true")
    states: dict[str, SetState] = entry("states by name", minProperties=1)
    on_fault: Literal["damp", "hold_measured", "torque_off"] | None = entry(
        "command that replaces all targets after a fault; required if it differs between members",
        default=None,
    )
    silence_s: float | None = entry(
        "time without a new velocity command after which the robot returns to standing, s; never "
        "if absent",
        default=None,
        exclusiveMinimum=0,
        maximum=86400,
    )
    poses: dict[str, PerJoint] = entry(
        "joint positions of poses that conditions refer to, rad", default={}
    )


def ends_by_itself(contract: AnyContract) -> bool:
    """Return True if the policy tracks a motion that ends."""
    return contract.motion is not None and contract.motion.at_end == "hold"


def tracks_clip(contract: AnyContract) -> bool:
    """Return True if the policy tracks a motion stored in its bundle."""
    return contract.motion is not None and contract.motion.clip is not None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MemberContract:
    """A member's contract, and its place in the set.

    Attributes:
        contract: The member's own contract.
        folder: Folder of the member's bundle, as named in the set.
        sha256: Hash of the member's `policy.yaml`.
        places: Index in the set's joints for each of the member's joints [member joints].
        commanded: Indices, among the member's joints, of the joints that it commands in the set.
        every: Set ticks per member tick; a whole number if the contract's `counts_ticks` is true. A
            member step that falls between two set ticks is executed on the later one.
        is_followed: True if the member keeps observing while it is not in command.
        velocity_command: Range to which the set's velocity command is clipped for this member; None
            if the member accepts the whole range.
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
    """Resolved contract of a policy set: robot description for the guard, members, states.

    The joints are those of all members, named as on the robot. Joint limits are equal in all
    members; gains, stand pose and damping come from the member that commands the joint in the
    initial state, otherwise from the first member that commands the joint or, if no member commands
    the joint, from the first that has the joint. Time-outs, tilt limit and margin are the strictest
    among all members.
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
        """Longest time to return to a state with `stand`, in s, if no request times out."""
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
        """Command interfaces in use: position, velocity, effort."""
        return frozenset(kind.value for kind in self.kinds)

    @property
    def command_kinds(self) -> Mapping[str, Kind]:
        """Command interface of each joint in the set, by robot joint name."""
        return dict(zip(self.joints.names, self.kinds, strict=True))

    @property
    def perceived(self) -> Mapping[str, str]:
        """Contract label by perception topic; members that share a topic have equal labels."""
        labels = dict[str, str]()
        for member in self.members.values():
            labels |= member.contract.perceived
        return labels

    @property
    def commanded(self) -> Mapping[str, Term]:
        """Terms with commanded values, by topic; members that share a topic have equal terms."""
        found = dict[str, Term]()
        for member in self.members.values():
            found |= member.contract.commanded
        return found

    @property
    def sets_gains(self) -> bool:
        """False, because members whose models output gains are rejected."""
        return False

    @property
    def measures_velocities(self) -> bool:
        """True if a member needs measured joint velocities."""
        return any(member.contract.measures_velocities for member in self.members.values())

    @property
    def step_bounded(self) -> npt.NDArray[np.bool_]:
        """Mask [joints] of the joints whose position step is limited; see `Body.step_bounded`."""
        found = np.zeros(len(self.joints.names), np.bool_)
        for member in self.members.values():
            places = member.places[member.commanded]
            found[places] |= member.contract.step_bounded[member.commanded]
        return found

    @property
    def models(self) -> Mapping[str, Graph]:
        """Models of all members, by MEMBER.KEY."""
        return {
            f"{name}.{key}": graph
            for name, member in self.members.items()
            for key, graph in member.contract.models.items()
        }

    @property
    def reports(self) -> Mapping[str, File]:
        """Empty, because reports belong to the members."""
        return {}

    @property
    def encoders(self) -> Mapping[str, Graph]:
        """Empty, because encoders belong to the members."""
        return {}

    @property
    def files(self) -> Sequence[File]:
        """Empty, because files belong to the members."""
        return ()

    @property
    def cameras(self) -> Mapping[str, Camera]:
        """Empty, because cameras belong to the members."""
        return {}

    @property
    def graphs(self) -> Mapping[str, Graph]:
        """Empty, because graphs belong to the members."""
        return {}

    @property
    def provenance(self) -> Provenance | None:
        """None, because each member has its own provenance."""
        return None


HostedContract = AnyContract | SetContract
"""Contract that a host runs: for one policy or for a set."""
