# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Takeover: a person takes over from a chunk policy with a leader arm, and hands control back.

The person's targets are subject to the same limits as the policy's, in `ChunkCommand` and in the
guard. Neither handover begins with a jump. In a takeover, the arm rests until the leader matches
its pose, and at least for as long as a motorized leader is commanded to rest. The target then moves
from the last command to the leader's pose over the handover time. When control is handed back, the
policy begins with a new chunk from a new observation, and is blended in over the handover time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from enum import Enum

import numpy as np

from policy_core import words
from policy_core.bundle.chunk_contract import ChunkContract
from policy_core.bundle.contract import Joints
from policy_core.bundle.state_fields import LEADER, LEADER_POS
from policy_core.control.controller import Controller
from policy_core.control_state import Stateful
from policy_core.errors import NoTargetError, RefusedError
from policy_core.guard.bounds import TargetBounds
from policy_core.guard.joint_check import JointCheck
from policy_core.guard.limits import Limits
from policy_core.interfaces import F64, JointTargets, Mode
from policy_core.members.chunk.policy import ChunkCommand, ChunkPolicy
from policy_core.observation.freshness import Input
from policy_core.observation.state import StateVector

TAKE_OVER, HAND_BACK = "take_over", "hand_back"
"""Request names in recordings."""
_WITHIN_BOUNDS = 0.999
"""Share of the guard's limits that a person may use; below 1, so that rounding causes no fault."""
_LEADER_RADPS = 1.0
"""Maximum speed at which a motorized leader moves to the arm's pose and follows it, rad/s."""
_RESTS_TICKS = 10
"""Number of ticks for which a leader is commanded to rest, when a takeover begins or the leader's
messages resume, before it moves or goes limp; drivers that stopped following require this.
"""

_HAND_RADPS = 7.5
"""Maximum speed of a leader joint moved by hand, rad/s; `JointCheck` allows twice as much."""
_BEYOND_ARM_RAD = 1.0
"""Distance by which a leader may exceed the arm's limits; `JointCheck` allows 0.5 rad more."""
_STILL_S = 5.0
"""Time without any change after which a leader whose pose jumps cannot have been moved by hand: its
driver was repeating an old pose with new stamps.
"""


class Driver(Enum):
    """Source of the arm's targets in RUN."""

    POLICY = "policy"
    HANDOVER = "handover"
    """Neither the policy nor a person: the arm rests until the leader matches the arm's pose."""
    PERSON = "person"
    RETURN = "return"
    """The policy, blended in, starting from the person's last command."""


class PersonTakeover(Stateful):
    """A chunk policy from which a person can take over; implements `Policy`.

    `take_over` and `hand_back` are called between two ticks; `driver` and `off_rad` may be read
    from any thread.

    Attributes:
        driver: Source of the arm's targets.
        off_rad: Leader position minus last command [actions] in the latest tick of a handover; its
            absolute values must fall below the tolerance.
        begins, change: See `Policy`.
        policy: Policy in control until a person takes over.
        leader: Input with the leader's pose.
        joint_names: Joint names of the arm and of its leader.
        joints: Names of the joints in the action.
        tolerance_rad: Maximum distance between a leader joint and the arm's command at which a
            person may take over.
    """

    STATE = (
        "driver",
        "off_rad",
        "begins",
        "change",
        "_ran",
        "_changes",
        "_target",
        "_from",
        "_ticks",
        "_judged_ns",
        "_still_ticks",
        "_check",
        "policy",
    )
    STATE_IN_PLACE = ("_seen",)
    PLAN = (
        "policy",
        "_check",
        "_bounds",
        "_timeout_ns",
        "_blend_ticks",
        "_rate_hz",
        "tolerance_rad",
    )

    def __init__(
        self,
        contract: ChunkContract,
        policy: ChunkPolicy,
        state: StateVector,
        leader: Input,
        limits: Limits,
        clock: Callable[[], int],
        *,
        handover_s: float,
        tolerance_rad: float,
    ) -> None:
        """Start with the policy in control.

        Args:
            contract: Contract of the policy.
            policy: Policy in control until a person takes over.
            state: Has `joint_pos` and `LEADER_POS` [joints], rad.
            leader: Input for the leader's pose; the leader counts as lost if the pose is older than
                the state time-out.
            limits: Limits in force.
            clock: Clock used for the ticks.
            handover_s: Blend time of each handover.
            tolerance_rad: Maximum distance between a leader joint and the arm's command at which a
                person may take over.
        """
        self.action: ChunkCommand = policy.action
        self.tolerance_rad = float(tolerance_rad)
        self.policy, self.leader, self._timeout_ns = policy, leader, limits.state_timeout_ns
        self._clock = clock
        names = self.joint_names = contract.joints.names
        self.joints = contract.action.joints
        self._places = [names.index(name) for name in self.joints]
        self._joint_pos, self._leader_pos = state["joint_pos"], state[LEADER_POS]
        # Finite before the first message; the input records if one has arrived.
        self._leader_pos[:] = contract.stand.position
        self._reach = _leader_reach(contract.joints)
        self._check = JointCheck(replace(contract, joints=self._reach), limits.state_timeout_ns)
        self._judged_ns = 0
        self._seen, self._still_ticks = self._leader_pos.copy(), 0
        self._rate_hz = contract.rate_hz
        self._at_rest = np.zeros_like(self._joint_pos)
        self._bounds = TargetBounds(contract, policy.action, _WITHIN_BOUNDS * limits.margin)
        self._blend_ticks = max(1, math.ceil(handover_s * contract.rate_hz))
        self.off_rad: F64 = np.zeros(len(self.joints))
        self.begins, self._ran = True, False
        self.change = self._changes = ""
        self.driver = Driver.POLICY
        self._target: F64 = policy.action.target
        self._from: F64 = self._target
        self._ticks = 0

    @property
    def chunk_policy(self) -> ChunkPolicy:
        """The policy that executes the chunks.

        Named as in `MemberPolicy`, so that callers can use either.
        """
        return self.policy

    @property
    def person_drives(self) -> bool:
        """True if the targets come from the person."""
        return self.driver is Driver.PERSON

    @property
    def awaits_leader(self) -> str:
        """What the person must do: move leader joints that are far from the arm, or check a driver.

        Empty if the leader is near the arm and moves.
        """
        if self.driver is Driver.PERSON and self._still_s > _STILL_S:
            return (
                f"the leader has not moved for {self._still_s:.0f} s, and neither has the arm; if "
                "a person is moving the leader, its driver is frozen"
            )
        if self.driver is not Driver.HANDOVER:
            return ""
        far = [
            f"{name} {off:+.2f}"
            for name, off in zip(self.joints, self.off_rad, strict=True)
            if abs(off) > self.tolerance_rad
        ]
        if not far:
            return ""
        return (
            f"move the leader to the arm: {', '.join(far)} rad off, expected at most "
            f"{self.tolerance_rad:g}"
        )

    def leader_problem(self, now_ns: int) -> str:
        """Return the reason why the leader's pose is unknown; "" if it is known."""
        age_ns = self.leader.age_ns(now_ns)
        if age_ns is not None and age_ns <= self._timeout_ns:
            return ""
        why = self.leader.describe(now_ns)
        if age_ns is None:
            return why
        return words.LEADER_SILENT.format(input=why, limit=self._timeout_ns * 1e-6)

    def leader_pose(self, now_ns: int) -> F64 | None:
        """Return the leader's pose [joints], rad; None if it is unknown or out of range.

        Unchecked, a pose in degrees would drive a motorized leader beyond its joint range.
        """
        reach, pose = self._reach, self._leader_pos
        within = (reach.position_min <= pose) & (pose <= reach.position_max)
        return pose if within.all() and not self.leader_problem(now_ns) else None

    def take_over(self, mode: Mode) -> None:
        """Stop the arm now, and follow the leader as soon as it matches the arm.

        Args:
            mode: Mode of the controller.

        Raises:
            RefusedError: The policy is not running, a person has already taken over, or the
                leader's pose is unknown or implausible.
        """
        _require_running(TAKE_OVER, mode)
        if self.driver in (Driver.HANDOVER, Driver.PERSON):
            raise RefusedError(
                f"{TAKE_OVER} refused: a person has already taken over ({self.driver.value}); "
                f"{HAND_BACK} lets the policy drive again"
            )
        now_ns = self._clock()
        if problem := self.leader_problem(now_ns):
            raise RefusedError(f"{TAKE_OVER} refused: {problem}; is the leader arm's node running?")
        if problem := self._begin_judging(now_ns):
            raise RefusedError(f"{TAKE_OVER} refused: {problem}")
        self._seen[:], self._still_ticks = self._leader_pos, 0
        self._begin(Driver.HANDOVER, words.TAKES_OVER)

    def hand_back(self, mode: Mode) -> None:
        """Give control back to the policy, which begins with a new chunk from a new observation.

        Args:
            mode: Mode of the controller.

        Raises:
            RefusedError: The policy is not running, or no person has taken over.
        """
        _require_running(HAND_BACK, mode)
        if self.driver in (Driver.POLICY, Driver.RETURN):
            raise RefusedError(f"{HAND_BACK} refused: the policy is already driving")
        self._begin(Driver.RETURN, words.HANDS_BACK)

    def reset(self) -> None:
        """Clear all memory, and put the policy in control."""
        self.driver = Driver.POLICY
        self.begins, self._ran = True, False
        self.change = self._changes = ""
        self.policy.reset()

    def pause(self, duration_ns: int) -> None:
        """Do not count an interval in which the arm was held; the leader must then match again."""
        self.policy.pause(duration_ns)
        if duration_ns > 0 and self.driver is Driver.HANDOVER:
            self._ticks = 0
        elif duration_ns > 0 and self.driver is Driver.PERSON:
            self._rest(words.WAS_HELD)

    def infer(self) -> bool:
        """Select this tick's target; return True if it is finite.

        Raises:
            NoTargetError: The policy has no target, or the leader has dropped out.
            BackendError: The policy has no target, because a runtime failed.
        """
        policy, self.begins = self.policy, not self._ran
        if self.driver in (Driver.POLICY, Driver.RETURN):
            finite = policy.infer()
            if finite and self.driver is Driver.RETURN:
                policy.target = self._blended(policy.target)
            return finite
        now_ns = policy.stand_by()
        if problem := self.leader_problem(now_ns) or self._judged(now_ns):
            raise NoTargetError(words.DROPPED_OUT.format(why=problem))
        leader = self._leader_pos[self._places]
        self._watch_still(leader)
        if self.driver is Driver.HANDOVER:
            self.off_rad = leader - self.action.target
            far = bool((np.abs(self.off_rad) > self.tolerance_rad).any())
            if far or self._ticks < _RESTS_TICKS:
                self._target = self._bounded(self.action.target)
                return True
            self._begin_blend(Driver.PERSON, words.PERSON_DRIVES)
        self._target = self._blended(leader)
        return True

    def commit(self) -> F64:
        """Execute the target; return the command [joints], rad."""
        self._ran = True
        self.change, self._changes = self._changes, ""
        if self.driver in (Driver.POLICY, Driver.RETURN):
            command = self.policy.commit()
            self._ticks += 1
            if self.driver is Driver.RETURN and self._ticks >= self._blend_ticks:
                self.driver, self._changes = Driver.POLICY, words.POLICY_DRIVES
            return command
        self.action.set(self._target, self._joint_pos)
        self._ticks += 1
        return self.action.command

    def _begin(self, driver: Driver, change: str) -> None:
        """Switch to a different driver, and discard the policy's plan."""
        command = self.action.command.copy()
        self.policy.reset()
        self.action.command[:] = command
        if driver is Driver.HANDOVER:
            self._rest(change)
        else:
            self._begin_blend(driver, change)

    def _rest(self, change: str) -> None:
        self.driver, self._changes = Driver.HANDOVER, change
        self._ticks = 0
        self.off_rad = self._leader_pos[self._places] - self.action.target

    def _judged(self, now_ns: int) -> str:
        """Return the reason why the leader's pose is implausible; "" if it is plausible."""
        if now_ns - self._judged_ns > self._timeout_ns:
            # The leader was silent or the arm was held: the leader must match again, wherever it
            # is.
            return self._begin_judging(now_ns)
        self._judged_ns = now_ns
        problem = self._check.problem(self._leader_pos, None, now_ns)
        return words.LEADER.format(leader=self.leader.name, why=problem) if problem else ""

    def _begin_judging(self, now_ns: int) -> str:
        """Trust the leader's pose if it is within a leader's range; otherwise, return why not."""
        self._judged_ns = now_ns
        self._check.forget()
        problem = self._check.problem(self._leader_pos, None, now_ns)
        if self._check.doubted is None:
            return words.LEADER_IN_RAD.format(leader=self.leader.name, why=problem)
        self._check.believe(self._leader_pos, now_ns)
        return ""

    @property
    def _still_s(self) -> float:
        """Time since the leader last moved at all, s."""
        return self._still_ticks / self._rate_hz

    def _watch_still(self, leader: F64) -> None:
        """Stop the arm if the leader's pose jumps after a long time without motion."""
        if (self._leader_pos == self._seen).all():
            self._still_ticks += 1
            return
        off_rad = float(np.abs(leader - self._seen[self._places]).max())
        if self._still_s > _STILL_S and off_rad > self.tolerance_rad:
            self._rest(words.FROZEN_LEADER.format(a=self._still_s, b=off_rad))
        self._seen[:], self._still_ticks = self._leader_pos, 0

    def _begin_blend(self, driver: Driver, change: str) -> None:
        self.driver, self._changes = driver, change
        self._from, self._ticks = self.action.target, 0

    def _blended(self, wanted: F64) -> F64:
        """Return this tick's target [actions], blended from the last driver's command."""
        passed = min(1.0, (self._ticks + 1) / self._blend_ticks)
        share = passed * passed * (3.0 - 2.0 * passed)
        return self._bounded(self._from + share * (wanted - self._from))

    def _bounded(self, wanted: F64) -> F64:
        """Return a target [actions], clipped to the guard's bounds.

        The arm therefore lags behind a fast leader, and yields when pushed; neither causes a
        fault.
        """
        command = self.action.command.copy()
        self._bounds.count_from(command)
        command[self._places] = wanted
        self._bounds.apply(command, self._joint_pos, self._at_rest)
        return command[self._places]


def _leader_reach(joints: Joints) -> Joints:
    """Return limits for the leader, whose joints move faster and farther by hand than the arm's."""
    return replace(
        joints,
        position_min=joints.position_min - _BEYOND_ARM_RAD,
        position_max=joints.position_max + _BEYOND_ARM_RAD,
        velocity_limit=np.full_like(joints.velocity_limit, _HAND_RADPS),
    )


class TakeoverRequests:
    """A person's requests to take over from a chunk policy, and to hand control back.

    Attributes:
        person: The takeover; None if no person may take over.
    """

    def __init__(self, controller: Controller, person: PersonTakeover | None) -> None:
        """Connect the controller and its takeover.

        Args:
            controller: Controller that executes the requests between two ticks.
            person: See the attribute.
        """
        self._controller, self.person = controller, person

    def take_over(self) -> None:
        """Let a person take control once the leader matches the arm.

        Raises:
            RefusedError: Same as `PersonTakeover.take_over`, or a tick hangs.
        """
        person, controller = self._require_person(TAKE_OVER), self._controller
        controller.request(TAKE_OVER, lambda: person.take_over(controller.mode))

    def hand_back(self) -> None:
        """Give control back to the policy.

        Raises:
            RefusedError: Same as `PersonTakeover.hand_back`, or a tick hangs.
        """
        person, controller = self._require_person(HAND_BACK), self._controller
        controller.request(HAND_BACK, lambda: person.hand_back(controller.mode))

    def awaited(self, name: str) -> str:
        """Return what a takeover waits for, if `name` is the leader's input; otherwise ""."""
        if self.person is None or name != LEADER.name:
            return ""
        return self.person.awaits_leader if self._controller.mode in (Mode.RUN, Mode.HOLD) else ""

    def _require_person(self, request: str) -> PersonTakeover:
        if self.person is None:
            raise RefusedError(
                f"{request} refused: expected takeover:=true, found false; restart the node with it"
            )
        return self.person


class LeaderGuide:
    """Commands a motorized leader: it moves to the arm's pose, and goes limp while a person drives.

    A leader whose motors cannot be controlled, or which has none, does not follow commands: a
    person must move it to the arm's pose.
    """

    def __init__(self, contract: ChunkContract) -> None:
        """Start without knowing the leader's pose."""
        joints = contract.joints
        self._targets = JointTargets(len(joints.names))
        self._targets.effort_limit[:] = joints.effort_limit
        self._gains: F64 = np.stack([joints.stiffness, joints.damping])
        self._stride = np.minimum(joints.velocity_limit, _LEADER_RADPS) / contract.rate_hz
        self._rests = 0
        self._limp = True
        self._driver: Driver | None = None

    def targets(
        self, mode: Mode, driver: Driver, arm: F64, leader: F64 | None
    ) -> JointTargets | None:
        """Return the leader's command for this tick; None for no command.

        Args:
            mode: Mode of the controller.
            driver: Source of the arm's targets.
            arm: The arm's command [joints], rad.
            leader: The leader's pose [joints], rad; None if unknown.
        """
        targets = self._targets
        if leader is None:
            self._rests = 0
            return None
        if driver is Driver.HANDOVER and self._driver is not driver:
            self._rests = 0
        self._driver = driver
        if self._rests == 0 or self._limp:
            targets.position[:] = leader
        rests = self._rests < _RESTS_TICKS
        runs = mode in (Mode.RUN, Mode.HOLD) and not rests
        self._rests += rests
        self._limp = runs and driver is Driver.PERSON
        targets.block[3:5] = 0.0 if self._limp else self._gains
        targets.mode = Mode.RUN if runs else Mode.DAMP
        if runs and not self._limp:
            targets.position += np.clip(arm - targets.position, -self._stride, self._stride)
        return targets


def _require_running(request: str, mode: Mode) -> None:
    if mode not in (Mode.RUN, Mode.HOLD):
        raise RefusedError(
            f"{request} refused: the mode is {mode.name}, expected RUN; request stand, then run"
        )
