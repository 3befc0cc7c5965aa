# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A shadow chunk policy that answers the active one's observations, on the robot or offline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from policy_core.bundle.chunk_contract import ChunkContract
from policy_core.errors import BackendError, RobotError
from policy_core.guard.bounds import Rule
from policy_core.guard.limits import Limits
from policy_core.interfaces import F64, ShadowMode
from policy_core.members.chunk.controller import make_queue
from policy_core.members.chunk.observation_sync import Snapshot
from policy_core.members.chunk.policy import ChunkCommand
from policy_core.members.chunk.settings import (
    ChunkSettings,
    check_settings,
    ensemble_coefficient,
    executed_steps,
)
from policy_core.observation.state import StateVector
from policy_inference.flight.ring import InferenceResult, ShadowAnswer, ShadowOutcome
from policy_inference.shadow.shadow_guard import ShadowGuard
from policy_inference.shadow.shadowed_member import ChunkTick, ShadowObservation, ShadowQuestion
from policy_inference.shadow.slots import shadow_inference


class ChunkShadow:
    """Answers the observations that the same robot's active chunk policy has answered.

    A chunk policy has no memory between observations, apart from its queue of chunks. The shadow
    has its own queue, of the same kind. Each of its chunks is executed in this queue as if it had
    arrived instead of the active policy's: in the same tick, from the same step. Both queues return
    a target per tick, and the two targets are compared.

    If an observation is skipped, or its inference fails, the queue is emptied, and there is no
    comparison until the queue is complete again, that is, until a chunk has arrived and no target
    depends on earlier chunks. A lost tick counts as a skipped observation; so does a chunk that
    arrives right after it, if chunks begin at the last command, which is then unknown.
    """

    def __init__(
        self,
        contract: ChunkContract,
        run: Callable[[Snapshot], F64],
        limits: Limits,
        active: ChunkContract,
        state_sizes: Mapping[str, int],
        settings: ChunkSettings,
        mode: ShadowMode,
    ) -> None:
        """Build the shadow from its parts; call `require_comparable` first.

        Args:
            contract: The shadow's contract.
            run: Computes the shadow's chunks, e.g. `Inference.run`.
            limits: Limits that would be in force if the shadow were active.
            active: The active policy's contract.
            state_sizes: Fields of the active policy's state in their order, with their sizes.
            settings: Settings for chunk execution, for both policies.
            mode: Source of the shadow's memory.
        """
        self._contract, self._run = contract, run
        self._queue = make_queue(_settings_of_shadow(settings, active, contract), contract)
        self._action = ChunkCommand(contract)
        self._guard = ShadowGuard(contract, self._action, limits, active, ChunkCommand(active))
        self._followed = mode is ShadowMode.FOLLOWED
        self._realigns = settings.realign
        self._seen = StateVector(state_sizes)
        robot = active.joints.on_robot()
        self._places = [robot.index(joint) for joint in contract.joints.on_robot()]
        self._own, self._theirs = (
            [robot.index(joint) for joint in each.joints.on_robot(each.action.joints)]
            for each in (contract, active)
        )
        self._pose = active.stand.position
        self._joint_vel = np.zeros(len(robot))
        self._missing: ShadowOutcome | None = None
        self._whole_at: int | None = None
        self._rules = list[str]()
        self.problem = ""
        """Reason for the last failed inference in this run; empty if there was none."""

    def answer(self, tick: int, question: ShadowQuestion, *, late: bool) -> ShadowAnswer:
        """Process a tick in which the active policy commanded the robot.

        Args:
            tick: Tick number.
            question: The tick's data, including `chunk`.
            late: True to skip the model.
        """
        asked = question.chunk
        assert asked is not None
        self._seen.flat[:] = question.state
        self._rules.clear()
        if question.begins:
            self._begin()
        if question.lost:
            self._miss(ShadowOutcome.SKIPPED)
        inferences = tuple[InferenceResult, ...]()
        unknown = question.lost and self._realigns
        if asked.missed or ((late or unknown) and asked.observations):
            self._miss(ShadowOutcome.SKIPPED)
        else:
            inferences = tuple([self._infer(each) for each in asked.observations])
        found = self._executed(tick, asked)._replace(inferences=inferences)
        if self._followed:
            followed = question.command[self._places]
            self._action.command[:] = followed
            self._guard.follow(followed)
        return found

    def _begin(self) -> None:
        self._queue.reset()
        self._action.restart()
        self._guard.restart()
        self._missing = self._whole_at = None
        self.problem = ""

    def _miss(self, outcome: ShadowOutcome) -> None:
        self._queue.reset()
        self._missing, self._whole_at = outcome, None

    def _infer(self, seen: ShadowObservation) -> InferenceResult:
        chunk, error = None, ""
        try:
            chunk = self._run(self._as_own(seen.sensed))
        except (BackendError, RobotError) as failed:
            kind = RobotError if isinstance(failed, RobotError) else BackendError
            self.problem, error = str(failed), f"{kind.__name__}: {failed}"
            self._rules.append(Rule.INFERENCE_ERROR.value)
            self._miss(ShadowOutcome.FAILED)
        else:
            self._take(seen, chunk)
        return shadow_inference(seen.sensed.time_ns, chunk, error)

    def _take(self, seen: ShadowObservation, chunk: F64) -> None:
        if not np.isfinite(chunk).all():
            self._rules.append(Rule.NOT_FINITE.value)
            self._miss(ShadowOutcome.NOT_FINITE)
            return
        if self._missing is not None and self._whole_at is None:
            self._whole_at = seen.tick + self._queue.memory
        self._queue.add(chunk, seen.first_tick, seen.tick, self._action.target)

    def _as_own(self, sensed: Snapshot) -> Snapshot:
        fields = {**sensed.fields, "joint_pos": sensed.fields["joint_pos"][self._places]}
        frames = {name: sensed.frames[name] for name in self._contract.cameras}
        return replace(sensed, frames=frames, fields=fields)

    def _executed(self, tick: int, asked: ChunkTick) -> ShadowAnswer:
        """Execute the step for a tick; return the answer, without inferences."""
        step = self._queue.target(asked.number)
        if self._whole_at is not None and asked.number >= self._whole_at:
            self._missing = self._whole_at = None
        acted = () if step is None else self._command(step, asked.number)
        if self._missing is not None or step is None:
            missing = self._missing or ShadowOutcome.SKIPPED
            return ShadowAnswer(tick, missing, rules=tuple(self._rules))
        target = self._on_robot(step, self._own)
        active_target = self._on_robot(asked.target, self._theirs)
        return ShadowAnswer(
            tick,
            ShadowOutcome.COMPARED,
            rules=(*self._rules, *acted),
            beyond_limits=self._guard.is_beyond_limits(target, active_target),
            target=target,
            active_target=active_target,
        )

    def _command(self, step: F64, number: int) -> tuple[str, ...]:
        """Act as if a step [actions of the shadow] were commanded; return the rules that acted."""
        joint_pos = self._seen["joint_pos"][self._places]
        self._action.set(step, joint_pos)
        self._queue.advance(number)
        acted = self._guard.act(self._action.command, joint_pos, self._joint_vel)
        return (*self._action.clipped, *acted)

    def _on_robot(self, step: F64, places: Sequence[int]) -> F64:
        """Return a target [active joints]; joints without an action keep their stand position."""
        target = self._pose.copy()
        target[places] = step
        return target


def _settings_of_shadow(
    settings: ChunkSettings, active: ChunkContract, contract: ChunkContract
) -> ChunkSettings:
    chosen = replace(settings, steps=executed_steps(settings, active))
    if settings.mode == "ensemble":
        chosen = replace(chosen, ensemble_coeff=ensemble_coefficient(settings, active))
    check_settings(chosen, contract)
    return chosen
