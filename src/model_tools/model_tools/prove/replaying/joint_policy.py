# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A joint policy whose model is run again on what was recorded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.terms import frames
from model_tools.prove.replaying.recorded_inputs import fit, input_names, output_names, shapes
from model_tools.prove.replaying.recorded_policy import RecordedClock, RecordedState
from model_tools.prove.replaying.recorded_ticks import RecordedTick
from model_tools.prove.replaying.stages import INPUTS, OUTPUTS, StageCourse, TickStages
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.state_fields import MOTION_TOPICS, fields_of
from policy_core.bundle.terms import is_of_anchor
from policy_core.errors import BackendError
from policy_core.guard.limits import Limits
from policy_core.interfaces import Backend, Tensor
from policy_core.members.joint import joint_controller
from policy_core.observation.state import LAST_OUTPUT, RobotState
from policy_inference.comparison.open_loop import joints


class RecordedRobotState(RecordedState, RobotState):
    """The state of a joint policy, as it was recorded."""


class RecordedBackend:
    """Runs the model, and goes on with what was recorded.

    Attributes:
        said: Outputs to go on with, instead of those that the model answers.
        failure: Why the robot's model failed; empty where it did not.
        built, answered: What the controller built and the model answered in the last run.
        ran: Whether the controller has run it in this tick.
    """

    def __init__(
        self,
        backend: Backend,
        clock: RecordedClock,
        is_late: Callable[[], bool] = lambda: True,
    ) -> None:
        """Wrap an opened backend; it stays the caller's to close.

        Args:
            backend: Runs the model.
            clock: Of the controller.
            is_late: Whether this model made the tick late, where one did.
        """
        self._backend, self._clock, self._is_late = backend, clock, is_late
        self.name, self.details = backend.name, backend.details
        self.inputs, self.outputs = backend.inputs, backend.outputs
        self.built = {name: array.copy() for name, array in self.inputs.items()}
        self.answered = {name: array.copy() for name, array in self.outputs.items()}
        self.said: Mapping[str, Tensor] = {}
        self.failure, self.ran = "", False

    def run(self) -> None:
        """Keep the inputs, run, replace the outputs by those that were recorded."""
        self.ran = True
        for name, array in self.inputs.items():
            self.built[name][...] = array
        self._clock.run_policy(is_late=self._is_late())
        self._backend.run()
        for name, array in self.outputs.items():
            self.answered[name][...] = array
        for name, values in self.said.items():
            self.outputs[name][...] = values
        if self.failure:
            raise BackendError(self.failure)

    def close(self) -> None:
        """Close the wrapped backend."""
        self._backend.close()


class RecordedJointPolicy:
    """A joint policy on a recording.

    Its model is given what is observed in each tick. History and recurrent state are the policy's
    own. A model that means by its tensors what the recorded one does goes on with the recorded
    answers, so that no difference grows. Another policy is *followed*: each of its observations,
    its last action included, is made of the recorded state, whatever it would have done itself; it
    begins clean.
    """

    outside = ()
    requests: Mapping[str, Callable[[], object]] = {}

    def __init__(
        self,
        bundle: JointBundle,
        backend: Backend,
        limits: Limits,
        clock: RecordedClock,
        *,
        seeded: bool,
        outputs: Mapping[str, StageCourse],
    ) -> None:
        """Tie the real parts together.

        Args:
            bundle: What is replayed.
            backend: Opened backend of it; stays the caller's to close.
            limits: Those that were in force.
            clock: Of the controller.
            seeded: Whether its tensors mean what those of the recorded model do, so that recorded
                ones may replace them.
            outputs: Take what is judged of each output.
        """
        contract = bundle.contract
        self.actions = joints(contract)
        self._contract, self._seeded, self._courses = contract, seeded, outputs
        self.state = RecordedRobotState(contract, orientation=limits.max_tilt_rad is not None)
        self._backend = RecordedBackend(backend, clock)
        self.controller = joint_controller(bundle, self._backend, limits, clock, self.state)
        self._recurrent = {pair.input for pair in contract.state}
        self._frames = max(frames(each) for each in contract.observations.values())
        self._input_names = {name: input_names(contract, name) for name in backend.inputs}
        self._output_names = {
            name: output_names(contract, name, array.size)
            for name, array in backend.outputs.items()
        }
        self._counted, self._missing_ticks = True, 0

    def begin(self) -> None:
        """Note that a run begins."""
        self._counted, self._missing_ticks = True, 0

    def restored(self, *, whole: bool) -> None:
        """Let the ticks pass that fill the history of a policy that begins clean."""
        self._counted = whole
        self._missing_ticks = 0 if whole else max(self._frames - 1, int(bool(self._recurrent)))

    @property
    def known(self) -> bool:
        """Whether its history is full."""
        return not self._missing_ticks

    def sense(self, tick: RecordedTick) -> None:
        """Prepare the model's run."""
        backend = self._backend
        backend.ran, backend.failure, backend.said = False, "", {}
        if not (tick.ran and self._seeded):
            return
        self._require_tensors(tick)
        backend.said = tick.outputs
        backend.failure = "" if tick.outputs else tick.reason or "it failed on the robot"

    def _require_tensors(self, tick: RecordedTick) -> None:
        for found, ours, may in (
            (tick.inputs, self._backend.inputs, False),
            (tick.outputs, self._backend.outputs, True),
        ):
            if not fit(found, ours, or_none=may):
                raise ToolError(
                    f"{self._contract.name}: tick {tick.number}: expected tensors "
                    f"of the model, {shapes(ours)}, found {shapes(found)}"
                )

    def end(self, tick: RecordedTick) -> None:
        """Know more of the past, where the target of the tick was taken."""
        if self.controller.latest_tick.taken and self._backend.ran:
            self._missing_ticks = max(0, self._missing_ticks - 1)

    def own_fields(self, tick: RecordedTick, sensed: Collection[str]) -> set[str]:
        """Return what ticks, the last action and the last outputs decide, where it is known."""
        if not tick.ran:
            return set()
        found = set[str]()
        if self._counted:
            commanded = "velocity_command" in sensed
            phases = self.state.phases.items()
            found = {name for name, phase in phases if commanded or not phase.is_commanded}
            found.add("tick")
            live = {field.name for topic in MOTION_TOPICS for field in fields_of(topic)}
            live_known = live & self.state.slices.keys() <= {*sensed}
            pose_known = {"quat_xyzw", "pos_world"} & self.state.slices.keys() <= {*sensed}
            found |= {
                name
                for name, term in self.state.motions.items()
                if live_known and (pose_known or not is_of_anchor(term))
            }
        if self._seeded:
            found |= {"last_action", *map(f"{LAST_OUTPUT}{{}}".format, self.state.last_outputs)}
        return found

    def judge(self, tick: RecordedTick, stages: TickStages) -> None:
        """Compare what the model was given, as far as its past is known, and what it answers."""
        if not tick.ran:
            return
        judged = [*self._backend.inputs]
        if not (self._backend.ran and self.known and fit(tick.inputs, self._backend.inputs)):
            stages.skip(INPUTS)
        else:
            stages.compare(
                INPUTS,
                [each for name in judged for each in self._input_names[name]],
                _joined(tick.inputs, judged),
                _joined(self._backend.built, judged),
            )
        self._judge_outputs(tick, stages)

    def _judge_outputs(self, tick: RecordedTick, stages: TickStages) -> None:
        """Compare what the model answers, as far as it has the same outputs."""
        found = self._backend.answered
        names = [
            name
            for name, array in found.items()
            if name in tick.outputs and tick.outputs[name].shape == array.shape
        ]
        if not self._backend.ran or not self.known or not names:
            stages.skip(OUTPUTS)
            return
        stages.compare(
            OUTPUTS,
            [each for name in names for each in self._output_names[name]],
            _joined(tick.outputs, names),
            _joined(found, names),
        )
        for name in names:
            self._courses[name].add(tick.number, tick.outputs[name], found[name])


def _joined(tensors: Mapping[str, Tensor], names: list[str]) -> Tensor:
    return np.concatenate([tensors[name].reshape(-1) for name in names])
