# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy set whose members' models run again on recorded data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from model_tools.prove.replaying.joint_policy import RecordedBackend
from model_tools.prove.replaying.recorded_chunks import RecordedChunks
from model_tools.prove.replaying.recorded_inputs import (
    input_names,
    output_names,
    require_tensors,
    state_names,
)
from model_tools.prove.replaying.recording import RecordedTick
from model_tools.prove.replaying.robot import (
    RecordedClock,
    RecordedState,
    ReplayedPolicy,
)
from model_tools.prove.replaying.stages import INPUTS, OUTPUTS, StageCourse, TickStages
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.set_bundle import SetBundle
from policy_core.guard.bounds import Rule
from policy_core.guard.limits import Limits, StricterLimits, limits_in_force
from policy_core.interfaces import Backend, Tensor
from policy_core.members.chunk.controller import camera_input, state_sizes
from policy_core.members.chunk.settings import ChunkSettings
from policy_core.observation.state import StateVector
from policy_core.sets.chunk_member import ChunkRunner
from policy_core.sets.controller import (
    SWITCH,
    WAY_BACK,
    SensedState,
    list_cameras,
    make_policy_set,
    set_controller,
    set_inputs,
)
from policy_core.words import MEMBER_LATE, MEMBER_NOT_FINITE

_FAILED = re.compile(r"(?P<before>\S+) -> (?P<after>\S+): (?P=before) failed: (?P<why>.*)", re.S)
"""Text in a tick's reason that reports a switch to a fallback."""


class RecordedSetState(RecordedState, SensedState):
    """The recorded state of a policy set."""


class RecordedSetPolicy(ReplayedPolicy):
    """A policy set that runs on a recording.

    Each model of a joint policy receives the observation computed here, and continues with its
    recorded output, so that differences do not accumulate; a chunk policy receives the recorded
    results of its inferences. Requests and switches are the recorded ones.
    """

    def __init__(
        self,
        bundle: SetBundle,
        backends: Mapping[str, Backend],
        limits: Limits,
        clock: RecordedClock,
        outputs: Mapping[str, StageCourse],
        settings: ChunkSettings,
        stricter_limits: StricterLimits,
    ) -> None:
        """Connect the set to a real controller.

        Args:
            bundle: Bundle to replay.
            backends: Opened model of each joint policy, which the caller closes.
            limits: Limits that were in force.
            clock: Clock of the controller.
            outputs: Receives the judged values of each output, by MEMBER.TENSOR.
            settings: Execution settings of the set's chunk policies.
            stricter_limits: Operating limits of the set's chunk policies.
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
        for name, member in bundle.select_members(ChunkBundle).items():
            arm = member.contract
            fields = StateVector(state_sizes(arm)).slices
            values = [f"{name}.{each}" for each in state_names(arm.joints.on_robot(), fields)]
            self._chunks[name] = RecordedChunks(clock, values, name, self._is_late_alone)
            runners[name] = ChunkRunner(
                worker=self._chunks[name].worker,
                settings=settings,
                expected_s=0.0,
                longest_hold_ns=limits_in_force(arm, stricter_limits).damp_after_ns,
            )
        policy_set = make_policy_set(bundle, runners, self.state, inputs, clock)
        self.policy_set = policy_set
        for name, chunks in self._chunks.items():
            chunks.frames = policy_set.members[name].frames
        self.outside = {camera_input(name) for name in list_cameras(contract)}
        self.controller = set_controller(contract, policy_set, self.state, inputs, limits, clock)
        self.requests = {
            WAY_BACK: policy_set.go_back,
            **{f"{SWITCH} {state}": partial(policy_set.ask, state) for state in contract.states},
        }
        self._inputs, self._outputs = dict[str, Tensor](), dict[str, Tensor]()
        self._names = dict[str, list[str]]()
        joints = bundle.select_members(JointBundle)
        for name, model in self._models.items():
            of = joints[name].contract
            called = {tensor: input_names(of, tensor) for tensor in model.built}
            called |= {
                tensor: output_names(of, tensor, array.size)
                for tensor, array in model.answered.items()
            }
            for tensor, names in called.items():
                self._names[f"{name}.{tensor}"] = [f"{name}.{each}" for each in names]
            self._inputs |= {f"{name}.{tensor}": array for tensor, array in model.built.items()}
            self._outputs |= {f"{name}.{tensor}": each for tensor, each in model.answered.items()}
        self._given, self._answered = set[str](), set[str]()
        self._rule: Rule | None = None

    def _is_late_alone(self) -> bool:
        """Return whether no joint policy is active whose model could have made the tick late."""
        members = self._contract.states[self.policy_set.report.state].members
        return not self._models.keys() & {*members}

    def restored(self, *, whole: bool) -> None:
        self._given.clear()
        self._answered.clear()
        self._rule = None
        for chunks in self._chunks.values():
            chunks.restored(self.controller.inputs)

    def sense(self, tick: RecordedTick) -> None:
        if tick.ran:
            require_tensors(self._contract.name, tick, self._inputs, self._outputs)
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
        """Return the members whose runtime failed on the robot, and the reason.

        The recording does not say which member of a state failed; this makes no difference.
        """
        if tick.ran and not tick.outputs:
            if self._rule is Rule.NO_TARGET:
                return {}  # the member's own reason states it
            return dict.fromkeys(self._models, tick.reason or "it failed on the robot")
        found = _FAILED.fullmatch(tick.reason)
        if found is None or found["why"] in (MEMBER_LATE, MEMBER_NOT_FINITE):
            return {}
        states = self._contract.states
        failed = {*states[found["before"]].members} - {*states[found["after"]].members}
        return dict.fromkeys(failed, found["why"])

    def _is_late(self, member: str) -> bool:
        """Return whether the tick was late because of this member, which runs now.

        On the robot, the set continues despite a late member if a blend is leaving that member, or
        if its state has a fallback; the reason of the next tick states this.
        """
        report = self.policy_set.report
        state = self._contract.states[report.state]
        if not self._left_was_late or (report.is_blending and state.fallback is None):
            return True
        # In the tick of a switch, the new members run before the blend begins.
        return (member in state.members) is not report.is_blending

    def judge(self, tick: RecordedTick, stages: TickStages) -> None:
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
        given = {name: self._names[name] for name in self._inputs if name in self._given}
        stages.compare_tensors(INPUTS, given, tick.inputs, self._inputs)
        known = self._answered if tick.outputs else ()
        answered = {name: self._names[name] for name in self._outputs if name in known}
        stages.compare_tensors(OUTPUTS, answered, tick.outputs, self._outputs)
        for name in answered:
            if self._models[name.partition(".")[0]].ran:
                self._courses[name].add(tick.number, tick.outputs[name], self._outputs[name])
