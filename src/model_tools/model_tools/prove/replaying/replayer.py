# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Runs recorded ticks through the robot's own controller, and compares stage by stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np

from model_tools.errors import ToolError
from model_tools.prove.replaying.recorded_inputs import Recorded, command_names, state_names
from model_tools.prove.replaying.recording import Info, RecordedTick, find_rule
from model_tools.prove.replaying.robot import RecordedClock, ReplayedPolicy, ReplayedRobot
from model_tools.prove.replaying.stages import (
    COMMAND,
    GUARD,
    INPUTS,
    OUTPUTS,
    STATE,
    TARGET,
    ReplayCoverage,
    ReplayStage,
    StageCourse,
    TickStages,
)
from policy_core.bundle.bundle import Bundle
from policy_core.bundle.state_fields import topic_fields
from policy_core.guard.bounds import Rule
from policy_core.interfaces import Mode, OnFault
from policy_core.observation.state import EXTERNAL

_CHANGES = (
    Rule.ACTION_CLIP,
    Rule.RELATIVE_TARGET,
    Rule.TARGET_SPEED,
    Rule.EFFORT,
    Rule.TARGET_STEP,
    Rule.POSITION_LIMIT,
)
"""Rules that change a target without ending the motion."""


class Replayer:
    """Replays one recording; call `step` with its ticks in order.

    The controller starts from the state recorded before the first tick. It computes each tick from
    the recorded messages, its own past, and the recorded answers of the model. After a difference
    from the recorded mode, and after missing ticks, a new controller starts from the next recorded
    state; until then only the state is judged.

    Attributes:
        joints: The recording's joints.
        stages: Results by stage.
        outputs, targets: Judged values of each model output, and of the targets; the latter in the
            recording's joint order.
        rules: Number of ticks in which each rule of the guard changed a target.
        coverage: Counts of ticks that were judged, and of those that could not be.
        dropped: Ticks whose answer was dropped, by cause.
        unreadable: Number of unreadable messages, by input.
    """

    def __init__(
        self,
        bundle: Bundle,
        info: Info,
        make: Callable[[RecordedClock], ReplayedPolicy],
        stages: Sequence[str],
        tolerances: Mapping[str, float],
        outputs: Mapping[str, StageCourse],
        *,
        seeded: bool,
    ) -> None:
        """Prepare the replay.

        Args:
            bundle: Bundle to replay.
            info: Description of the recording.
            make: Creates the bundle's policy with an empty history, and its controller.
            stages: Stages that can be judged.
            tolerances: Tolerances by stage, see `ReplayStage`; 0 if absent.
            outputs: Where the policy stores the judged values of the outputs.
            seeded: True for the recorded policy, all of whose inputs are recorded.
        """
        contract = bundle.contract
        first = make(RecordedClock())
        state, inputs = first.state, first.controller.inputs
        self._body, self._make = contract, make
        self._recorded = Recorded(bundle, info, state)
        if seeded:
            _require_recorded(bundle, "the ages of the inputs", inputs, info.inputs)
            _require_recorded(bundle, "state fields", state.slices, info.fields)
        self.joints, self._slices = info.joints, state.slices
        names = contract.joints.names
        self._names = {
            STATE: state_names(names, state.slices, first.actions),
            TARGET: list(names),
            COMMAND: command_names(names),
        }
        self.stages = {name: ReplayStage(tolerance=tolerances.get(name, 0.0)) for name in stages}
        self.outputs, self.targets = outputs, StageCourse()
        self.rules, self.dropped = Counter[str](), Counter[str]()
        self.unreadable = Counter[str]()
        timed = [name for name, entry in inputs.items() if entry.timeout_ns is not None]
        required = {field for name in timed for field in _fields(name)}
        self.coverage = ReplayCoverage(
            required & {*self._recorded.fields},
            OnFault(contract.safety.on_fault),
            self.stages.keys(),
        )
        self._seeded = seeded
        self._robot, self._joined = self._new(), False
        self._before: RecordedTick | None = None
        self._began_ns = 0

    def _new(self) -> ReplayedRobot:
        return ReplayedRobot(self._body, self._recorded, self._make)

    @property
    def policy(self) -> ReplayedPolicy:
        return self._robot.policy

    def step(self, tick: RecordedTick) -> None:
        before = self._before
        if before is None:
            self._began_ns = tick.time_ns
        elif tick.number != before.number + 1:
            self.coverage.lose(tick.number - before.number - 1, before, tick)
            self._robot, self._joined = self._new(), False
            before = None
        if tick.goes_on_from is not None and not self._joined:
            self._robot, self._joined = self._new(), True
            self._robot.go_on_from(tick, whole=self._seeded)
        stages = TickStages(self.stages, tick, (tick.time_ns - self._began_ns) * 1e-9)
        unsensed = self._drive(tick, before, stages)
        if tick.ran and tick.target is None:
            self.dropped[tick.dropped_by] += 1
        self.unreadable.update(tick.unreadable.keys())
        self._before = tick
        judged = stages.judged
        if tick.policy_ns and not tick.results:
            judged.append(INPUTS)  # nothing to judge
        self.coverage.add(tick, judged, unsensed)

    def _drive(
        self, tick: RecordedTick, before: RecordedTick | None, stages: TickStages
    ) -> list[str]:
        """Drive the robot through a tick; return the state's fields that no message contained."""
        robot = self._robot
        # No request can be granted before the first messages.
        senses_first = not robot.has_sensed
        if self._joined and not senses_first:
            robot.ask(tick)
        robot.sense(tick, before)
        if self._joined and senses_first:
            robot.ask(tick)
        if not self._joined:
            robot.compute_state(tick)
            unsensed = self._judge_state(tick, stages)
            self._skip(tick, stages)
            return unsensed
        counted = robot.controller.snapshot().counters
        robot.tick(tick)
        found = robot.controller.snapshot().counters
        changed = {rule.value: found[rule.value] - counted[rule.value] for rule in _CHANGES}
        self.rules.update({name: count for name, count in changed.items() if count})
        unsensed = self._judge_state(tick, stages)
        robot.policy.judge(tick, stages)
        self._joined = self._judge_mode(tick, stages)
        if self._joined:
            self._judge_target(tick, stages)
            self._judge_command(tick, stages)
        else:
            stages.skip(*[TARGET] if tick.target is not None else [], COMMAND)
        robot.policy.end()
        return unsensed

    def _skip(self, tick: RecordedTick, stages: TickStages) -> None:
        due = {
            INPUTS: tick.ran or bool(tick.results),
            OUTPUTS: tick.ran,
            TARGET: tick.target is not None,
        }
        stages.skip(*(name for name in self.stages if name != STATE and due.get(name, True)))

    def _judge_state(self, tick: RecordedTick, stages: TickStages) -> list[str]:
        """Compare the state computed from sensor messages and the policy's own past.

        Returns:
            The fields that no message contained.
        """
        robot = self._robot
        computed = robot.policy.state.computed
        expected, known = computed.copy(), np.zeros(computed.size, bool)
        self._recorded.write(tick, expected)
        silent = {name for name, age_ns in tick.ages_ns.items() if age_ns is None}
        names = robot.seen | silent if tick.alone else ()
        sensed = {field for name in names for field in _fields(name)}
        measured = {field for name in robot.controller.inputs for field in _fields(name)}
        own = robot.policy.own_fields(tick, sensed) if self._joined else ()
        for field in self._recorded.fields:
            known[self._slices[field]] = field in (sensed if field in measured else own)
        if known.any():
            stages.compare(STATE, self._names[STATE], expected, computed, known)
        else:
            stages.skip(STATE)
        return [
            field for field in self._recorded.fields if field in measured and field not in sensed
        ]

    def _judge_mode(self, tick: RecordedTick, stages: TickStages) -> bool:
        """Compare the mode and the rule with the recorded ones; return whether they are equal."""
        robot = self._robot
        mode, reason = robot.controller.latest_tick.mode, robot.controller.latest_tick.reason
        faulty = tick.reason and mode is Mode.DAMP
        same = mode is tick.mode and not (faulty and find_rule(reason) is not tick.rule)
        if same and not robot.refused:
            stages.agree(GUARD)
            return True
        stages.depart(
            GUARD,
            "mode",
            f"{tick.mode.name}" + (f" ({tick.reason})" if tick.reason else ""),
            robot.refused or f"{mode.name} ({reason})",
        )
        return False

    def _judge_target(self, tick: RecordedTick, stages: TickStages) -> None:
        robot, expected = self._robot, self._recorded.target(tick)
        run = robot.controller.latest_tick
        if tick.target is None or expected is None:
            return
        if not robot.policy.known:
            stages.skip(TARGET)
        elif not run.taken:
            stages.depart(TARGET, "target", "one of the policy", "none")
        else:
            stages.compare(TARGET, self._names[TARGET], expected, run.target)
            self.targets.add(tick.number, tick.target, run.target[self._recorded.back])

    def _judge_command(self, tick: RecordedTick, stages: TickStages) -> None:
        robot, expected = self._robot, self._recorded.command(tick)
        if expected is None or not robot.policy.known:
            stages.skip(COMMAND)
        elif robot.targets is None:
            stages.depart(COMMAND, "command", "one", "none")
        else:
            stages.compare(COMMAND, self._names[COMMAND], expected, robot.targets.block)


def _fields(name: str) -> list[str]:
    """Return the fields of the state that an input provides."""
    return [field.name for field in topic_fields(name)] or [f"{EXTERNAL}{name}"]


def _require_recorded(
    bundle: Bundle, what: str, needed: Iterable[str], found: Collection[str]
) -> None:
    if unknown := [name for name in needed if name not in found]:
        raise ToolError(
            f"{bundle.path}: the recording lacks some of what this policy needs: {what} "
            f"{', '.join(unknown)}"
        )
