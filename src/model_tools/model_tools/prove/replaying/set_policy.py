# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy set whose members' models are run again on what was recorded."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from functools import partial

import numpy as np

from model_tools.errors import ToolError
from model_tools.prove.replaying.joint_policy import RecordedBackend
from model_tools.prove.replaying.recorded_inputs import fit, input_names, output_names, shapes
from model_tools.prove.replaying.recorded_policy import RecordedClock, RecordedState
from model_tools.prove.replaying.recorded_ticks import RecordedTick
from model_tools.prove.replaying.stages import INPUTS, OUTPUTS, StageCourse, TickStages
from model_tools.simulation.controlled import joint_members_of
from policy_core.bundle.bundle import SetBundle
from policy_core.guard.limits import Limits
from policy_core.interfaces import Backend, Tensor
from policy_core.sets.controller import (
    SWITCH,
    WAY_BACK,
    SensedState,
    policy_set_of,
    set_controller,
    set_inputs,
)
from policy_core.sets.policy import LATE, NOT_FINITE

_FAILED = re.compile(r"(?P<before>\S+) -> (?P<after>\S+): (?P=before) failed: (?P<why>.*)", re.S)
"""A switch to a fallback, as the reason of its tick has it."""


class RecordedSetState(RecordedState, SensedState):
    """The state of a policy set, as it was recorded."""


class RecordedSetPolicy:
    """A policy set on a recording.

    Each model is given what is observed here, and goes on with its recorded answer, so that no
    difference grows. Requests and switches are the recorded ones.
    """

    outside = ()
    actions = ()
    known = True

    def __init__(
        self,
        bundle: SetBundle,
        backends: Mapping[str, Backend],
        limits: Limits,
        clock: RecordedClock,
        outputs: Mapping[str, StageCourse],
    ) -> None:
        """Tie the real parts together.

        Args:
            bundle: What is replayed.
            backends: Opened model of each member; they stay the caller's to close.
            limits: Those that were in force.
            clock: Of the controller.
            outputs: Take what is judged of each output, by MEMBER.TENSOR.
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
        policy_set = policy_set_of(bundle, self._models, self.state, inputs, clock)
        self._policy_set = policy_set
        self.controller = set_controller(contract, policy_set, self.state, inputs, limits, clock)
        self.requests: Mapping[str, Callable[[], object]] = {
            WAY_BACK: policy_set.go_back,
            **{f"{SWITCH} {state}": partial(policy_set.ask, state) for state in contract.states},
        }
        members = joint_members_of(bundle)
        self._inputs, self._outputs = dict[str, Tensor](), dict[str, Tensor]()
        self._names = dict[str, list[str]]()
        for name, model in self._models.items():
            member = members[name].contract
            for tensor, array in model.built.items():
                self._add(self._inputs, name, tensor, array, input_names(member, tensor))
            for tensor, array in model.answered.items():
                names = output_names(member, tensor, array.size)
                self._add(self._outputs, name, tensor, array, names)
        self._given, self._answered = set[str](), set[str]()

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

    def sense(self, tick: RecordedTick) -> None:
        """Prepare the runs of the models.

        Raises:
            ToolError: The recorded tensors are not those of the models.
        """
        if tick.ran:
            self._require_tensors(tick)
        failing = self._failing(tick)
        blamed = _FAILED.fullmatch(tick.next_reason)
        self._left_was_late = blamed is None or blamed["why"] != LATE
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
            return dict.fromkeys(self._models, tick.reason or "it failed on the robot")
        found = _FAILED.fullmatch(tick.reason)
        if found is None or found["why"] in (LATE, NOT_FINITE):
            return {}
        states = self._contract.states
        failed = {*states[found["before"]].members} - {*states[found["after"]].members}
        return dict.fromkeys(failed, found["why"])

    def _is_late(self, member: str) -> bool:
        """Return whether the time by which a tick was late is this member's, which runs now.

        The robot's set has gone on without the members that a blend leaves, or in the fallback of
        the state, as the reason of the next tick says.
        """
        report = self._policy_set.report
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
