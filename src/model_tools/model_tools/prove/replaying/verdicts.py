# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is commanded where it is not the policy: other modes, and the rules of the guard."""

from __future__ import annotations

import numpy as np

from model_tools.prove.replaying.recorded_inputs import Recorded
from model_tools.prove.replaying.recorded_ticks import RecordedTick
from model_tools.prove.replaying.stages import GUARD, Departure, ReplayStage
from policy_inference.bundle.contract import JointContract
from policy_inference.core.guard import CLIPPED_TICKS_LIMIT, Rule
from policy_inference.core.limits import Limits, input_timeouts_ns
from policy_inference.core.motions import SafeTargets, Stand
from policy_inference.core.prechecks import MotionPrechecks
from policy_inference.core.state import RobotState
from policy_inference.interfaces import F64, Mode, OnFault

_JUDGED = (Rule.NOT_FINITE, Rule.STALE_STATE, Rule.ATTITUDE, Rule.CLIPPED_TOO_LONG)


def rule_of(reason: str) -> Rule | None:
    """Return the rule that a latched fault's reason begins with."""
    word = reason.partition(":")[0]
    return next((rule for rule in Rule if rule.value == word), None)


class Verdicts:
    """Judges the tick in which a rule acts, and that none acted where it should not."""

    def __init__(self, contract: JointContract, state: RobotState, limits: Limits) -> None:
        """Judge `state` by these limits."""
        self._fitness = MotionPrechecks(contract, state, {}, limits.max_tilt_rad)
        timeouts_ns = input_timeouts_ns(contract)
        self._timeouts_ns = {
            name: timeouts_ns.get(name, limits.state_timeout_ns) for name in state.inputs
        }

    def judge(
        self,
        tick: RecordedTick,
        before: RecordedTick | None,
        *,
        finite: bool,
        clipped: int | None,
        stage: ReplayStage,
        time_s: float,
    ) -> None:
        """Compare a tick that did not begin in DAMP.

        Args:
            tick: It.
            before: The tick before it; None where that is not known.
            finite: Whether the model's answer is, computed again.
            clipped: Ticks in a row that the bounds have clipped; None where that is not known.
            stage: Takes what is found.
            time_s: Time of the tick.
        """
        if before is None or before.mode is Mode.DAMP:
            stage.skip()
            return
        if before.command_mode is Mode.DAMP and tick.mode is not Mode.DAMP:
            stage.depart(
                Departure(
                    tick=tick.number,
                    time_s=time_s,
                    stage=GUARD,
                    name="mode",
                    expected=tick.mode.name,
                    found="an e-stop, by the command of the tick before",
                )
            )
            return
        said = rule_of(tick.reason)
        if said is not None and said not in _JUDGED and said is not Rule.HELD_TOO_LONG:
            stage.skip()  # an e-stop, a clock that jumped: not of the state
            return
        if said is Rule.CLIPPED_TOO_LONG and clipped is None:
            stage.skip()
            return
        rule, why = self._rule(tick, finite=finite, clipped=clipped or 0)
        stopped = tick.mode is Mode.DAMP
        if rule is None:
            agreed = not (stopped and said in _JUDGED)
        else:
            agreed = stopped or (rule is Rule.STALE_STATE and tick.mode is Mode.HOLD)
        if agreed:
            stage.agree()
            return
        stage.depart(
            Departure(
                tick=tick.number,
                time_s=time_s,
                stage=GUARD,
                name="mode",
                expected=f"{tick.mode.name}" + (f" ({tick.reason})" if tick.reason else ""),
                found=f"{rule.value}: {why}" if rule else "nothing in the state that stops it",
            )
        )

    def _rule(self, tick: RecordedTick, *, finite: bool, clipped: int) -> tuple[Rule | None, str]:
        """Return the first rule that the state of the tick breaks, and how."""
        if names := self._fitness.not_finite():
            return Rule.NOT_FINITE, names
        for name, timeout_ns in self._timeouts_ns.items():
            age_ns = tick.ages_ns.get(name, 0)
            if timeout_ns is not None and (age_ns is None or age_ns > timeout_ns):
                old = (
                    "no message"
                    if age_ns is None
                    else f"{age_ns * 1e-6:.0f} ms old, limit {timeout_ns * 1e-6:.0f} ms"
                )
                return Rule.STALE_STATE, f"{name}: {old}"
        if tilt := self._fitness.tilted():
            return Rule.ATTITUDE, tilt
        if tick.ran and not finite:
            return Rule.NOT_FINITE, "output of the model"
        if clipped >= CLIPPED_TICKS_LIMIT:
            return Rule.CLIPPED_TOO_LONG, f"{clipped} ticks in a row"
        return None, ""


class OtherCommands:
    """Says what the commands of these modes should have been, as far as the recording tells.

    Gains, limits and feed-forward are known from the contract. A position is known but for when a
    motion began, and which of two measured poses a fault found: it must be one of the possible
    ones.
    """

    def __init__(self, recorded: Recorded, stand: Stand, safe: SafeTargets) -> None:
        """Command as these do; `stand` is left with what was commanded last."""
        self._recorded, self._stand, self._safe = recorded, stand, safe
        self.forget()

    def forget(self) -> None:
        """Know nothing of what was before; a policy takes over from the pose at the end."""
        self._stand.targets.position[:] = self._stand.pose

    def of(self, tick: RecordedTick, before: RecordedTick | None) -> F64 | None:
        """Return the command [6, joints] of a tick that has one; None where nothing is known.

        `before` is the tick before it, None where that is not in the recording.
        """
        commanded = self._recorded.command(tick)
        assert commanded is not None
        if tick.command_mode is Mode.DAMP or tick.mode is Mode.DAMP:
            if self._safe.on_fault is OnFault.HOLD_MEASURED:
                self._safe.targets.position[:] = self._held(commanded[0], tick, before)
            return self._safe.targets.block
        if tick.mode is Mode.HOLD:
            return None if before is None else self._recorded.command(before)
        self._stand.targets.position[:] = (
            self._stand.pose
            if tick.mode is Mode.READY
            else self._on_the_way(commanded[0], tick, before)
        )
        return self._stand.targets.block

    def _held(self, position: F64, tick: RecordedTick, before: RecordedTick | None) -> F64:
        """Return the pose that is held after a fault: each joint where it was sent, or measured.

        On the way to a pose that was asked for it is between both.
        """
        if before is None:
            return position
        past = self._recorded.command(before)
        measured = [
            pose
            for pose in map(self._recorded.joint_pos, (tick, before))
            if pose is not None and np.isfinite(pose).all()
        ]
        known = [
            *([] if past is None else [past[0]]),
            *measured,
            *map(self._safe.within_limits, measured),
        ]
        if not known:
            return position
        if before.mode is Mode.DAMP:
            return np.clip(position, np.min(known, axis=0), np.max(known, axis=0))
        nearest = np.argmin(np.abs(np.array(known) - position), axis=0)
        found: F64 = np.array(known)[nearest, np.arange(position.size)]
        return found

    def _on_the_way(self, position: F64, tick: RecordedTick, before: RecordedTick | None) -> F64:
        """Return the position, brought between where standing up may have begun and its end."""
        if before is None:
            return position
        held = self._safe.on_fault is OnFault.HOLD_MEASURED  # where a motion then begins
        past = (
            self._recorded.command(before)
            if held or before.mode in (Mode.STAND, Mode.HOLD)
            else None
        )
        poses = [
            *self._stand.poses,
            None if past is None else past[0],
            self._recorded.joint_pos(tick),
            self._recorded.joint_pos(before),
        ]
        known = [pose for pose in poses if pose is not None and np.isfinite(pose).all()]
        return np.clip(position, np.min(known, axis=0), np.max(known, axis=0))
