# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The control path: modes and guard around a policy, one call per tick, no ROS and no clock."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from policy_inference.bundle.joint_values import per_joint
from policy_inference.bundle.load import Bundle
from policy_inference.core.command import CommandFader
from policy_inference.core.freshness import Input
from policy_inference.core.guard import CLIPPED_TICKS_LIMIT, Rule, TargetBounds
from policy_inference.core.limits import Limits
from policy_inference.core.motions import SafeTargets, Stand
from policy_inference.core.policy import JointPolicy
from policy_inference.core.rotation import tilt_rad
from policy_inference.core.state import RobotState
from policy_inference.errors import BackendError, RequestRefused
from policy_inference.interfaces import Backend, JointTargets, Mode

_LIMIT_SLACK_RAD = 0.1
"""A leg that rests on its mechanical stop is measured a little beyond it."""


_LOCK_TIMEOUT_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the status reports about the controller."""

    mode: Mode
    reason: str
    latched: bool
    counters: dict[str, int]


class Controller:
    """Modes DAMP, STAND, READY, RUN and HOLD around a policy, under the guard's rules.

    `tick` and the writers of `state`, `inputs` and `command` belong to the control thread; the
    requests and `snapshot` may be called from any thread. `edges` holds the latest changes of
    mode with their reasons for a log, to be popped from the left.
    """

    def __init__(
        self, bundle: Bundle, backend: Backend, limits: Limits, clock: Callable[[], int]
    ) -> None:
        """Tie the parts together; nothing is commanded before the first tick.

        Args:
            bundle: Bundle whose contract holds.
            backend: Opened backend of the bundle; stays the caller's to close.
            limits: Limits in force.
            clock: The clock of `now_ns`, read after inference; under simulated time one that
                stands still within a tick, so that a slow machine changes nothing.
        """
        contract = bundle.contract
        self._contract, self._limits, self._clock = contract, limits, clock
        self.state = RobotState(contract)
        self.inputs = {
            name: Input(name, None if name == "cmd_vel" else limits.state_timeout_ns)
            for name in self.state.inputs
        }
        moving = "velocity_command" in self.state
        self.command = CommandFader(
            self.state["velocity_command"] if moving else None, contract.velocity_command, limits
        )
        self._policy = JointPolicy(bundle, backend, self.state)
        self._bounds = TargetBounds(contract, self._policy.action, limits.margin)
        names = contract.joints.names
        effort_limit = limits.effort_scale * per_joint(contract.joints.effort_limit, names)
        self._stand = Stand(contract, effort_limit)
        self._safe = SafeTargets(contract, effort_limit)
        self._run = JointTargets(len(names))
        self._run.effort_limit[:] = effort_limit
        self._low = per_joint(contract.joints.position_min, names) - _LIMIT_SLACK_RAD
        self._high = per_joint(contract.joints.position_max, names) + _LIMIT_SLACK_RAD
        self._joint_pos, self._joint_vel = self.state["joint_pos"], self.state["joint_vel"]
        self._watched = tuple(i for i in self.inputs.values() if i.timeout_ns is not None)
        self._counters = dict.fromkeys(Rule, 0)
        self._lock = threading.Lock()
        self._estop = ""
        self.mode = Mode.DAMP
        self.edges: deque[tuple[Mode, str]] = deque(maxlen=100)
        self._reason, self._latched = "started", False
        self._held_mode, self._hold_began_ns = Mode.DAMP, 0
        self._run_began_ns, self._clipped_ticks = 0, 0
        self._current = self._safe.targets

    def tick(self, now_ns: int, next_deadline_ns: int) -> JointTargets | None:
        """Return the targets of this tick; None where nothing can be commanded yet.

        Args:
            now_ns: Steady clock, or simulated time.
            next_deadline_ns: When the next tick is due; a result after it is too late.
        """
        with self._lock:
            targets = self._tick(now_ns, next_deadline_ns)
            # The e-stop may have been pressed while the policy ran.
            return self._latch(Rule.ESTOP, self._estop) if self._pressed() else targets

    def _tick(self, now_ns: int, deadline_ns: int) -> JointTargets | None:
        if self._pressed():
            return self._latch(Rule.ESTOP, self._estop)
        if self.command.update(now_ns):
            self._count(Rule.STALE_COMMAND)
        self.state.derive()
        if self.mode is Mode.DAMP:
            if not self._safe.known:
                self._safe.capture(self._joint_pos)
            return self.safe_targets()
        for watched in self._watched:
            if watched.is_stale(now_ns):
                return self._hold(now_ns, Rule.STALE_STATE, watched.describe(now_ns))
        if not self.state.is_finite():
            return self._latch(Rule.NOT_FINITE, f"not finite: {_list(self.state.not_finite())}")
        if tilt := self._tilted():
            return self._latch(Rule.ATTITUDE, tilt)
        if self.mode is Mode.HOLD and self._held_mode is not Mode.RUN:
            self._resume(now_ns)
        if self.mode in (Mode.RUN, Mode.HOLD):
            return self._run_policy(now_ns, deadline_ns)
        if self._stand.update(now_ns) and self.mode is Mode.STAND:
            self._enter(Mode.READY, "standing")
        return self._take(self._stand.targets)

    def _run_policy(self, now_ns: int, deadline_ns: int) -> JointTargets | None:
        try:
            finite = self._policy.infer()
        except BackendError as error:
            return self._hold(now_ns, Rule.INFERENCE_ERROR, str(error))
        late_ns = self._clock() - deadline_ns
        if late_ns > 0:
            return self._hold(now_ns, Rule.INFERENCE_LATE, f"{late_ns * 1e-6:.1f} ms late")
        if not finite:
            return self._latch(Rule.NOT_FINITE, "not finite: output of the model")
        if self.mode is Mode.HOLD:
            self._resume(now_ns)
        command = self._policy.commit()
        if self._policy.action.clipped:
            self._count(Rule.ACTION_CLIP)
        acted = self._bounds.apply(command, self._joint_pos, self._joint_vel)
        for rule in acted:
            self._count(rule)
        self._clipped_ticks = self._clipped_ticks + 1 if _beyond_nominal(acted) else 0
        if self._clipped_ticks >= CLIPPED_TICKS_LIMIT:
            return self._latch(Rule.CLIPPED_TOO_LONG,
                               f"{_list(acted)} clipped {self._clipped_ticks} ticks in a row")
        self._policy.action.fill(self._run)
        elapsed_ns = now_ns - self._run_began_ns
        if elapsed_ns < self._limits.blend_ns:
            share = elapsed_ns / self._limits.blend_ns
            self._run.block *= share
            self._run.block += (1.0 - share) * self._stand.targets.block
            self._run.effort_limit[:] = self._stand.targets.effort_limit
        return self._take(self._run)

    def _take(self, targets: JointTargets) -> JointTargets:
        self._current = targets
        return targets

    def _hold(self, now_ns: int, rule: Rule, reason: str) -> JointTargets | None:
        """Keep commanding the last targets; DAMP when that has lasted too long."""
        if self.mode is not Mode.HOLD:
            self._count(rule)
            self._held_mode, self._hold_began_ns = self.mode, now_ns
            self._enter(Mode.HOLD, reason)
        if now_ns - self._hold_began_ns > self._limits.damp_after_ns:
            return self._latch(Rule.HELD_TOO_LONG, f"held too long, {reason}")
        return self._current

    def _resume(self, now_ns: int) -> None:
        self._stand.pause(now_ns - self._hold_began_ns)
        self._enter(self._held_mode, f"recovered from: {self._reason}")

    def _latch(self, rule: Rule, reason: str) -> JointTargets | None:
        """Enter DAMP and stay there until `reset`."""
        if not (self._latched and self.mode is Mode.DAMP):
            self._count(rule)
            self._latched = True
            self._enter_damp(f"{rule.value}: {reason}")
        return self.safe_targets()

    def _enter_damp(self, reason: str) -> None:
        self._safe.capture(self._joint_pos)
        self._enter(Mode.DAMP, reason)

    def _enter(self, mode: Mode, reason: str) -> None:
        self.mode, self._reason = mode, reason
        self.edges.append((mode, reason))

    def _count(self, rule: Rule) -> None:
        self._counters[rule] += 1

    def _pressed(self) -> bool:
        return bool(self._estop) and not (self._latched and self.mode is Mode.DAMP)

    def _tilted(self) -> str:
        bound = self._limits.max_tilt_rad
        if bound is None:
            return ""
        tilt = tilt_rad(self.state["gravity_body"])
        return f"tilt {tilt:.2f} rad, limit {bound:.2f} rad" if tilt > bound else ""

    def estop(self, reason: str) -> JointTargets | None:
        """Ask for DAMP without waiting for a tick; return what may be published at once.

        Never blocks: a tick that hangs in the runtime holds the lock.
        """
        self._estop = reason
        return self.safe_targets()

    def safe_targets(self) -> JointTargets | None:
        """Return what is commanded after a fault; None where that is not known yet."""
        return self._safe.targets if self._safe.known else None

    @contextmanager
    def _between_ticks(self) -> Iterator[None]:
        """Keep ticks out; a tick that hangs in the runtime must not hang the caller too."""
        if not self._lock.acquire(timeout=_LOCK_TIMEOUT_S):
            raise RequestRefused("a tick has not returned; the backend hangs")
        try:
            yield
        finally:
            self._lock.release()

    def reset(self) -> None:
        """Clear a latched fault and the e-stop; the mode stays DAMP."""
        with self._between_ticks():
            self._estop, self._latched = "", False
            if self.mode is Mode.DAMP:
                self._reason = "reset"

    def damp(self, reason: str = "asked for") -> None:
        """Enter DAMP now."""
        with self._between_ticks():
            self._enter_damp(reason)

    def fault(self, rule: Rule, reason: str) -> None:
        """Latch a fault that was seen outside, such as a clock that ran backwards."""
        with self._between_ticks():
            self._latch(rule, reason)

    def reject_command(self) -> None:
        """Count a velocity command that was not finite and is ignored."""
        self._count(Rule.BAD_COMMAND)

    def stand(self, problems: Sequence[str] = ()) -> None:
        """Stand up from the measured pose.

        Args:
            problems: What the caller found that speaks against it.

        Raises:
            RequestRefused: With everything that speaks against it.
        """
        with self._between_ticks():
            now_ns = self._clock()
            self._refuse("STAND", [*problems, *self._unfit(now_ns)])
            self._stand.begin(self._joint_pos, now_ns)
            self._enter(Mode.STAND, "standing up")

    def run(self, problems: Sequence[str] = ()) -> None:
        """Let the policy take over.

        Args:
            problems: What the caller found that speaks against it.

        Raises:
            RequestRefused: With everything that speaks against it.
        """
        with self._between_ticks():
            now_ns = self._clock()
            found = [*problems, *self._unfit(now_ns)]
            if self.mode is not Mode.READY:
                found.append(f"the mode is {self.mode.name}, expected READY; ask for stand first")
            far = [self._contract.joints.names[i] for i in self._stand.far_off(self._joint_pos)]
            if self.mode is Mode.READY and far:
                found.append(f"too far from the stand pose: {_list(far)}")
            self._refuse("RUN", found)
            self._policy.reset()
            self._bounds.reset(self._stand.pose)
            self._run_began_ns, self._clipped_ticks = now_ns, 0
            self._enter(Mode.RUN, "the policy runs")

    def _unfit(self, now_ns: int) -> list[str]:
        """Return what speaks against any motion."""
        found = []
        if self._latched:
            found.append(f"latched fault ({self._reason}); ask for reset first")
        elif self._estop:
            found.append(f"e-stop ({self._estop}); ask for reset first")
        stale = [i.describe(now_ns) for i in self._watched if i.is_stale(now_ns)]
        found += stale
        self.state.derive()
        if not stale and not self.state.is_finite():
            found.append(f"not finite: {_list(self.state.not_finite())}")
        elif not stale:
            found += filter(None, [self._tilted(), self._outside_limits()])
        return found

    def _outside_limits(self) -> str:
        outside = (self._joint_pos < self._low) | (self._joint_pos > self._high)
        names = [self._contract.joints.names[i] for i in np.flatnonzero(outside)]
        return f"outside their position limits: {_list(names)}" if names else ""

    def _refuse(self, wanted: str, problems: Sequence[str]) -> None:
        if problems:
            raise RequestRefused(f"{wanted} refused: " + "; ".join(problems))

    def snapshot(self) -> Snapshot:
        """Return mode, reason and counters; never blocks, so a tick may fall in between."""
        counters = {rule.value: count for rule, count in self._counters.items()}
        return Snapshot(mode=self.mode, reason=self._reason, latched=self._latched,
                        counters=counters)


def _beyond_nominal(acted: Sequence[Rule]) -> bool:
    return any(rule is not Rule.POSITION_LIMIT for rule in acted)


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)
