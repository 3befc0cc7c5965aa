# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Control path of a policy set, and requests to the set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from policy_core.bundle.set_bundle import SetBundle
from policy_core.bundle.set_contract import SetContract
from policy_core.bundle.state_fields import COMMAND, MOTION_TOPICS, STATE_FIELDS, topic_fields
from policy_core.bundle.terms import is_perceived
from policy_core.control.controller import Controller
from policy_core.errors import RefusedError
from policy_core.guard.command import CommandFader, commanded_vectors
from policy_core.guard.limits import Limits
from policy_core.interfaces import Mode, Policy
from policy_core.members.chunk.controller import camera_input
from policy_core.members.joint import describe_missing
from policy_core.observation.freshness import Input
from policy_core.observation.state import StateVector, gravity_body
from policy_core.sets.chunk_member import ChunkMember
from policy_core.sets.joint_member import JointMember
from policy_core.sets.member import JoinedTargets, MemberPolicy
from policy_core.sets.policy import AskedAt, PolicySet

if TYPE_CHECKING:  # not if Python runs the ticks
    from policy_core.sets.native_set import NativeSet

SWITCH, WAY_BACK = "switch", "way_back"
"""Request names in recordings; that of a switch is followed by a space and the state name."""


MEMBERS: Mapping[str, type[MemberPolicy]] = {"joint": JointMember, "chunk": ChunkMember}
"""Member classes by contract kind."""


class SensedState(StateVector):
    """Measured state that members observe, and that the guard and the entry conditions check.

    Per-joint fields are in the set's joint order; everything else is the same as in `RobotState`.
    """

    def __init__(self, contract: SetContract, limits: Limits) -> None:
        """Lay out the fields: NaN until measured, except the velocity command, which is 0."""
        sizes = _sizes(contract, orientation=limits.max_tilt_rad is not None)
        super().__init__(sizes, contract.perceived)
        # Finite from the start: the guard checks all fields, but only a member that tracks a live
        # motion needs these.
        for field in (each for topic in MOTION_TOPICS for each in topic_fields(topic)):
            if (values := self.get(field.name)) is not None:
                values[:] = field.at_rest or 0.0
        self._quat, self._gravity = self.get("quat_xyzw"), self.get("gravity_body")
        command = self.get("velocity_command")
        if command is not None:
            command[:] = 0.0

    def derive(self) -> None:
        """Compute the direction of gravity, if the set needs it."""
        if self._quat is not None and self._gravity is not None:
            gravity_body(self._quat, self._gravity)


def set_inputs(contract: SetContract, state: SensedState, limits: Limits) -> dict[str, Input]:
    """Return the inputs of all members, by topic.

    If a camera, live motion or perception topic falls silent, only members that observe it stop.
    """
    timeouts_ns = dict[str, int | None]()
    for member in contract.members.values():
        # The strictest time-out of the members that read an input applies.
        for name, own_ns in (
            MEMBERS[member.contract.kind].timeouts_ns(member.contract, limits).items()
        ):
            known_ns = timeouts_ns.get(name, own_ns)
            is_any = own_ns is None or known_ns is None
            timeouts_ns[name] = None if is_any else min(known_ns, own_ns)  # type: ignore[type-var]
    contracts = [member.contract for member in contract.members.values()]
    inputs = {
        name: Input(
            name,
            timeouts_ns.get(name, limits.state_timeout_ns),
            stops_all=name not in MOTION_TOPICS and not is_perceived(name),
            no_message=describe_missing(name, contracts),
        )
        for name in state.inputs
    }
    for name in list_cameras(contract):
        topic = camera_input(name)
        inputs[topic] = Input(topic, timeouts_ns[topic], stops_all=False)
    return inputs


def list_cameras(contract: SetContract) -> tuple[str, ...]:
    """Return the names of all members' cameras, each listed once."""
    return tuple(
        dict.fromkeys(
            camera for member in contract.members.values() for camera in member.contract.cameras
        )
    )


def make_policy_set(
    bundle: SetBundle,
    runners: Mapping[str, Any],
    state: SensedState,
    inputs: Mapping[str, Input],
    clock: Callable[[], int],
) -> PolicySet:
    """Return a policy set that uses opened models.

    Args:
        bundle: Bundle of the set.
        runners: By member, an opened model for a joint policy or a `ChunkRunner` for a chunk
            policy; the caller closes them.
        state: Receives the measurements.
        inputs: The members' inputs, from `set_inputs`.
        clock: Same as for `Controller`.
    """
    members, targets = dict[str, MemberPolicy](), JoinedTargets(bundle.contract)
    asked = AskedAt()
    for name, place in bundle.contract.members.items():
        member, runner = bundle.members[name], runners[name]
        members[name] = MEMBERS[member.contract.kind](
            name, member, place, runner, state, targets, inputs, asked
        )
    return PolicySet(bundle.contract, members, targets, state, clock, asked)


def set_controller(
    contract: SetContract,
    policy: Policy,
    state: SensedState,
    inputs: Mapping[str, Input],
    limits: Limits,
    clock: Callable[[], int],
    make: Callable[..., Controller] = Controller,
) -> Controller:
    """Return the controller of a policy set.

    Args:
        contract: Contract of the set.
        policy: The set, or a wrapper around it.
        state: Receives the measurements.
        inputs: Inputs from `set_inputs`.
        limits: Limits in force.
        clock: Same as for `Controller`.
        make: Creates the controller; takes the arguments of `Controller`.
    """
    vectors = commanded_vectors(contract.commanded, state, inputs, limits)
    velocity = state.get("velocity_command")
    command = CommandFader(velocity, contract.velocity_command, limits, vectors)
    return make(contract, policy, state, inputs, command, limits, clock)


class SetRequests:
    """Requests from a person or node to a running policy set."""

    def __init__(
        self, contract: SetContract, controller: Controller, policy: PolicySet | NativeSet
    ) -> None:
        """Connect the controller and its set.

        Args:
            contract: Contract of the set.
            controller: Controller that executes the requests between two ticks.
            policy: The set.
        """
        self._controller, self._policy = controller, policy
        self._silence_ns = None if contract.silence_s is None else round(contract.silence_s * 1e9)
        self._stands_up, self._began_ns = False, 0

    def switch(self, to: str, problems: Sequence[str] = ()) -> None:
        """Request a switch to a state; see `PolicySet.ask`.

        Args:
            to: Name of the state.
            problems: The caller's own reasons to refuse.

        Raises:
            RefusedError: The switch is refused (lists every reason), or a tick hangs.
        """

        def ask() -> None:
            found, mode = list(problems), self._controller.mode
            if mode is not Mode.RUN:
                found.append(f"the mode is {mode.name}, expected RUN")
            if found:
                raise RefusedError(f"switch refused: {'; '.join(found)}")
            self._policy.ask(to)
            self._stands_up = False

        self._controller.request(f"{SWITCH} {to}", ask)

    def stand(self, problems: Sequence[str] = ()) -> None:
        """Stand up, first returning to a state that allows it if the current state does not.

        Args:
            problems: The caller's own reasons to refuse.

        Raises:
            RefusedError: Same as `Controller.stand`.
        """
        if self._controller.mode is not Mode.RUN or self._policy.may_stand or problems:
            self._controller.stand(problems)
        elif not self._stands_up:
            self._controller.request(WAY_BACK, self._policy.go_back)
            self._stands_up = True

    def tick(self, now_ns: int) -> None:
        """Continue the way back to standing, or begin it after `silence_s` without a command.

        Call this after each tick.

        Args:
            now_ns: Time of the tick.

        Raises:
            RefusedError: The robot has completed its way back, but may not stand up now.
        """
        mode = self._controller.mode
        if mode is Mode.RUN:
            if self._stands_up and self._policy.may_stand:
                self._stands_up = False
                self._controller.stand()
            elif not self._stands_up and self._is_silent(now_ns):
                self._began_ns = now_ns  # if refused, the request is repeated after `silence_s`
                self.stand()
        elif mode is not Mode.HOLD:
            self._stands_up, self._began_ns = False, now_ns
            self._policy.stop()

    def _is_silent(self, now_ns: int) -> bool:
        """Return True if no velocity command has arrived in RUN for longer than `silence_s`."""
        if self._silence_ns is None:
            return False
        age_ns = self._controller.inputs[COMMAND].age_ns(now_ns)
        since_ns = now_ns - self._began_ns
        return min(since_ns, since_ns if age_ns is None else age_ns) > self._silence_ns


def _sizes(contract: SetContract, *, orientation: bool) -> dict[str, int]:
    """Return the size of each field that a set needs, by field name."""
    joints = len(contract.joints.names)
    sizes = {"joint_pos": joints, "joint_vel": joints}
    for member in contract.members.values():
        for name, size in MEMBERS[member.contract.kind].sensed_sizes(member.contract).items():
            sizes.setdefault(name, size)
    conditions = [
        transition.when for state in contract.states.values() for transition in state.to.values()
    ]
    needed = list[str]()
    if orientation or any(when.tilt_rad is not None for when in conditions):
        needed += ["quat_xyzw", "gravity_body"]
    if any(when.body_rate_rad_s is not None for when in conditions):
        needed.append("ang_vel_body")
    for name in needed:
        fixed = STATE_FIELDS[name].size
        assert isinstance(fixed, int)
        sizes.setdefault(name, fixed)
    return sizes
