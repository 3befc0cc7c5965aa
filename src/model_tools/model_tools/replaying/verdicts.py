# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the guard did what its rules make of the recorded state."""

from __future__ import annotations

from model_tools.replaying.stages import GUARD, Departure, Stage
from model_tools.replaying.ticks import Tick
from policy_inference.bundle.contract import JointContract
from policy_inference.core.fitness import Fitness
from policy_inference.core.guard import CLIPPED_TICKS_LIMIT, Rule
from policy_inference.core.limits import Limits, input_timeouts_ns
from policy_inference.core.state import RobotState
from policy_inference.interfaces import Mode

_JUDGED = (Rule.NOT_FINITE, Rule.STALE_STATE, Rule.ATTITUDE, Rule.CLIPPED_TOO_LONG)


def rule_of(reason: str) -> Rule | None:
    """Return the rule that a latched fault's reason begins with."""
    word = reason.partition(":")[0]
    return next((rule for rule in Rule if rule.value == word), None)


class Verdicts:
    """Judges the tick in which a rule acts, and that none acted where it should not."""

    def __init__(self, contract: JointContract, state: RobotState, limits: Limits) -> None:
        """Judge `state` by these limits."""
        self._fitness = Fitness(contract, state, {}, limits.max_tilt_rad)
        timeouts_ns = input_timeouts_ns(contract)
        self._timeouts_ns = {name: timeouts_ns.get(name, limits.state_timeout_ns)
                             for name in state.inputs}  # fmt: skip

    def judge(
        self, tick: Tick, before: Tick | None, *, finite: bool, clipped: int | None,
        stage: Stage, time_s: float,
    ) -> None:  # fmt: skip
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
            stage.depart(Departure(
                tick=tick.number, time_s=time_s, stage=GUARD, name="mode", expected=tick.mode.name,
                found="an e-stop, by the command of the tick before"))
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
        stage.depart(Departure(
            tick=tick.number, time_s=time_s, stage=GUARD, name="mode",
            expected=f"{tick.mode.name}" + (f" ({tick.reason})" if tick.reason else ""),
            found=f"{rule.value}: {why}" if rule else "nothing in the state that stops it"))

    def _rule(self, tick: Tick, *, finite: bool, clipped: int) -> tuple[Rule | None, str]:
        """Return the first rule that the state of the tick breaks, and how."""
        if names := self._fitness.not_finite():
            return Rule.NOT_FINITE, names
        for name, timeout_ns in self._timeouts_ns.items():
            age_ns = tick.ages_ns.get(name, 0)
            if timeout_ns is not None and (age_ns is None or age_ns > timeout_ns):
                old = ("no message" if age_ns is None else f"{age_ns * 1e-6:.0f} ms old, limit "
                       f"{timeout_ns * 1e-6:.0f} ms")
                return Rule.STALE_STATE, f"{name}: {old}"
        if tilt := self._fitness.tilted():
            return Rule.ATTITUDE, tilt
        if tick.ran and not finite:
            return Rule.NOT_FINITE, "output of the model"
        if clipped >= CLIPPED_TICKS_LIMIT:
            return Rule.CLIPPED_TOO_LONG, f"{clipped} ticks in a row"
        return None, ""
