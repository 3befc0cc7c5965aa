# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A joint policy whose model runs again on recorded data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from model_tools.files.terms import frames
from model_tools.prove.replaying.recorded_inputs import (
    fit,
    input_names,
    output_names,
    require_tensors,
)
from model_tools.prove.replaying.recording import RecordedTick
from model_tools.prove.replaying.robot import (
    RecordedClock,
    RecordedState,
    ReplayedPolicy,
)
from model_tools.prove.replaying.stages import INPUTS, OUTPUTS, StageCourse, TickStages
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.state_fields import MOTION_TOPICS, topic_fields
from policy_core.bundle.terms import is_of_anchor
from policy_core.errors import BackendError
from policy_core.guard.limits import Limits
from policy_core.interfaces import Backend, Tensor
from policy_core.members.joint import joint_controller
from policy_core.observation.state import LAST_OUTPUT, RobotState
from policy_inference.comparison.open_loop import joints


class RecordedRobotState(RecordedState, RobotState):
    """The recorded state of a joint policy."""


class RecordedBackend:
    """A back end that runs the model, but returns the recorded outputs if there are any.

    Attributes:
        said: Recorded outputs to return instead of the model's own.
        failure: Why the robot's model failed; empty if it did not.
        built, answered: Inputs from the controller and outputs of the model in the last run.
        ran: True if the controller has run the model in this tick.
    """

    def __init__(
        self,
        backend: Backend,
        clock: RecordedClock,
        is_late: Callable[[], bool] = lambda: True,
    ) -> None:
        """Wrap an opened back end, which the caller closes.

        Args:
            backend: Runs the model.
            clock: Clock of the controller.
            is_late: Returns whether this model caused the delay if the tick is late.
        """
        self._backend, self._clock, self._is_late = backend, clock, is_late
        self.name, self.details = backend.name, backend.details
        self.inputs, self.outputs = backend.inputs, backend.outputs
        self.built = {name: array.copy() for name, array in self.inputs.items()}
        self.answered = {name: array.copy() for name, array in self.outputs.items()}
        self.said: Mapping[str, Tensor] = {}
        self.failure, self.ran = "", False

    def run(self) -> None:
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
        """Do nothing: the caller closes the wrapped back end."""


class RecordedJointPolicy(ReplayedPolicy):
    """A joint policy on a recording.

    Its model receives the observation of each tick. History and recurrent state are the policy's
    own. A model whose tensors have the same meaning as the recorded ones continues with the
    recorded outputs, so that differences do not accumulate. A different policy only *follows*: each
    of its observations, including the last action, comes from the recorded state, no matter what it
    would have commanded; it starts with an empty history.
    """

    state: RecordedRobotState

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
        """Connect the policy to a real controller.

        Args:
            bundle: Bundle to replay.
            backend: The bundle's opened back end, which the caller closes.
            limits: Limits that were in force.
            clock: Clock of the controller.
            seeded: True if the bundle's tensors have the same meaning as those of the recorded
                model, so that recorded ones may replace them.
            outputs: Receives the judged values of each output.
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
        self.begin()

    def begin(self) -> None:
        self._counted, self._missing_ticks = True, 0

    def restored(self, *, whole: bool) -> None:
        """Continue from a restored state; unless `whole`, wait for ticks to fill the history."""
        self._counted = whole
        self._missing_ticks = 0 if whole else max(self._frames - 1, int(bool(self._recurrent)))

    @property
    def known(self) -> bool:
        return not self._missing_ticks

    def sense(self, tick: RecordedTick) -> None:
        backend = self._backend
        backend.ran, backend.failure, backend.said = False, "", {}
        if not (tick.ran and self._seeded):
            return
        require_tensors(self._contract.name, tick, backend.inputs, backend.outputs)
        backend.said = tick.outputs
        backend.failure = "" if tick.outputs else tick.reason or "it failed on the robot"

    def end(self) -> None:
        if self.controller.latest_tick.taken and self._backend.ran:
            self._missing_ticks = max(0, self._missing_ticks - 1)

    def own_fields(self, tick: RecordedTick, sensed: Collection[str]) -> set[str]:
        """Return the state fields that the policy computes itself, if known in this tick."""
        if not tick.ran:
            return set()
        found = set[str]()
        if self._counted:
            commanded = "velocity_command" in sensed
            phases = self.state.phases.items()
            found = {name for name, phase in phases if commanded or not phase.is_commanded}
            found.add("tick")
            live = {field.name for topic in MOTION_TOPICS for field in topic_fields(topic)}
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
        if not tick.ran:
            return
        backend = self._backend
        knows = backend.ran and self.known
        fits = knows and fit(tick.inputs, backend.inputs)
        stages.compare_tensors(
            INPUTS, self._input_names if fits else {}, tick.inputs, backend.built
        )
        outputs = {
            name: self._output_names[name]
            for name, array in backend.answered.items()
            if knows and name in tick.outputs and tick.outputs[name].shape == array.shape
        }
        stages.compare_tensors(OUTPUTS, outputs, tick.outputs, backend.answered)
        for name in outputs:
            self._courses[name].add(tick.number, tick.outputs[name], backend.answered[name])
