# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy set as one policy: in each state, some of the members are in command.

Each tick of a set decides on a requested switch, runs the members in command, and joins their
targets. In the tick of a switch, the entering members run first; if one of them fails, the switch
is refused and the robot continues unchanged. Otherwise, targets and gains are blended, and the
leaving members keep running until the blend ends.
"""

from __future__ import annotations

import math
import reprlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from policy_core import words
from policy_core.bundle.set_contract import SetContract
from policy_core.control_state import Stateful, Tree
from policy_core.errors import BackendError, NoTargetError, RefusedError
from policy_core.interfaces import F64, Command
from policy_core.observation.state import StateVector
from policy_core.sets.member import JoinedTargets, MemberPolicy
from policy_core.sets.state import CommandingState


class SetReport(NamedTuple):
    """Status of a policy set.

    Attributes:
        state: State in command.
        is_blending: True until the switch to that state is complete.
        asked: Requested state that has not been entered yet; "" if none.
        refused: Why the last request was refused or the current one is waiting; may be empty.
        switches, fallbacks: Number of switches, and of fallbacks, since the set was opened.
        last: The last switch: old state, new state, reason; empty if there was none.
        step_ratio: Largest target step of any joint in the last switch, relative to the largest
            step in healthy runs of both states; 0 if unknown.
    """

    state: str
    is_blending: bool
    asked: str
    refused: str
    switches: int
    fallbacks: int
    last: tuple[str, ...]
    step_ratio: float


class AskedAt:
    """Clock of a set's members, ns: the time of inference, the same for all members in a tick."""

    def __init__(self) -> None:
        """Start at 0."""
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


class _Request(NamedTuple):
    """A requested state, which waits for its conditions for at most `ticks`; None means forever."""

    to: str
    why: str
    ticks: int | None
    timeout_state: str | None


class PolicySet(Stateful):
    """Runs a set's members; implements `Policy`.

    `ask` and `go_back` are called between two ticks, by `Controller.request`; `report` may be read
    from any thread. `members` holds all members by name. `refusals` describes the latest requests
    that ticks refused, oldest first, to be popped from the left; `change` describes the switch
    that the last `commit` began.
    """

    STATE = (
        "action",
        "begins",
        "change",
        "members",
        "_from",
        "_blend_ticks",
        "_blended_ticks",
        "_settled",
        "_ticks",
        "_ticks_in_state",
        "_unanswered",
        "_returning",
        "_refused",
        "_entered",
        "_switches",
        "_fallbacks",
        "_last",
        "_step_ratio",
        "_infer_ns",
        "_left_ns",
    )

    def __init__(
        self,
        contract: SetContract,
        members: Mapping[str, MemberPolicy],
        targets: JoinedTargets,
        state: StateVector,
        clock: Callable[[], int],
        asked: AskedAt,
    ) -> None:
        """Prepare all states and transitions; begin in the initial state.

        Args:
            contract: Contract of the set.
            members: Members by name; their commands are views of `targets`.
            targets: Last targets of all members.
            state: The set's state.
            clock: Same as for `Controller`.
            asked: The members' clock.
        """
        self._clock, self._asked = clock, asked
        self._infer_ns = self._left_ns = 0
        """Inference time in the last tick: of all members, and of the leaving members only."""
        self.members, self._members = members, [*members.values()]
        self._watching = [member for member in self._members if member.watches]
        self._flat, self._stand, self._rate_hz = targets.flat, targets.stand, contract.rate_hz
        self.states = {
            name: CommandingState(name, contract, members, targets, state)
            for name in contract.states
        }
        self._initial = self.states[contract.initial]
        rows = self._initial.rows
        self.action = Command(contract.kinds, rows.gains[0], rows.gains[1], rows.healthy)
        joints = len(contract.joints.names)
        self._before, self._step = np.zeros((2, joints))
        self._from = Command(contract.kinds, rows.gains[0], rows.gains[1], rows.healthy)
        self._scaled_gains: F64 = np.zeros((2, joints))
        self._blend_ticks = self._blended_ticks = 0
        self._settled = False
        self.refusals = deque[str](maxlen=100)
        self._switches = self._fallbacks = 0
        self._last: tuple[str, ...] = ()
        self._step_ratio = 0.0
        self.begins = True
        self.reset()

    def reset(self) -> None:
        """Clear all memory, and begin in the initial state; the last command is the stand pose.

        If the first tick fails, the state's fallback is blended in from the stand pose.
        """
        initial = self._initial.rows
        self.action.command[...] = self._stand
        self.action.gains[...] = initial.gains
        self.action.healthy[...] = initial.healthy
        for member in self._members:
            member.reset()
        self._state = self._initial
        self._left: CommandingState | None = None
        self._set_running(self._initial.members)
        self._settle()
        self._ticks = self._ticks_in_state = 0
        self._unanswered, self._returning = False, False
        self._request: _Request | None = None
        self._refused = self.change = self._entered = ""

    def plan(self) -> dict[str, Any]:
        """Return the configuration for the native core: members and states, numbered."""
        members, states = [*self.members], [*self.states]
        return {
            "action": self.action.plan(),
            "flat": self._flat,
            "stand": self._stand,
            "members": [member.plan() for member in self._members],
            "states": [state.plan(members, states) for state in self.states.values()],
            "initial": states.index(self._initial.name),
        }

    def saved(self) -> dict[str, Any]:
        """Return a copy of the memory of the set and its members."""
        left, request = self._left, self._request
        return {
            **super().saved(),
            "state": self._state.name,
            "left": None if left is None else left.name,
            "request": None if request is None else (*request,),
        }

    def restore(self, saved: Tree) -> None:
        """Restore the saved memory of a set with the same contract."""
        super().restore(saved)
        self._state = self.states[saved["state"]]
        self._left = None if saved["left"] is None else self.states[saved["left"]]
        self._request = None if saved["request"] is None else _Request(*saved["request"])
        left = [] if self._left is None else self._left.members
        self._running = [each for each in self._members if each in [*self._state.members, *left]]
        self._resting = [each for each in self._watching if each not in self._running]

    def pause(self, duration_ns: int) -> None:
        """Do not count an interval in which the last targets were held."""
        for member in self._running:
            member.pause(duration_ns)

    @property
    def asked_ns(self) -> int:
        """Time at which the members last ran."""
        return self._asked.now_ns

    @property
    def report(self) -> SetReport:
        """Current status of the set; see `SetReport`."""
        request = self._request
        return SetReport(
            state=self._state.name,
            is_blending=self._blend_ticks > 0,
            asked="" if request is None else request.to,
            refused=self._refused,
            switches=self._switches,
            fallbacks=self._fallbacks,
            last=self._last,
            step_ratio=self._step_ratio,
        )

    def commands(self, member: MemberPolicy) -> bool:
        """Return True if a member is in command in the current state."""
        return member in self._state.members

    @property
    def may_stand(self) -> bool:
        """True if the robot may stand up now: the state allows it, and no switch is under way."""
        return self._state.stated.stand and not self._blend_ticks

    def ask(self, to: str) -> None:
        """Request a switch to a state, which the next tick begins if the conditions hold.

        Raises:
            RefusedError: The state is the current state, no transition leads to it, or the
                conditions do not hold and the transition does not wait for them.
        """
        state = self._state
        if to == state.name:
            raise RefusedError(words.SAME_STATE.format(to=to))
        if to not in state.stated.to:
            known = ", ".join(state.stated.to) or "none"
            raise RefusedError(
                words.NO_TRANSITION.format(state=state.name, known=known, found=reprlib.repr(to))
            )
        transition = state.stated.to[to]
        waits = transition.otherwise == "wait"
        if not waits and (problems := self._problems(to)):
            raise RefusedError(words.SWITCH_REFUSED.format(to=to, problems="; ".join(problems)))
        if self._request is not None and self._request.to != to:
            self.refusals.append(words.INSTEAD.format(to=self._request.to, other=to))
        ticks = state.waiting_ticks[to] if waits else 1
        self._request = _Request(to, words.WHY[0], ticks, transition.timeout_state)
        self._returning, self._refused = False, ""

    def go_back(self) -> None:
        """Begin returning to a state with `stand`; each switch waits for its conditions."""
        self._returning, self._request = True, None

    def stop(self) -> None:
        """Cancel requests and any blend, because the robot leaves RUN."""
        self._request, self._returning = None, False
        self._settle()

    def infer(self) -> bool:
        """Run the members in command; return True if all results are finite.

        Raises:
            BackendError: A runtime failed, and the state has no fallback.
            NoTargetError: A member has had no target for too long, and the state has no fallback.
        """
        began_ns = self._asked.now_ns = self._clock()
        self.begins = self._ticks == 0
        for member in self._resting:
            if member.is_due:
                member.follow(self.action.command)
        if self._unanswered:
            for member in self._members:
                member.drop_answer()
            self._act_on_lateness()
        self._unanswered, self._left_ns = True, 0
        try:
            self._decide()
            return self._run()
        finally:
            self._infer_ns = self._clock() - began_ns

    def commit(self) -> F64:
        """Use the members' results in this tick, and return the joined command [joints]."""
        self._unanswered = False
        self.change, self._entered = self._entered, ""
        clipped: tuple[str, ...] = ()
        for member in self._running:
            clipped = member.commit() or clipped
        for member in self._resting:
            member.rest()
        action = self.action
        action.clipped = clipped
        action.is_rescaled = False
        if self._blend_ticks or self._state.held.size:
            self._before[...] = action.command
        if self._blend_ticks:
            self._blend()
        else:
            self._flat.take(self._state.sources, None, action.command, "clip")
            self._bound_held()
            if not self._settled:
                self._settled = True
                action.gains[...] = self._state.rows.gains
                action.healthy[...] = self._state.rows.healthy
                action.is_rescaled = True
        self._ticks += 1
        self._ticks_in_state += 1
        return action.command

    def _decide(self) -> None:
        """Begin the requested switch if its conditions hold."""
        request = self._request
        if request is None:
            request = self._own_request()
            if request is None:
                return
        self._request = request
        problems = self._problems(request.to)
        if not problems:
            entering = [
                member for member in self.states[request.to].members if member not in self._running
            ]
            if any(member.member.is_followed and not member.is_due for member in entering):
                return  # a followed member keeps its rhythm; it is due in one of the next ticks
            problems = self._entering_problems(request.to, entering)
            if problems:
                for member in entering:
                    member.drop_answer()
        if not problems:
            blend_ticks = self._state.blend_ticks[request.to]
            self._enter(self.states[request.to], request.why, blend_ticks)
            return
        self._refused = words.SWITCH.format(to=request.to, problems="; ".join(problems))
        if request.ticks is not None:
            self._request = request._replace(ticks=request.ticks - 1)
            if request.ticks <= 1:
                self._give_up(request)

    def _own_request(self) -> _Request | None:
        """Return the set's own request (on the way back, or because the state ends), or None."""
        stated = self._state.stated
        if self._returning:
            if stated.way_back is None:
                self._returning = False
                return None
            return _Request(stated.way_back, words.WHY[1], None, None)
        if stated.ends is None or not self._state.ends_now(self._ticks_in_state):
            return None
        return _Request(stated.ends.to, words.WHY[2], None, None)

    def _give_up(self, request: _Request) -> None:
        """Cancel a request that has waited too long, and request its time-out state."""
        self._request = None
        self.refusals.append(words.GIVEN_UP.format(refusal=self._refused, state=self._state.name))
        if request.timeout_state is not None:
            self._request = _Request(request.timeout_state, words.WHY[3], None, None)

    def _problems(self, to: str) -> list[str]:
        """Return the reasons why a switch cannot begin now, before the entering members run."""
        if self._blend_ticks:
            return [words.STILL_BLENDING.format(state=self._state.name)]
        return self._state.checks[to].problems(self._ticks_in_state)

    def _entering_problems(self, to: str, entering: Sequence[MemberPolicy]) -> list[str]:
        """Run the entering members; return the reasons why they cannot enter."""
        state, check = self.states[to], self._state.checks[to]
        for member in entering:
            member.enter(self.action.command)
            try:
                finite = member.infer()
            except (BackendError, NoTargetError) as error:
                return [words.OF_MEMBER.format(member=member.name, why=error)]
            target = member.first_target() if finite else None
            if target is None or not math.isfinite(target.dot(target)):
                return [words.OF_MEMBER.format(member=member.name, why=words.MEMBER_NOT_FINITE)]
            member.command[:] = target
        if not check.needs_target:
            return []
        return check.target_problems(self._flat.take(state.sources))

    def _enter(self, state: CommandingState, why: str, blend_ticks: int) -> None:
        """Enter a state: its members are in command from this tick on."""
        before = self._state
        self._left = before if not self._blend_ticks else None
        if self._left is None:
            self._freeze()
        else:
            self._from.gains[...] = before.rows.gains
            self._from.healthy[...] = before.rows.healthy
        self._state = state
        left = [] if self._left is None else self._left.members
        self._set_running([*state.members, *left])
        self._blend_ticks = blend_ticks
        self._blended_ticks, self._ticks_in_state = 0, 0
        self._request, self._refused, self._step_ratio = None, "", 0.0
        self._switches += 1
        self._last = (before.name, state.name, why)
        self._entered = words.SWITCHED.format(begin=before.name, end=state.name, why=why)

    def _freeze(self) -> None:
        """Make the blend start from the last command; the members that produced it stop running."""
        self._left = None
        self._from.command[...] = self.action.command
        self._from.gains[...] = self.action.gains
        self._from.healthy[...] = self.action.healthy

    def _bound_held(self) -> None:
        """Limit the steps of held joints: no member limits them, and the blend may be too short."""
        held = self._state.held
        if held.size:
            before, command = self._before[held], self.action.command
            command[held] = before + np.clip(command[held] - before, *self._state.held_bounds)

    def _set_running(self, running: Sequence[MemberPolicy]) -> None:
        """Run only these members from now on; drop pending results of all other members."""
        self._running = [member for member in self._members if member in running]
        self._resting = [member for member in self._watching if member not in running]
        for member in self._members:
            if member not in running:
                member.drop_answer()

    def _settle(self) -> None:
        """End any blend; from the next tick on, the state's own gains and healthy values apply."""
        self._blend_ticks = self._blended_ticks = 0
        self._settled = False

    def _fall_back(self, why: str) -> bool:
        """Enter the state's fallback from the last command; return False if there is none."""
        name = self._state.stated.fallback
        if name is None:
            return False
        state = self.states[name]
        for member in state.members:
            if member not in self._running:
                member.enter(self.action.command)
            member.run_now()
        failed, blend_ticks = self._state.name, self._state.fallback_blend_ticks
        # Lets `_enter` blend from the last command, since a member that produced it has failed.
        self._blend_ticks = 1
        self._enter(state, words.FAILED.format(state=failed, why=why), blend_ticks)
        self._fallbacks += 1
        return True

    def _act_on_lateness(self) -> None:
        """After a late tick, drop the leaving members or enter the fallback.

        The leaving members are dropped if they took most of the time, or if there is no fallback. A
        late member may be in command again in the fallback.
        """
        is_left = 2 * self._left_ns > self._infer_ns
        if self._left is not None and (is_left or self._state.stated.fallback is None):
            self._leave_out()
        else:
            self._fall_back(words.MEMBER_LATE)

    def _leave_out(self) -> None:
        """Continue a blend without the leaving members."""
        self._freeze()
        self._blend_ticks, self._blended_ticks = self._blend_ticks - self._blended_ticks, 0
        self._set_running(self._state.members)

    def _run(self) -> bool:
        """Run the members in command, or, if one fails, the fallback's; return False if all failed.

        Raises:
            BackendError: A runtime failed, and no fallback is left.
            NoTargetError: A member has had no target for too long, and no fallback is left.
        """
        tried: set[str] = set()
        while True:
            failed: BackendError | NoTargetError | None = None
            try:
                finite = self._infer_all()
            except (BackendError, NoTargetError) as error:
                finite, failed = False, error
            if finite:
                return True
            tried.add(self._state.name)
            to_try = self._state.stated.fallback
            if to_try is None or to_try in tried:
                if failed is not None:
                    raise failed
                return False
            self._fall_back(str(failed or words.MEMBER_NOT_FINITE))

    def _infer_all(self) -> bool:
        """Run the members that are due; return True if the state's members have finite results.

        Raises:
            BackendError: The runtime of one of the state's members failed.
            NoTargetError: One of the state's members has had no target for too long.
        """
        for member in self._state.members:
            if member.is_due and not member.has_answered and not member.infer():
                return False
        if self._left is not None:
            began_ns = self._clock()
            self._infer_left(self._left)
            self._left_ns += self._clock() - began_ns
        return True

    def _infer_left(self, left: CommandingState) -> None:
        """Run the leaving members that are due; if one fails, drop all of them."""
        for member in left.members:
            if member in self._state.members or not member.is_due or member.has_answered:
                continue
            try:
                finite = member.infer()
            except (BackendError, NoTargetError):
                finite = False
            if not finite:
                self._leave_out()
                return

    def _blend(self) -> None:
        """Blend the state's targets and gains with those of the leaving members."""
        action, state, left = self.action, self._state, self._from
        self._blended_ticks += 1
        share = self._blended_ticks / self._blend_ticks
        self._flat.take(state.sources, None, action.command, "clip")
        if self._left is not None:
            self._flat.take(self._left.sources, None, left.command, "clip")
        if share < 1.0:
            np.multiply(action.command, share, action.command)
            np.multiply(left.command, 1.0 - share, self._step)
            action.command += self._step
        self._bound_held()
        np.multiply(state.rows.gains, share, action.gains)
        np.multiply(left.gains, 1.0 - share, self._scaled_gains)
        action.gains += self._scaled_gains
        np.maximum(state.rows.healthy, left.healthy, out=action.healthy)
        action.is_rescaled = True
        np.subtract(action.command, self._before, self._step)
        np.absolute(self._step, self._step)
        np.divide(self._step, action.healthy[1], self._step)
        self._step_ratio = max(self._step_ratio, float(self._step.max()))
        if share >= 1.0:
            self._left = None
            self._set_running(state.members)
            self._settle()
