# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy set whose members' models are run again on what was recorded."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from model_tools.errors import ToolError
from model_tools.prove.replaying.joint_policy import RecordedBackend
from model_tools.prove.replaying.recorded_chunks import RecordedChunks
from model_tools.prove.replaying.recorded_inputs import (
    fit,
    input_names,
    output_names,
    shapes,
    state_names,
)
from model_tools.prove.replaying.recorded_policy import RecordedClock, RecordedState
from model_tools.prove.replaying.recorded_ticks import RecordedTick
from model_tools.prove.replaying.stages import INPUTS, OUTPUTS, StageCourse, TickStages
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import ChunkContract
from policy_core.bundle.set_bundle import SetBundle
from policy_core.guard.bounds import Rule
from policy_core.guard.limits import Limits, StricterLimits, limits_in_force
from policy_core.interfaces import Backend, Tensor
from policy_core.members.chunk.controller import camera_input, state_sizes
from policy_core.members.chunk.settings import ChunkSettings
from policy_core.sets.chunk_member import ChunkRunner
from policy_core.sets.controller import (
    SWITCH,
    WAY_BACK,
    SensedState,
    cameras_of,
    policy_set_of,
    set_controller,
    set_inputs,
)
from policy_core.words import MEMBER_LATE, MEMBER_NOT_FINITE

_FAILED = re.compile(r"(?P<before>\S+) -> (?P<after>\S+): (?P=before) failed: (?P<why>.*)", re.S)
"""A switch to a fallback, as the reason of its tick has it."""


class RecordedExecution(NamedTuple):
    """How the chunk policies of a set were executed: their settings, and operating limits."""

    settings: ChunkSettings
    stricter_limits: StricterLimits


class RecordedSetState(RecordedState, SensedState):
    """The state of a policy set, as it was recorded."""


class RecordedSetPolicy:
    """A policy set on a recording.

    Each model of a joint policy is given what is observed here, and goes on with its recorded
    answer, so that no difference grows; a chunk policy is given the recorded results of its
    inferences. Requests and switches are the recorded ones.
    """

    actions = ()
    known = True

    def __init__(
        self,
        bundle: SetBundle,
        backends: Mapping[str, Backend],
        limits: Limits,
        clock: RecordedClock,
        outputs: Mapping[str, StageCourse],
        execution: RecordedExecution | None = None,
    ) -> None:
        """Tie the real parts together.

        Args:
            bundle: What is replayed.
            backends: Opened model of each joint policy; they stay the caller's to close.
            limits: Those that were in force.
            clock: Of the controller.
            outputs: Take what is judged of each output, by MEMBER.TENSOR.
            execution: How its chunk policies were executed, where it has some.
        """
        contract = bundle.contract
        self._contract, self._courses = contract, outputs
        self.state = RecordedSetState(contract, limits)
        self._models = {
            name: RecordedBackend(each, clock, partial(self._is_late, name))
            for name, each in backends.items()
        }
        self._left_was_late = False
        inputs = set_inputs(contract, self.state, limits)
        self._chunks = dict[str, RecordedChunks]()
        without_model = [name for name, each in bundle.members.items() if not each.models]
        runners: dict[str, Any] = {**dict.fromkeys(without_model), **self._models}
        if execution is not None:
            for name, member in bundle.members_of(ChunkBundle).items():
                runners[name] = self._runner(name, member.contract, clock, execution)
        policy_set = policy_set_of(bundle, runners, self.state, inputs, clock)
        self.policy_set = policy_set
        for name, chunks in self._chunks.items():
            chunks.frames = policy_set.members[name].frames
        self.outside = {camera_input(name) for name in cameras_of(contract)}
        self.controller = set_controller(contract, policy_set, self.state, inputs, limits, clock)
        self.requests: Mapping[str, Callable[[], object]] = {
            WAY_BACK: policy_set.go_back,
            **{f"{SWITCH} {state}": partial(policy_set.ask, state) for state in contract.states},
        }
        self._inputs, self._outputs = dict[str, Tensor](), dict[str, Tensor]()
        self._names = dict[str, list[str]]()
        joints = bundle.members_of(JointBundle)
        for name, model in self._models.items():
            for tensor, array in model.built.items():
                names = input_names(joints[name].contract, tensor)
                self._add(self._inputs, name, tensor, array, names)
            for tensor, array in model.answered.items():
                names = output_names(joints[name].contract, tensor, array.size)
                self._add(self._outputs, name, tensor, array, names)
        self._given, self._answered = set[str](), set[str]()
        self._rule: Rule | None = None

    def _runner(
        self,
        name: str,
        contract: ChunkContract,
        clock: RecordedClock,
        execution: RecordedExecution,
    ) -> ChunkRunner:
        """Return what a chunk policy runs on, with the recorded results of its inferences."""
        ends = np.cumsum([*state_sizes(contract).values()]).tolist()
        fields = {
            field: slice(end - size, end)
            for (field, size), end in zip(state_sizes(contract).items(), ends, strict=True)
        }
        names = [f"{name}.{each}" for each in state_names(contract.joints.on_robot(), fields)]
        self._chunks[name] = RecordedChunks(clock, names, name, self._is_late_alone)
        return ChunkRunner(
            worker=self._chunks[name].worker,
            settings=execution.settings,
            expected_s=0.0,
            longest_hold_ns=limits_in_force(contract, execution.stricter_limits).damp_after_ns,
        )

    def _is_late_alone(self) -> bool:
        """Return whether no joint policy commands, whose model could have made the tick late."""
        members = self._contract.states[self.policy_set.report.state].members
        return not self._models.keys() & {*members}

    def _add(
        self, found: dict[str, Tensor], member: str, tensor: str, array: Tensor, names: list[str]
    ) -> None:
        found[f"{member}.{tensor}"] = array
        self._names[f"{member}.{tensor}"] = [f"{member}.{each}" for each in names]

    def begin(self) -> None:
        """Do nothing: a run begins clean by itself."""

    def restored(self, *, whole: bool) -> None:
        """Know of no tensor: those of a tick are there once a model has run in it."""
        self._given.clear()
        self._answered.clear()
        self._rule = None
        for chunks in self._chunks.values():
            chunks.restored(self.controller.inputs)

    def sense(self, tick: RecordedTick) -> None:
        """Prepare the runs of the models."""
        if tick.ran:
            self._require_tensors(tick)
        if tick.reason:
            self._rule = tick.rule
        for chunks in self._chunks.values():
            chunks.sense(tick)
        failing = self._failing(tick)
        blamed = _FAILED.fullmatch(tick.next_reason)
        self._left_was_late = blamed is None or blamed["why"] != MEMBER_LATE
        for name, model in self._models.items():
            model.ran, model.failure = False, failing.get(name, "")
            model.said = {
                tensor: values
                for tensor in model.outputs
                if (values := tick.outputs.get(f"{name}.{tensor}")) is not None
            }

    def _failing(self, tick: RecordedTick) -> dict[str, str]:
        """Return the members whose runtime failed on the robot, and why.

        Which member of a state it was is not recorded, and makes no difference.
        """
        if tick.ran and not tick.outputs:
            if self._rule is Rule.NO_TARGET:
                return {}  # a member says so by itself
            return dict.fromkeys(self._models, tick.reason or "it failed on the robot")
        found = _FAILED.fullmatch(tick.reason)
        if found is None or found["why"] in (MEMBER_LATE, MEMBER_NOT_FINITE):
            return {}
        states = self._contract.states
        failed = {*states[found["before"]].members} - {*states[found["after"]].members}
        return dict.fromkeys(failed, found["why"])

    def _is_late(self, member: str) -> bool:
        """Return whether the time by which a tick was late is this member's, which runs now.

        The robot's set has gone on without the members that a blend leaves, or in the fallback of
        the state, as the reason of the next tick says.
        """
        report = self.policy_set.report
        state = self._contract.states[report.state]
        if not self._left_was_late or (report.is_blending and state.fallback is None):
            return True
        # In the tick of a switch, the members that enter run before the blend begins.
        return (member in state.members) is not report.is_blending

    def _require_tensors(self, tick: RecordedTick) -> None:
        for found, ours, may in (
            (tick.inputs, self._inputs, False),
            (tick.outputs, self._outputs, True),
        ):
            if not fit(found, ours, or_none=may):
                raise ToolError(
                    f"{self._contract.name}: tick {tick.number}: expected tensors of the members, "
                    f"{shapes(ours)}, found {shapes(found)}"
                )

    def end(self, tick: RecordedTick) -> None:
        """Do nothing: all of a run is known."""

    def own_fields(self, tick: RecordedTick, sensed: Collection[str]) -> set[str]:
        """Return none: what members remember is not in the state of the set."""
        return set()

    def judge(self, tick: RecordedTick, stages: TickStages) -> None:
        """Compare what the models were given and what they answer, each since its first run."""
        for chunks in self._chunks.values():
            chunks.judge(tick, stages)
        if not tick.ran:
            return
        for name, model in self._models.items():
            if model.ran:
                self._given |= {f"{name}.{tensor}" for tensor in model.inputs}
                tensors = {f"{name}.{tensor}" for tensor in model.outputs}
                self._answered -= tensors
                self._answered |= set() if model.failure else tensors
        self._compare(INPUTS, self._given, tick.inputs, self._inputs, stages)
        if tick.outputs:
            self._compare(OUTPUTS, self._answered, tick.outputs, self._outputs, stages)
            for name in sorted(self._answered):
                member = name.partition(".")[0]
                if self._models[member].ran:
                    self._courses[name].add(tick.number, tick.outputs[name], self._outputs[name])
        else:
            stages.skip(OUTPUTS)

    def _compare(
        self,
        stage: str,
        known: Collection[str],
        expected: Mapping[str, Tensor],
        found: Mapping[str, Tensor],
        stages: TickStages,
    ) -> None:
        names = [name for name in found if name in known]
        if not names:
            stages.skip(stage)
            return
        stages.compare(
            stage,
            [each for name in names for each in self._names[name]],
            *(np.concatenate([of[name].reshape(-1) for name in names]) for of in (expected, found)),
        )
