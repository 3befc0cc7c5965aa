# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Control path: modes and guard around a policy, one call per tick, without ROS."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from policy_core import words
from policy_core.bundle.body import Body
from policy_core.control.authority import AuthorityRequest, Rest, refused
from policy_core.control.motions import SafeTargets, Stand
from policy_core.control.prechecks import MotionPrechecks
from policy_core.control.run import Run
from policy_core.control.tick import EndStep, RunVerdict, Tick
from policy_core.control_state import ControlState, Stateful, Tree
from policy_core.errors import BackendError, NoTargetError, RefusedError
from policy_core.guard.bounds import CLIPPED_TICKS_LIMIT, Rule, StepBound, Trip
from policy_core.guard.command import CommandFader
from policy_core.guard.joint_check import JointCheck
from policy_core.guard.limits import Limits, effort_limit
from policy_core.interfaces import JointTargets, Mode, Policy
from policy_core.observation.freshness import Input
from policy_core.observation.state import StateVector

FADE_COMMAND = "fade_command"
"""Name of the fade request in recordings."""
LOCK_TIMEOUT_S = 0.5
TICK_HANGS = "a tick has not returned; the back end hangs"
RESTART = "a tick still hangs in the back end; restart the process"


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerStatus:
    """Status of the controller."""

    mode: Mode
    reason: str
    latched: bool
    authority: float
    """The policy's smallest share in any joint's command, 0 to 1."""
    counters: dict[str, int]


class Controller(Stateful):
    """Runs a policy under the guard, with the modes DAMP, STAND, READY, RUN and HOLD.

    `tick` and all writes to `state`, `inputs` and `command` belong to the control thread; requests
    and `snapshot` may be called from any thread. `edges` holds the latest mode changes with their
    reasons and times (ns), which a logging thread pops from the left; `latest_tick` holds all other
    public results of a tick.
    """

    _BODY: ClassVar[tuple[str, ...]] = (
        "mode",
        "_reason",
        "_latched",
        "_estop",
        "_estop_noted",
        "_driver_stopped",
        "_counters",
        "_last_tick_ns",
        "_commanded_by",
        "_stand",
        "_safe",
        "_step",
        "_held",
        "_held_mode",
        "_hold_began_ns",
        "_held_until_ns",
        "joint_check",
    )
    STATE = (*_BODY, "state", "inputs", "command", "_run")
    PLAN = (
        "limits",
        "_fitness",
        "state",
        "command",
        "_run",
        "_stand",
        "_step",
        "_safe",
        "joint_check",
    )

    def __init__(
        self,
        body: Body,
        policy: Policy,
        state: StateVector,
        inputs: Mapping[str, Input],
        command: CommandFader,
        limits: Limits,
        clock: Callable[[], int],
    ) -> None:
        """Connect the parts; no command is sent before the first tick.

        Args:
            body: The robot's side of the contract.
            policy: The policy for RUN.
            state: Measured state; has `joint_pos` [joints].
            inputs: Ages of the state's inputs and of the policy's other inputs, by topic.
            command: The operator's command; writes nothing if the policy accepts none.
            limits: Limits in force.
            clock: The clock that `now_ns` comes from, read again after inference. Simulated time
                stands still during a tick, so a slow machine does not change the result.
        """
        self.limits, self._clock = limits, clock
        self._longest_gap_ns = limits.longest_gap_ns
        self.state, self.inputs, self.command = state, inputs, command
        efforts = effort_limit(body, limits)
        self._stand = Stand(body, efforts)
        self._step = StepBound(body)
        self._safe = SafeTargets(
            body, efforts, state.get("joint_vel"), self._step, limits.state_timeout_ns
        )
        self.latest_tick = Tick(state, inputs, policy.action.command, self.control_state)
        self.policy = policy
        self._run = Run(body, policy, state, self._stand, limits, efforts, self.latest_tick)
        self._joint_pos = state["joint_pos"]
        self.joint_check = JointCheck(body, limits.state_timeout_ns)
        self._fitness = MotionPrechecks(body, state, inputs, limits.max_tilt_rad)
        self._counters = dict.fromkeys(Rule, 0)
        self._pose_source = self.inputs["joint_states"]
        # Second of three locks, inside ControlLoop's; see "Locks" in docs/architecture.md.
        self._lock = threading.Lock()
        # Each press creates a new object, so a reset never clears a press that it has not seen.
        self._estop: tuple[str] | None = None
        self._estop_noted = False
        self._driver_stopped = ""
        self.mode = Mode.DAMP
        self.edges: deque[tuple[Mode, str, int]] = deque(maxlen=100)
        self._reason, self._latched = words.STARTED, False
        self._granted_since = list[tuple[str, int]]()
        self._last_tick_ns: int | None = None
        self._held_mode, self._hold_began_ns, self._held_until_ns = Mode.DAMP, 0, 0
        # Each targets object has one owner and so one mode at a time: `_safe` is for DAMP only, and
        # HOLD has an object of its own.
        self._motions = {"stand": self._stand.targets, "run": self._run.targets}
        self._commanded_by = ""
        """The motion that last issued a command; empty in DAMP, and before the first motion."""
        self._held = JointTargets(len(body.joints.names))
        self._held.mode = Mode.HOLD

    def start(self) -> None:
        """Discard all knowledge of the robot; called on each activation, in DAMP.

        With `hold_measured`, no command is sent before `damp` or `stand`.
        """
        if not self._latched:
            self._reason = words.STARTED
        self._granted_since.clear()
        self._driver_stopped = ""
        self._safe.forget()
        self._step.forget()
        self.joint_check.forget()
        for entry in self.inputs.values():
            entry.reset()

    def tick(self, now_ns: int, next_deadline_ns: int) -> JointTargets | None:
        """Return the targets for this tick; None for no command (see `start`).

        Args:
            now_ns: Current time from the steady clock, or simulated time.
            next_deadline_ns: Time of the next tick; a result that arrives after it is too late.
        """
        with self._lock:
            gap_ns = now_ns - (now_ns if self._last_tick_ns is None else self._last_tick_ns)
            self._last_tick_ns = now_ns
            tick = self.latest_tick
            tick.now_ns, tick.granted, tick.asked, tick.taken = now_ns, (), False, False
            if self._granted_since:
                tick.granted = tuple(self._granted_since)
                self._granted_since.clear()
            self._act_on_estop()
            self._act_on_driver()
            targets = self._tick(now_ns, next_deadline_ns, gap_ns)
            # The e-stop may have been pressed while the policy ran.
            if self._act_on_estop():
                targets = self.safe_targets()
            self._bound(targets)
            tick.mode, tick.reason, tick.targets = self.mode, self._reason, targets
            return targets

    def _bound(self, targets: JointTargets | None) -> None:
        """Limit this tick's position step, whatever the source of the targets."""
        if targets is None:
            self._step.forget()
            return
        self._step.apply(targets)
        if self.mode is not Mode.DAMP:
            self._safe.note(targets)

    def control_state(self) -> ControlState:
        """Return a copy of the control path's full state, taken between two ticks.

        Raises:
            RefusedError: A tick hangs.
        """
        with self._between_ticks():
            return ControlState(tree=self.saved())

    def plan(self) -> dict[str, Any]:
        """Return the native core's configuration, with the inputs in order."""
        return {
            **super().plan(),
            "inputs": [each.plan() for each in self.inputs.values()],
        }

    def go_on_from(self, state: ControlState) -> None:
        """Continue, bit for bit, from the state of a controller with the same contract and limits.

        Raises:
            KeyError, TypeError, ValueError: The state is from a different contract.
            RefusedError: A tick hangs.
        """
        with self._between_ticks():
            self.restore(state.tree)
            self._granted_since.clear()
            self.latest_tick.mode, self.latest_tick.reason = self.mode, self._reason

    def take_over(self, before: Controller) -> None:
        """Continue from another controller with the same joints, inputs and rate.

        Takes over everything except the policy's memory: mode, targets, latched fault, e-stop,
        counters, ages and measurements. Afterwards, call neither `tick` nor any request on
        `before`. Commands to a standing robot do not change.

        Raises:
            RefusedError: The policy is running; the robot is standing and the new stand motion or
                gains differ, or the new policy would refuse its state; an arm is held beyond the
                new limits; or a tick hangs. `before` is unchanged.
        """
        with before._between_ticks():
            before.require_stand_like(self._stand)
            saved, rests = before.saved(), before.mode is Mode.DAMP
            if rests and (found := self._safe.beyond(saved["safe"])):
                # The new limits would change the pose, and the arm would move without a request.
                raise RefusedError(
                    f"load refused: {'; '.join(found)}; move the arm within the limits first "
                    "(request stand; or move it by hand, then request damp)"
                )
            unknown = self._adopt(saved)
            if not rests and self._last_tick_ns is not None:
                # Judged by the previous tick's time: no message has been read since then.
                self._require_calm(unknown, self._last_tick_ns)
            self.edges = before.edges

    def adopt(self, state: ControlState) -> None:
        """Continue from the saved state of another policy's controller for the same joints.

        Takes over everything except the policy's memory, including the mode RUN.

        Raises:
            KeyError, TypeError, ValueError: The state is for different joints.
            RefusedError: A tick hangs.
        """
        with self._between_ticks():
            self._adopt(state.tree)

    def _adopt(self, saved: Tree) -> list[str]:
        """Restore everything except the policy's memory; return the fields left unmeasured."""
        unknown = self.state.take_sensed(saved["state"])
        for name in self.inputs.keys() & saved["inputs"].keys():
            self.inputs[name].restore(saved["inputs"][name])
        self._restore(("command", *self._BODY), saved)
        self.command.open()
        self._run.adopt(saved["run"])
        return unknown

    def require_rest(self) -> None:
        """Raise an error if a policy commands the robot.

        Raises:
            RefusedError: A policy is in command.
        """
        if self.mode in (Mode.RUN, Mode.HOLD):
            raise RefusedError(
                f"load refused: the mode is {self.mode.name}; request damp or stand first"
            )

    def require_stand_like(self, wanted: Stand) -> None:
        """Raise an error unless a policy with this stand motion may take over in the current mode.

        Raises:
            RefusedError: The policy is running, or the robot stands with a different stand motion
                or gains.
        """
        self.require_rest()
        found = wanted.differences(self._stand) if self.mode is not Mode.DAMP else ()
        if found:
            raise _refused_load([f"{key} differs" for key in found])

    def _require_calm(self, unknown: Sequence[str], now_ns: int) -> None:
        found = [f"{field} has not been measured so far" for field in unknown]
        if found := found or self._fitness.problems(now_ns):
            raise _refused_load(found)

    def _tick(self, now_ns: int, deadline_ns: int, gap_ns: int) -> JointTargets | None:
        for rule in dict.fromkeys(self.command.update(now_ns)):  # once, however many commands
            self._count(rule)
        self.state.derive()
        self._safe.see(self._joint_pos, self._pose_source.measured_ns)
        if self.mode is Mode.DAMP:
            stale = self._pose_source.is_stale(now_ns)
            self._safe.watch(self._joint_pos, self.joint_check, gap_ns, stale=stale)
            return self.safe_targets()
        # A fault holds the pose of the tick that detects it, not an old one.
        self._safe.capture()
        if not 0 <= gap_ns <= self._longest_gap_ns:
            limit_ms = self._longest_gap_ns * 1e-6
            return self._latch(Rule.CLOCK, words.GAP.format(a=gap_ns * 1e-6, limit=limit_ms))
        if names := self._fitness.not_finite():
            return self._latch(Rule.NOT_FINITE, names)
        if too_old := self._fitness.stale(now_ns):
            return self._hold(now_ns, now_ns, *too_old)
        if tilt := self._fitness.tilted():
            return self._latch(Rule.ATTITUDE, tilt)
        if self.mode is Mode.HOLD and self._held_mode is not Mode.RUN:
            self._resume(now_ns)
        if self.mode in (Mode.RUN, Mode.HOLD):
            return self._run_policy(now_ns, deadline_ns)
        if self._stand.update(now_ns) and self.mode is Mode.STAND:
            self._enter(Mode.READY, words.STANDING)
        return self._take("stand")

    def _run_policy(self, now_ns: int, deadline_ns: int) -> JointTargets | None:
        if self.mode is Mode.HOLD:
            # Before inference, whose result is for this tick, whether or not HOLD ends.
            self._pause(now_ns)
        try:
            finite = self._run.infer()
        except BackendError as error:
            ended_ns = self._end_ns(now_ns, deadline_ns)
            return self._hold(now_ns, ended_ns, Rule.INFERENCE_ERROR, str(error))
        except NoTargetError as error:
            ended_ns = self._end_ns(now_ns, deadline_ns)
            return self._hold(now_ns, ended_ns, Rule.NO_TARGET, str(error))
        if not finite:
            return self._latch(Rule.NOT_FINITE, words.MODEL_OUTPUT)
        ended_ns = self._end_ns(now_ns, deadline_ns)
        if ended_ns > deadline_ns:
            reason = words.LATE.format(a=(ended_ns - deadline_ns) * 1e-6)
            return self._hold(now_ns, ended_ns, Rule.INFERENCE_LATE, reason)
        if self.mode is Mode.HOLD:
            self._resume(now_ns)
        acted = self._run.update(now_ns)
        for rule in acted:
            self._count(rule)
        if not self._run.is_finite:
            return self._latch(Rule.NOT_FINITE, words.POLICY_TARGET)
        if self._run.clipped_ticks >= CLIPPED_TICKS_LIMIT:
            rules = ", ".join(rule.value for rule in acted)
            return self._latch(
                Rule.CLIPPED_TOO_LONG, words.CLIPPED.format(limit=CLIPPED_TICKS_LIMIT, rules=rules)
            )
        if change := self._run.change:
            self._enter(Mode.RUN, change)
        return self._take("run")

    def _take(self, motion: str) -> JointTargets:
        targets, self._commanded_by = self._motions[motion], motion
        targets.mode = self.mode
        return targets

    def _end_ns(self, now_ns: int, deadline_ns: int) -> int:
        """Return the tick's time, or when the policy returned if that is after the deadline.

        Only the tick's time is recorded, so nothing else may decide unless the policy is late.
        """
        ended_ns = self._clock()
        return ended_ns if ended_ns > deadline_ns else now_ns

    def _hold(self, now_ns: int, ended_ns: int, rule: Rule, reason: str) -> JointTargets | None:
        """Keep commanding the last targets, or enter DAMP if that has lasted too long.

        `ended_ns` is the time up to which HOLD has lasted, see `_end_ns`.
        """
        if self.mode is not Mode.HOLD:
            self._count(rule)
            self._held_mode, self._hold_began_ns, self._held_until_ns = self.mode, now_ns, now_ns
            self.latest_tick.trip = Trip(rule=rule, reason=reason, latched=False)
            # Before any motion has commanded, the last command was the safe one.
            last = self._motions.get(self._commanded_by, self._safe.targets)
            self._held.block[:] = last.block
            self._enter(Mode.HOLD, reason)
        if ended_ns - self._hold_began_ns > self.limits.damp_after_ns:
            return self._latch(Rule.HELD_TOO_LONG, reason)
        return self._held

    def _resume(self, now_ns: int) -> None:
        self._pause(now_ns)
        self._enter(self._held_mode, words.RECOVERED.format(why=self._reason))

    def _pause(self, now_ns: int) -> None:
        """Exclude the time spent holding since the last call from the motions' time."""
        held_ns, self._held_until_ns = now_ns - self._held_until_ns, now_ns
        self._stand.pause(held_ns)
        self._run.pause(held_ns)

    def _latch(self, rule: Rule, reason: str) -> JointTargets | None:
        """Enter DAMP because of a fault, and stay there until `reset`; return the safe targets."""
        if not self._latched:
            self._count(rule)
            self._latched = True
            self.latest_tick.trip = Trip(rule=rule, reason=reason, latched=True)
            self._enter_damp(words.LATCHED.format(rule=rule.value, why=reason))
        return self.safe_targets()

    def _enter_damp(self, reason: str) -> None:
        self._commanded_by = ""
        self._enter(Mode.DAMP, reason)

    def _enter(self, mode: Mode, reason: str) -> None:
        self.mode, self._reason = mode, reason
        self.joint_check.in_motion = mode is not Mode.DAMP
        self.edges.append((mode, reason, self._clock()))

    def _count(self, rule: Rule) -> None:
        self._counters[rule] += 1

    def _act_on_estop(self) -> bool:
        """Latch an e-stop press not yet processed; return True if no fault was latched before."""
        if self._estop is None or self._estop_noted:
            return False
        self._estop_noted = True
        if not self._latched:
            self._latch(Rule.ESTOP, self._estop[0])
            return True
        self._count(Rule.ESTOP)
        why = words.PRESSED_TOO.format(why=self._reason, estop=self._estop[0])
        self._enter(Mode.DAMP, why)
        return False

    def _act_on_driver(self) -> None:
        """Enter DAMP if the driver has stopped following a motion."""
        reason, self._driver_stopped = self._driver_stopped, ""
        if reason and self.mode is not Mode.DAMP:
            self._count(Rule.DRIVER)
            self.latest_tick.trip = Trip(rule=Rule.DRIVER, reason=reason, latched=False)
            self._enter_damp(words.LATCHED.format(rule=Rule.DRIVER.value, why=reason))

    def driver_stopped(self, reason: str) -> None:
        """Enter DAMP at the next tick because the driver is ignoring commands; never blocks.

        No fault is latched: the driver responds again after a damp command.
        """
        self._driver_stopped = reason

    def estop(self, reason: str) -> JointTargets | None:
        """Request DAMP without waiting for a tick; return the targets to publish immediately.

        Never blocks, even if a tick that hangs in the runtime holds the lock.
        """
        self._estop = (reason,)
        return self.safe_targets()

    @property
    def estop_pressed(self) -> bool:
        """True if the e-stop was pressed and not reset, so only safe targets may be sent."""
        return self._estop is not None

    def safe_targets(self) -> JointTargets | None:
        """Return the targets to send in DAMP; None if no pose to hold is known."""
        return self._safe.targets if self._safe.known else None

    @contextmanager
    def _between_ticks(self) -> Iterator[None]:
        """Run code between ticks; raise RefusedError rather than wait for a tick that hangs."""
        if not self._lock.acquire(timeout=LOCK_TIMEOUT_S):
            raise RefusedError(TICK_HANGS)
        try:
            yield
        finally:
            self._lock.release()

    def reset(self) -> None:
        """Clear a latched fault and the e-stop; the mode stays DAMP.

        An e-stop press that no tick has processed yet leads to DAMP first; a press while waiting
        for a tick is kept.

        Raises:
            RefusedError: A tick hangs.
        """
        pressed = self._estop
        with self._between_ticks():
            self._act_on_estop()
            if self._latched and self._estop is pressed:
                self._estop, self._latched, self._estop_noted = None, False, False
                self._enter(Mode.DAMP, words.RESET)
                self._granted_since.append(("reset", self._clock()))

    def damp(self, reason: str = words.DAMP_ASKED) -> None:
        """Enter DAMP now and, with `hold_measured`, hold the measured pose.

        The reason for a latched fault is kept.

        Raises:
            RefusedError: A tick hangs (`estop` never waits), or no command is being sent and no
                pose to hold is known.
        """
        with self._between_ticks():
            now_ns = self._clock()
            if self.mode is Mode.DAMP and (
                self._safe.known or not self._pose_source.is_stale(now_ns)
            ):
                self._safe.see(self._joint_pos, self._pose_source.measured_ns)
                self._safe.hold()
            if not self._safe.known:
                why = words.NO_POSE.format(problems="; ".join(self._fitness.problems(now_ns)))
                raise RefusedError(words.REQUEST_REFUSED.format(wanted="DAMP", problems=why))
            if not self._latched:
                self._enter_damp(reason)
            self._granted_since.append(("damp", now_ns))

    def stop(self, reason: str) -> None:
        """Enter DAMP after the last tick; if no command was being sent, none is sent.

        Raises:
            RefusedError: A tick hangs (`estop` never waits).
        """
        with self._between_ticks():
            if not self._latched:
                self._enter_damp(reason)

    def fault(self, rule: Rule, reason: str) -> None:
        """Latch a fault detected elsewhere, such as a clock that ran backward.

        Raises:
            RefusedError: A tick hangs.
        """
        with self._between_ticks():
            self._latch(rule, reason)

    def reject_command(self) -> None:
        """Count a velocity command that was ignored because it is not finite."""
        self._count(Rule.BAD_COMMAND)

    def stand(self, problems: Sequence[str] = ()) -> None:
        """Stand up from the held pose, or from the measured pose if none is held.

        Args:
            problems: The caller's own reasons to refuse.

        Raises:
            RefusedError: The robot may not move (lists every reason), or a tick hangs.
        """
        with self._between_ticks():
            now_ns = self._clock()
            held = self._safe.contradictions(self._joint_pos) if self.mode is Mode.DAMP else ()
            self._require_fit("STAND", [*problems, *held], now_ns)
            if self.mode is not Mode.DAMP or not self._safe.known:
                self._safe.see(self._joint_pos, self._pose_source.measured_ns)
                self._safe.capture()
            self._stand.begin(self._safe.motion_start(self._joint_pos), now_ns)
            self._enter(Mode.STAND, words.STANDING_UP)
            self._granted_since.append(("stand", now_ns))

    def run(self, problems: Sequence[str] = ()) -> None:
        """Enter RUN: let the policy command the robot.

        Args:
            problems: The caller's own reasons to refuse.

        Raises:
            RefusedError: The policy may not run (lists every reason), or a tick hangs.
        """
        with self._between_ticks():
            now_ns = self._clock()
            found = list(problems)
            if self.mode is not Mode.READY:
                found.append(words.WRONG_MODE.format(mode=self.mode.name))
            elif far := self._stand.far_off(self._joint_pos):
                found.append(words.FAR_OFF.format(joints=", ".join(far)))
            self._require_fit("RUN", found, now_ns)
            self._run.begin(now_ns)
            self.command.open()
            self._enter(Mode.RUN, words.RUNS)
            self._granted_since.append(("run", now_ns))

    def fade_command(self) -> None:
        """Fade the velocity command to zero; new commands are ignored until the next run.

        Raises:
            RefusedError: A tick hangs.
        """
        self.request(FADE_COMMAND, lambda: self.command.close(self._clock()))

    def set_authority(self, request: AuthorityRequest) -> None:
        """Set the policy's share in the joints' commands during RUN.

        Raises:
            RefusedError: The request is refused (lists every reason), or a tick hangs.
        """
        authority = self._run.authority
        joints = authority.select_joints(request)

        def act() -> None:
            pose = self._stand.pose
            if request.rest is Rest.FREEZE:
                if not self._commanded_by:
                    raise refused([words.NOTHING_TO_FREEZE])
                commanded = self._stand.targets.position
                pose = self._run.pose if self._commanded_by == "run" else commanded
            at_once = self.mode not in (Mode.RUN, Mode.HOLD)
            authority.set(request, joints, pose, at_once=at_once)

        self.request(str(request), act)

    def end_run(self, verdict: RunVerdict, stand: Callable[[], None]) -> None:
        """Between two ticks, take the step toward the end of the run that an observer requests.

        Args:
            verdict: The observer's verdict.
            stand: Callback that requests standing up.

        Raises:
            RefusedError: The step is refused, or a tick hangs.
        """
        if verdict.step is EndStep.FADE_COMMAND:
            self.fade_command()
        elif verdict.step is EndStep.STAND:
            stand()
        elif verdict.step is EndStep.DAMP:
            self.damp(verdict.reason)
        else:
            self.fault(Rule.TRIAL, verdict.reason)

    def request(self, name: str, act: Callable[[], None]) -> None:
        """Execute an action between two ticks and record it as a request.

        Args:
            name: Name under which `granted` lists the request.
            act: The action; if it raises, the request is not granted.

        Raises:
            RefusedError: A tick hangs, or `act` refuses.
        """
        with self._between_ticks():
            act()
            self._granted_since.append((name, self._clock()))

    def _require_fit(self, wanted: str, problems: Sequence[str], now_ns: int) -> None:
        found = [*problems, *self._fitness.problems(now_ns)]
        if self._latched:
            found.insert(0, words.LATCHED_FAULT.format(why=self._reason))
        elif self._estop is not None:
            found.insert(0, words.PRESSED.format(why=self._estop[0]))
        if found:
            problems = "; ".join(found)
            raise RefusedError(words.REQUEST_REFUSED.format(wanted=wanted, problems=problems))

    def snapshot(self) -> ControllerStatus:
        """Return the status; never blocks, so a tick may change parts of it meanwhile."""
        return self._snapshot(
            self._counters.values(),
            self._safe.silence,
            latched=self._latched,
            estop_noted=self._estop_noted,
            authority=float(self._run.authority.share.min()),
        )

    def _snapshot(
        self,
        counts: Iterable[int],
        silence: str,
        *,
        latched: bool,
        estop_noted: bool,
        authority: float,
    ) -> ControllerStatus:
        mode, reason = self.mode, self._reason
        if self._estop is not None and not estop_noted:
            # Pressed, but not yet processed by a tick, which may hang.
            mode, latched = Mode.DAMP, True
            reason = words.LATCHED.format(rule=Rule.ESTOP.value, why=self._estop[0])
        return ControllerStatus(
            mode=mode,
            reason="; ".join(filter(None, [reason, silence])),
            latched=latched,
            authority=authority,
            counters=dict(zip([rule.value for rule in Rule], counts, strict=True)),
        )


def _refused_load(found: Sequence[str]) -> RefusedError:
    return RefusedError(
        f"load refused: the robot is standing, and with the new policy: "
        f"{'; '.join(found)}; request damp first"
    )
