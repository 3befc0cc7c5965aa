# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The loop: the environment observes, the model acts, and a reference gets the same inputs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_tools.errors import ToolError
from model_tools.files.arrays import write_arrays
from model_tools.prove.local_loop.agreement import ObservationAgreement
from model_tools.prove.local_loop.environment import (
    Observations,
    UsersEnvironment,
)
from model_tools.simulation.controlled import RecordingBackend
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.contract import JointContract
from policy_core.interfaces import F32, F64, Backend, Tensor
from policy_core.members.joint import RecurrentState
from policy_core.observation.rows import Normaliser


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

    @property
    def returns(self) -> F64:
        """Sum of the rewards of each episode; the last one may not have ended."""
        return np.bincount(self.episode, weights=self.reward).astype(np.float64)

    def save(self, file: Path) -> None:
        """Write rows that calibrate and compare: tensors by name, `acted`, `reward`, `episode`."""
        own: dict[str, Tensor] = {
            "acted": self.acted,
            "reward": self.reward,
            "episode": self.episode,
        }
        write_arrays(file, {**own, **self.tensors})


def input_sizes(contract: JointContract) -> dict[str, int]:
    """Return the number of values of each model input that is observed."""
    return {name: math.prod(contract.model.inputs[name].shape) for name in contract.observations}


def roll_out(
    environment: UsersEnvironment,
    bundle: JointBundle,
    model: Backend,
    reference: Backend,
    steps: Iterable[object],
    seed: int | None = None,
) -> Rollout:
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
    """
    asked = RecordingBackend(reference)
    acting, judging = Fed(bundle, model), Fed(bundle, asked)

    def act(_: Observations, inputs: Observations, begins: bool) -> F32:
        judging.run(inputs, begins)
        return acting.run(inputs, begins)

    moments = in_turn(environment, bundle, act, seed)
    taken = [next(moments) for _ in steps]
    return Rollout(
        tensors=asked.recorded(),
        acted=np.stack([moment.action for moment in taken]),
        reward=np.array([moment.reward for moment in taken]),
        ended=np.array([moment.ended for moment in taken]),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoopStep:
    """A step: what acted [actions], its reward, whether it began an episode or ended one."""

    action: F32
    reward: float
    begins: bool
    ended: bool


Act = Callable[[Observations, Observations, bool], F32]
"""From what the environment showed, by model input, and the same as the model gets it (bounded and
normalised), and whether an episode begins, to an action [actions]."""


def in_turn(
    environment: UsersEnvironment, bundle: JointBundle, act: Act, seed: int | None = None
) -> Iterator[LoopStep]:
    """Observe and act in turn, without end."""
    contract = bundle.contract
    agreement = ObservationAgreement(contract, environment.name)
    normalisers = {
        name: Normaliser(observation, bundle.statistics.get(name))
        for name, observation in contract.observations.items()
    }
    nothing = np.zeros(math.prod(contract.model.outputs[contract.action.output].shape), np.float32)
    begins, last = True, nothing
    observations = environment.reset(seed)
    for step in itertools.count():
        agreement.check(observations, last, step)
        inputs = {name: observations[name].copy() for name in normalisers}
        for name, normaliser in normalisers.items():
            normaliser.apply(inputs[name])
        last = act(observations, inputs, begins)
        taken = environment.step(last.copy())
        yield LoopStep(action=last, reward=taken.reward, begins=begins, ended=taken.ended)
        begins = taken.ended
        observations, last = (
            (environment.reset(), nothing) if begins else (taken.observations, last)
        )


class Fed:
    """A model that is fed step by step, with a recurrent state of its own."""

    def __init__(self, bundle: JointBundle, backend: Backend) -> None:
        """Wrap an opened backend of the bundle, whose arrays will be overwritten."""
        self._backend, self._path, self._steps = backend, bundle.path, 0
        self._state = RecurrentState(bundle.contract.state, backend)
        self._output = backend.outputs[bundle.contract.action.output]

    def run(self, inputs: Mapping[str, F64], begins: bool) -> F32:
        """Return a copy of the action [actions] for inputs as the model gets them."""
        if begins:
            self._state.reset()
        elif self._steps:
            self._state.advance()
        for name, values in inputs.items():
            self._backend.inputs[name].reshape(-1)[:] = values
        self._backend.run()
        if not (np.isfinite(self._output).all() and self._state.is_finite()):
            raise ToolError(
                f"{self._path}: {self._backend.name}: expected finite outputs, found "
                f"NaN or infinity at step {self._steps}"
            )
        self._steps += 1
        return self._output.astype(np.float32).reshape(-1)
