# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One tick of a policy: observations in, one command per joint out."""

from policy_inference.bundle.load import Bundle
from policy_inference.core.action import ActionDecoder
from policy_inference.core.observation import ObservationBuilder
from policy_inference.core.recurrent import LastOutputs, RecurrentState
from policy_inference.core.state import RobotState
from policy_inference.interfaces import F64, Backend


class JointPolicy:
    """Runs the bundle's model on the robot's state.

    `infer` and `commit` are apart so that a result which came too late leaves history, last
    action and recurrent state as they were.
    """

    def __init__(self, bundle: Bundle, backend: Backend, state: RobotState) -> None:
        """Tie state, observations, the backend's arrays and the action together."""
        contract = bundle.contract
        self.action = ActionDecoder(contract, backend.outputs[contract.action.output])
        self._state = state
        self._backend = backend
        self._observations = [
            ObservationBuilder(observation, contract, state, backend.inputs[name],
                               bundle.statistics.get(name))
            for name, observation in contract.observations.items()
        ]  # fmt: skip
        self._remembering = [each for each in self._observations if each.remembers]
        self._recurrent = RecurrentState(contract.state, backend)
        self._fed_back = [each for each in (self._recurrent, LastOutputs(state, backend))
                          if each.pairs]
        self._last_action = state["last_action"]
        self._tick = 0
        self.begins = True
        """Whether history, last action and recurrent state were clean at the last `infer`."""

    def reset(self) -> None:
        """Start clean: history, last action, recurrent state, phase."""
        self._tick = 0
        self._state.restart()
        self._recurrent.reset()
        for observation in self._remembering:
            observation.reset()

    def pause(self, duration_ns: int) -> None:
        """Do nothing: ticks count, not the time between them."""

    def infer(self) -> bool:
        """Write the observations and run the model; return whether its output is finite.

        Raises:
            BackendError: The runtime failed.
        """
        self.begins = self._tick == 0
        for observation in self._observations:
            observation.write()
        self._backend.run()
        if not self.action.read():
            return False
        return not self._fed_back or all(each.is_finite() for each in self._fed_back)

    def commit(self) -> F64:
        """Take the result as the tick's: return the command [joints] in contract order."""
        self._tick += 1
        self._last_action[...] = self.action.raw
        self._state.advance()
        for outputs in self._fed_back:
            outputs.advance()
        for observation in self._remembering:
            observation.advance()
        return self.action.decode()
