# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The loop: the environment observes, the model acts, and a reference gets the same inputs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_tools.array_files import write_arrays
from model_tools.closed_loop.controlled import RecordingBackend
from model_tools.errors import ToolError
from model_tools.local_loop.agreement import Agreement
from model_tools.local_loop.environment import Environment, Observations
from policy_inference.bundle.contract import JointContract
from policy_inference.bundle.load import Bundle
from policy_inference.core.normaliser import Normaliser
from policy_inference.core.recurrent import RecurrentState
from policy_inference.interfaces import F32, F64, Backend, Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rollout:
    """What happened, a row per step.

    Attributes:
        tensors: Observations as both models got them, states and outputs of the reference; by
            name, each [steps, *shape without the batch axis].
        acted: Output of the model that the environment got [steps, actions].
        reward: [steps].
        ended: Whether the episode ended with that step [steps].
    """

    tensors: Mapping[str, Tensor]
    acted: F32
    reward: F64
    ended: npt.NDArray[np.bool_]

    @property
    def episode(self) -> npt.NDArray[np.int64]:
        """Number of the episode of each step, from 0."""
        return np.concatenate([[0], np.cumsum(self.ended[:-1])])

    def save(self, file: Path) -> None:
        """Write rows that calibrate and compare: tensors by name, `acted`, `reward`, `episode`."""
        own: dict[str, Tensor] = {"acted": self.acted, "reward": self.reward,
                                  "episode": self.episode}
        write_arrays(file, {**own, **self.tensors})


def input_sizes(contract: JointContract) -> dict[str, int]:
    """Return the number of values of each model input that is observed."""
    return {name: math.prod(contract.model.inputs[name].shape) for name in contract.observations}


def roll_out(
    environment: Environment, bundle: Bundle, model: Backend, reference: Backend,
    steps: Iterable[object], seed: int | None = None,
) -> Rollout:  # fmt: skip
    """Let the model act in the environment; recurrent states start at zero in each episode.

    The reference gets the same observations and keeps a state of its own, so that errors that
    add up in the model's state are seen; what it says does not act.

    Args:
        environment: Gives observations as in training: scaled, not yet normalised.
        bundle: Of the model; states how observations become model inputs.
        model: Opened backend; its arrays are overwritten.
        reference: Opened backend of the same function; its arrays are overwritten.
        steps: As many as it has elements, of which nothing is read.
        seed: Of the environment's first episode; its own choice if absent.

    Raises:
        ToolError: The environment does not fit, its observation is not that of the contract, or
            the model's output is not finite.
        BackendError: A runtime failed.
    """
    feed, pairs, asked = _Feed(bundle, model), bundle.contract.state, RecordingBackend(reference)
    state, its_state = RecurrentState(pairs, model), RecurrentState(pairs, reference)
    output = model.outputs[bundle.contract.action.output]
    acted, reward, ended = list[F32](), list[float](), list[bool]()
    agreement = Agreement(bundle.contract, environment.name)
    nothing = np.zeros(output.size, np.float32)
    observations, last = environment.reset(seed), nothing
    for step, _ in enumerate(steps):
        if ended and ended[-1]:
            state.reset()
            its_state.reset()
            observations, last = environment.reset(), nothing
        agreement.check(observations, last, step)
        feed.write(observations)
        model.run()
        if not (np.isfinite(output).all() and state.is_finite()):
            raise ToolError(f"{bundle.path}: {model.name}: expected finite outputs, found others "
                            f"at step {step}")
        feed.copy(reference)
        asked.run()
        last = output.astype(np.float32).reshape(-1)
        acted.append(last)
        taken = environment.step(last.copy())
        state.advance()
        its_state.advance()
        observations = taken.observations
        reward.append(taken.reward)
        ended.append(taken.ended)
    return Rollout(tensors=asked.recorded(), acted=np.stack(acted),
                   reward=np.array(reward), ended=np.array(ended))


class _Feed:
    """Writes observations into the model's inputs, normalised as on the robot."""

    def __init__(self, bundle: Bundle, backend: Backend) -> None:
        self._inputs = {
            name: (Normaliser(observation, bundle.statistics.get(name)),
                   backend.inputs[name].reshape(-1))
            for name, observation in bundle.contract.observations.items()
        }  # fmt: skip

    def write(self, observations: Observations) -> None:
        for name, (normaliser, into) in self._inputs.items():
            normaliser.apply(observations[name])
            into[:] = observations[name]

    def copy(self, backend: Backend) -> None:
        """Give another backend what was written last."""
        for name, (_, array) in self._inputs.items():
            backend.inputs[name].reshape(-1)[:] = array
