# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Recorded ticks of a chunk policy through its real controller, compared stage by stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from model_tools.errors import ToolError
from model_tools.prove.replaying.chunk_robot import ChunkRobot
from model_tools.prove.replaying.recorded_inputs import command_names
from model_tools.prove.replaying.recorded_ticks import Info, RecordedTick
from model_tools.prove.replaying.stages import (
    COMMAND,
    GUARD,
    INPUTS,
    STATE,
    TARGET,
    Departure,
    ReplayCoverage,
    ReplayStage,
    StageCourse,
)
from model_tools.prove.replaying.verdicts import rule_of
from policy_inference.bundle.bundle import ChunkBundle
from policy_inference.core.chunks.settings import ChunkSettings
from policy_inference.core.guard import Rule
from policy_inference.core.limits import Limits
from policy_inference.interfaces import Mode, OnFault

_STAGES = (STATE, INPUTS, TARGET, COMMAND, GUARD)
"""The model's outputs are not computed again: the images that it was given are not recorded."""
_CHANGES = (
    Rule.ACTION_CLIP,
    Rule.RELATIVE_TARGET,
    Rule.TARGET_SPEED,
    Rule.EFFORT,
    Rule.TARGET_STEP,
    Rule.POSITION_LIMIT,
)
"""Rules that change a target and go on."""


class ChunkReplayer:
    """Replays one recording; call `step` with its ticks in their order.

    The controller computes each tick from the recorded state, from its own past, and from the
    recorded results of inferences. Where it departs from the recorded mode, and after ticks that
    are missing, a new controller takes over at the next tick whose past can be reached; until then
    nothing but the state is judged. A recording that begins in the middle of a run is judged once
    a chunk has arrived whose observation is in it, and all older ones are over.

    Attributes:
        joints: The recording's joints.
        stages: What was found, by stage.
        outputs: Nothing: the model is not run.
        targets: The targets that were judged.
        rules: How often each rule of the guard changed a target.
        coverage: How much could be judged.
        dropped: Nothing: a chunk policy's result belongs to no tick.
    """

    def __init__(
        self,
        bundle: ChunkBundle,
        info: Info,
        limits: Limits,
        settings: ChunkSettings,
        tolerances: Mapping[str, float],
    ) -> None:
        """Prepare.

        Args:
            bundle: What is replayed.
            info: What was recorded.
            limits: Those that were in force.
            settings: How chunks were executed.
            tolerances: By stage, see `ReplayStage`; 0 where absent.

        Raises:
            ToolError: The bundle is for other joints or sensors.
            PolicyError: The settings do not fit the policy.
        """
        self._bundle, self._limits, self._settings = bundle, limits, settings
        self._robot = ChunkRobot(bundle, limits, settings)
        state = self._robot.controller.state
        for what, needed, found in (
            ("joints", bundle.contract.joints.on_robot(), info.joints),
            ("inputs", [*self._robot.controller.inputs], info.inputs),
            ("state", state.slices, info.fields),
        ):
            if needed != found and [*needed] != [*found]:
                raise ToolError(
                    f"{bundle.path}: {what}: expected those of the recording "
                    f"({', '.join(found)}), found {', '.join(needed)}"
                )
        self.joints = info.joints
        sizes = {name: part.stop - part.start for name, part in info.fields.items()}
        self._state_names = [
            f"{name}[{info.joints[i] if name == 'joint_pos' else i}]"
            for name, size in sizes.items()
            for i in range(size)
        ]
        self._command_names = command_names(bundle.contract.joints.names)
        self._sources = {
            name: "joint_states" if name == "joint_pos" else name.removeprefix("external:")
            for name in sizes
        }
        self._seen = set[str]()
        self.stages = {
            name: ReplayStage(name=name, tolerance=tolerances.get(name, 0.0)) for name in _STAGES
        }
        self.outputs: dict[str, StageCourse] = {}
        self.targets = StageCourse()
        self.rules, self.dropped = Counter[str](), Counter[str]()
        self.coverage = ReplayCoverage(
            sizes, OnFault(bundle.contract.safety.on_fault), self.stages.keys()
        )
        self._joined = False
        self._before: RecordedTick | None = None
        self._began_ns = 0

    def step(self, tick: RecordedTick) -> None:
        """Replay a tick and compare all of it with what was recorded."""
        before = self._before
        if before is None:
            self._began_ns = tick.time_ns
        elif tick.number != before.number + 1:
            self.coverage.lose(tick.number - before.number - 1, before, tick)
            self._joined = False
        judged = {name: stage.judged for name, stage in self.stages.items()}
        if not self._joined:
            self._robot = ChunkRobot(self._bundle, self._limits, self._settings)
            self._seen.clear()
            self._joined = self._robot.join(tick)
        unsensed = self._drive(tick, (tick.time_ns - self._began_ns) * 1e-9)
        self._before = tick
        whole = [name for name, stage in self.stages.items() if stage.judged > judged[name]]
        if not tick.results:
            whole.append(INPUTS)  # there is nothing to judge
        self.coverage.add(tick, whole, unsensed)

    def _drive(self, tick: RecordedTick, time_s: float) -> list[str]:
        """Drive the controller through a tick; return the state's fields that no message said."""
        robot = self._robot
        if self._joined:
            robot.ask(tick)
        self._seen |= robot.sense(tick)
        unsensed = self._judge_state(tick, time_s)
        robot.controller.state.flat[:] = tick.state
        if not self._joined:
            due = {INPUTS: bool(tick.results), TARGET: tick.target is not None}
            for name in (INPUTS, TARGET, COMMAND, GUARD):
                if due.get(name, True):
                    self.stages[name].skip()
            return unsensed
        before = robot.controller.snapshot().counters
        robot.tick(tick)
        after = robot.controller.snapshot().counters
        self.rules.update(
            {
                rule.value: count
                for rule in _CHANGES
                if (count := after[rule.value] - before[rule.value])
            }
        )
        self._judge_inputs(tick, time_s)
        self._judge_target(tick, time_s)
        self._judge_command(tick, time_s)
        self._judge_mode(tick, time_s)
        if not robot.known and tick.mode is Mode.DAMP:
            # From here on the recorded command says what is held.
            self._joined = False
        return unsensed

    def _judge_state(self, tick: RecordedTick, time_s: float) -> list[str]:
        state = self._robot.controller.state
        known, unsensed = np.zeros(state.flat.size, bool), []
        for name, part in state.slices.items():
            source = self._sources[name]
            known[part] = is_known = tick.alone and (
                source in self._seen or tick.ages_ns[source] is None
            )
            if not is_known:
                unsensed.append(name)
        if known.any():
            self.stages[STATE].compare(
                tick.number, time_s, self._state_names, tick.state, state.flat, known
            )
        else:
            self.stages[STATE].skip()
        return unsensed

    def _judge_inputs(self, tick: RecordedTick, time_s: float) -> None:
        """Compare what the inferences were given whose results arrived: time and state."""
        stage, robot = self.stages[INPUTS], self._robot
        if not tick.results:
            return
        if not robot.known:
            stage.skip()
            return
        given = [*robot.worker.given]
        for place, result in enumerate(tick.results):
            sensed = given[place] if place < len(given) else None
            if sensed is None:
                self._depart(
                    INPUTS,
                    tick,
                    time_s,
                    "chunk",
                    f"the result of an inference that was asked for at {result.asked_ns} ns",
                    "no inference that was asked for then",
                )
                return
            found = np.concatenate([*sensed.fields.values()])
            stage.compare(
                tick.number,
                time_s,
                ["age of the observation, s", *self._state_names],
                np.array([(tick.time_ns - result.observation_ns) * 1e-9, *result.state]),
                np.array([(tick.time_ns - sensed.time_ns) * 1e-9, *found]),
            )

    def _judge_target(self, tick: RecordedTick, time_s: float) -> None:
        run = self._robot.controller.latest_run
        if tick.target is None or not self._robot.known:
            if tick.target is not None:
                self.stages[TARGET].skip()
            return
        if not run.taken:
            self._depart(TARGET, tick, time_s, "target", "one of the policy", "none")
            return
        names = self.joints
        self.stages[TARGET].compare(tick.number, time_s, names, tick.target, run.target)
        self.targets.add(tick.number, tick.target, run.target)

    def _judge_command(self, tick: RecordedTick, time_s: float) -> None:
        targets = self._robot.targets
        if tick.command is None or not self._robot.known:
            self.stages[COMMAND].skip()
        elif targets is None:
            self._depart(COMMAND, tick, time_s, "command", "one", "none")
        else:
            self.stages[COMMAND].compare(
                tick.number, time_s, self._command_names, tick.command, targets.block
            )

    def _judge_mode(self, tick: RecordedTick, time_s: float) -> None:
        """Compare mode and rule; a controller that departs is left behind."""
        controller = self._robot.controller
        mode, reason = controller.ticked
        expected, found = rule_of(tick.reason), rule_of(reason)
        same = mode is tick.mode and (not tick.reason or mode is not Mode.DAMP or expected is found)
        if same and not self._robot.refused:
            self.stages[GUARD].agree()
            return
        self._joined = mode is tick.mode
        self._depart(
            GUARD,
            tick,
            time_s,
            "mode",
            f"{tick.mode.name}" + (f" ({tick.reason})" if tick.reason else ""),
            self._robot.refused or f"{mode.name} ({reason})",
        )

    def _depart(
        self, stage: str, tick: RecordedTick, time_s: float, name: str, expected: str, found: str
    ) -> None:
        self.stages[stage].depart(
            Departure(
                tick=tick.number,
                time_s=time_s,
                stage=stage,
                name=name,
                expected=expected,
                found=found,
            )
        )
