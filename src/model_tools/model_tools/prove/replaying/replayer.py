# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Recorded ticks through the robot's own code: sensors, observation, model, action, guard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.terms import frames
from model_tools.prove.replaying.recorded_inputs import (
    Recorded,
    RecordedBackend,
    SensedState,
    command_names,
    fit,
    input_names,
    output_names,
    shapes,
    state_names,
)
from model_tools.prove.replaying.recorded_ticks import Info, RecordedTick
from model_tools.prove.replaying.stages import (
    COMMAND,
    GUARD,
    INPUTS,
    OUTPUTS,
    STAGES,
    STATE,
    TARGET,
    ReplayCoverage,
    ReplayStage,
    StageCourse,
)
from model_tools.prove.replaying.verdicts import OtherCommands, Verdicts
from policy_inference.bundle.bundle import JointBundle
from policy_inference.core.limits import Limits
from policy_inference.core.motions import SafeTargets, Stand
from policy_inference.core.policy import JointPolicy
from policy_inference.core.run import Run
from policy_inference.core.state import LAST_OUTPUT, RobotState
from policy_inference.interfaces import F64, Backend, Mode


class Replayer:
    """Replays one recording; call `step` with its ticks in their order.

    Each stage begins with what was recorded of the one before: the model with the recorded state,
    the bounds with the recorded answer, the command with the recorded target. So no difference
    grows, and only the model may differ by more than rounding on another machine. The history goes
    on from tick to tick as on the robot. Where ticks are missing before one, what they would
    say is taken from what was recorded, as far as it is known from there, and the stages that need
    the rest are not judged. A bundle of another function answers, bounds and commands by itself.

    Attributes:
        joints: The recording's joints.
        stages: What was found, by stage.
        outputs, targets: What was judged of each output of the model, and of the targets; these
            in the order of the recording's joints.
        rules: How often each rule of the guard changed a target.
        ran: Ticks in which the model ran.
        coverage: How much could be judged.
        dropped: Ticks whose answer was not followed, by cause.
    """

    def __init__(
        self,
        bundle: JointBundle,
        backend: Backend,
        info: Info,
        limits: Limits,
        tolerances: Mapping[str, float],
        *,
        seeded: bool,
    ) -> None:
        """Tie the robot's parts together.

        Args:
            bundle: What is replayed.
            backend: Opened backend of it; stays the caller's to close.
            info: What was recorded.
            limits: Those that were in force.
            tolerances: By stage, see `ReplayStage`; 0 where absent.
            seeded: Whether the model means by its inputs and outputs what the recorded one does,
                so that recorded ones may stand in for them.

        Raises:
            ToolError: The bundle is for other joints, or needs what was not recorded.
        """
        contract, names = bundle.contract, bundle.contract.joints.names
        self._contract, self.joints = contract, info.joints
        self._seeded = seeded
        self._state = RobotState(contract, orientation=limits.max_tilt_rad is not None)
        self._recorded = Recorded(bundle, info, self._state)
        for what, needed, there in (
            ("ages", self._state.inputs, info.inputs),
            ("fields of the state", self._state.slices, info.fields),
        ):
            if seeded and (unknown := [name for name in needed if name not in there]):
                raise ToolError(
                    f"{bundle.path}: expected a recording of what the policy needs, "
                    f"found no {what} for {', '.join(unknown)}"
                )
        self._sensed = SensedState(contract, self._state, limits)
        effort_limit = limits.effort_scale * contract.joints.effort_limit
        self._stand = Stand(contract, effort_limit)
        safe = SafeTargets(contract, effort_limit, self._state.get("joint_vel"))
        self._others = OtherCommands(self._recorded, self._stand, safe)
        self._backend = RecordedBackend(backend)
        self._policy = JointPolicy(bundle, self._backend, self._state)
        self._run = Run(contract, self._policy, self._state, self._stand, limits, effort_limit)
        self._verdicts = Verdicts(contract, self._state, limits)
        self._recurrent = {pair.input for pair in contract.state}
        self._frames = max(frames(each) for each in contract.observations.values())
        self._names = {
            STATE: state_names(contract, self._state.slices),
            TARGET: list(names),
            COMMAND: command_names(names),
        }
        self._input_names = {name: input_names(contract, name) for name in backend.inputs}
        self._output_names = {
            name: output_names(contract, name, array.size)
            for name, array in backend.outputs.items()
        }
        self.stages = {
            name: ReplayStage(name=name, tolerance=tolerances.get(name, 0.0)) for name in STAGES
        }
        self.outputs = {name: StageCourse() for name in backend.outputs}
        self.targets = StageCourse()
        self.rules = Counter[str]()
        self.dropped = Counter[str]()
        self.coverage = ReplayCoverage(
            self._sensed.required & {*self._recorded.fields}, safe.on_fault
        )
        self.ran = 0
        self._before: RecordedTick | None = None
        self._began_ns = 0
        self._forget()

    def _forget(self) -> None:
        """Know nothing of what was before."""
        self._missing_frames = self._frames - 1
        self._carried = self._target_known = self._own_known = self._counted = False
        self._answer_known = self._clips_known = False
        self._others.forget()

    def step(self, tick: RecordedTick) -> None:
        """Replay a tick and compare all of it with what was recorded.

        Raises:
            BackendError: The model does not run.
            ToolError: The bundle needs what was not recorded.
        """
        before = self._before
        if before is None:
            self._began_ns = tick.time_ns
        elif tick.number != before.number + 1:
            self.coverage.lose(tick.number - before.number - 1, before, tick)
            self._forget()
            self._sensed.forget()
            before = None
        judged = {name: stage.judged for name, stage in self.stages.items()}
        time_s = (tick.time_ns - self._began_ns) * 1e-9
        if tick.begins:
            self._run.begin(tick.time_ns)
            self._missing_frames = 0
            self._carried = self._target_known = self._own_known = self._counted = True
            self._clips_known = True
        if not tick.alone:
            self._sensed.forget()
        self._sensed.take(tick)
        unsensed = self._judge_state(tick, time_s)
        self._recorded.write(tick, self._state.flat)
        finite = self._infer(tick, time_s) if tick.ran else True
        self._follow(tick, before, time_s)
        clipped = self._run.clipped_ticks if self._clips_known else None
        self._verdicts.judge(
            tick, before, finite=finite, clipped=clipped, stage=self.stages[GUARD], time_s=time_s
        )
        self._before = tick
        self.coverage.add(
            tick,
            [name for name, stage in self.stages.items() if stage.judged > judged[name]],
            unsensed,
        )

    def _judge_state(self, tick: RecordedTick, time_s: float) -> list[str]:
        """Compare what the sensors' messages and the policy's own past make of the state.

        Returns:
            The fields that no message said.
        """
        unsensed = []
        expected, known = self._state.flat.copy(), np.zeros(self._state.flat.size, bool)
        self._recorded.write(tick, expected)
        sources = self._sensed.known(tick)
        for field in self._recorded.fields:
            where = self._state.slices[field]
            phase = self._state.phases.get(field)
            if field == "last_action" or field.startswith(LAST_OUTPUT):
                known[where] = tick.ran and self._own_known
            elif field == "tick" or phase:
                commanded = tick.alone and "velocity_command" in sources
                shown = commanded or not (phase and phase.is_commanded)
                known[where] = tick.ran and self._counted and shown
            else:
                known[where] = is_sensed = tick.alone and field in sources
                if not is_sensed:
                    unsensed.append(field)
        if known.any():
            self.stages[STATE].compare(
                tick.number, time_s, self._names[STATE], expected, self._state.flat, known
            )
        else:
            self.stages[STATE].skip()
        return unsensed

    def _infer(self, tick: RecordedTick, time_s: float) -> bool:
        """Run the model; return whether its result is finite."""
        self.ran += 1
        self._require_known_state(tick)
        fits = fit(tick.inputs, self._backend.inputs)
        if self._seeded:
            for found, ours, may in (
                (tick.inputs, self._backend.inputs, False),
                (tick.outputs, self._backend.outputs, True),
            ):
                if not fit(found, ours, or_none=may):
                    raise ToolError(
                        f"{self._contract.name}: tick {tick.number}: expected tensors "
                        f"of the model, {shapes(ours)}, found {shapes(found)}"
                    )
        names = {*self._recurrent, *(self._contract.observations if self._missing_frames else ())}
        self._backend.given = {name: tick.inputs[name] for name in names} if self._seeded else {}
        self._backend.said = tick.outputs if self._seeded else {}
        finite = self._run.infer()
        if fits:
            self._judge_inputs(tick, time_s)
        else:
            self.stages[INPUTS].skip()
        own = not self._missing_frames and (self._carried or not self._recurrent)
        self._answer_known = self._seeded or own
        if self._answer_known:
            self._judge_outputs(tick, time_s)
        else:
            self.stages[OUTPUTS].skip()
        return finite

    def _judge_outputs(self, tick: RecordedTick, time_s: float) -> None:
        """Compare what the model answers, as far as it has the same outputs."""
        found = {
            name: array
            for name, array in self._backend.answered.items()
            if name in tick.outputs and tick.outputs[name].shape == array.shape
        }
        if not found:
            self.stages[OUTPUTS].skip()
            return
        self.stages[OUTPUTS].compare(
            tick.number,
            time_s,
            [each for name in found for each in self._output_names[name]],
            *(
                np.concatenate([arrays[name].reshape(-1) for name in found])
                for arrays in (tick.outputs, found)
            ),
        )
        for name, array in found.items():
            self.outputs[name].add(tick.number, tick.outputs[name], array)

    def _judge_inputs(self, tick: RecordedTick, time_s: float) -> None:
        """Compare what the model is given, as far as its past is known."""
        judged = [
            name
            for name in self._backend.inputs
            if (self._carried if name in self._recurrent else not self._missing_frames)
        ]
        if not judged:
            self.stages[INPUTS].skip()
            return
        self.stages[INPUTS].compare(
            tick.number,
            time_s,
            [each for name in judged for each in self._input_names[name]],
            np.concatenate([tick.inputs[name].reshape(-1) for name in judged]),
            np.concatenate([self._backend.built[name].reshape(-1) for name in judged]),
        )

    def _require_known_state(self, tick: RecordedTick) -> None:
        """Raise where the observation needs a sensor that was not recorded."""
        unknown = [name for name in self._state.not_finite() if name not in self._recorded.fields]
        if unknown:
            raise ToolError(
                f"{self._contract.name}: tick {tick.number}: expected a recording of "
                f"what the policy observes, found nothing of {', '.join(unknown)}"
            )

    def _follow(self, tick: RecordedTick, before: RecordedTick | None, time_s: float) -> None:
        """Make the tick's target and command: the policy's, or the command of its mode."""
        if tick.target is not None:
            judged = self._act(tick, tick.target[self._recorded.joints], time_s)
            commands = self._run.targets.block if judged or self._seeded else None
        else:
            self.dropped.update([tick.dropped_by] if tick.ran else [])
            commands = None
        self._judge_command(tick, before, commands, time_s)

    def _act(self, tick: RecordedTick, expected: F64, time_s: float) -> bool:
        """Follow the model's answer: bounds, then the share that the policy has.

        Returns:
            Whether the target could be judged.
        """
        judged = self._target_known and self._answer_known
        if not judged:
            self._run.resume(expected)
        rules = self._run.take_over(tick.blend)
        self.rules.update(rule.value for rule in rules)
        target = self._policy.action.command
        if judged:
            self._clips_known = self._clips_known or self._run.clipped_ticks == 0
            self.stages[TARGET].compare(tick.number, time_s, self._names[TARGET], expected, target)
            assert tick.target is not None
            self.targets.add(tick.number, tick.target, target[self._recorded.back])
        else:
            self.stages[TARGET].skip()
        if self._seeded or not judged:
            self._run.follow(expected, tick.blend)
        # What the next tick began with on the robot.
        for name, field in (
            (self._contract.action.output, self._state["last_action"]),
            *self._state.last_outputs.items(),
        ):
            answer = tick.outputs.get(name)
            if answer is not None and answer.size == field.size:
                field[:] = answer.reshape(-1)
        self._missing_frames = max(0, self._missing_frames - 1)
        self._carried = self._target_known = self._own_known = True
        return judged

    def _judge_command(
        self, tick: RecordedTick, before: RecordedTick | None, found: F64 | None, time_s: float
    ) -> None:
        """Compare the command that was sent with what was `found`, in RUN, or that of its mode."""
        commanded = self._recorded.command(tick)
        if commanded is not None and not (tick.mode is tick.command_mode is Mode.RUN):
            # That of an e-stop, or of a fault that was latched once the policy had run, too.
            found = self._others.of(tick, before)
        if commanded is None or found is None:
            self.stages[COMMAND].skip()
            return
        self.stages[COMMAND].compare(tick.number, time_s, self._names[COMMAND], commanded, found)
