# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The loop: the environment observes, the model acts, and a reference receives the same inputs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_tools.errors import ToolError, listed
from model_tools.files.arrays import write_arrays
from model_tools.prove.comparison.candidates import Candidate, candidate
from model_tools.prove.comparison.compare import measure_latency
from model_tools.prove.comparison.same_function import check_same_function
from model_tools.prove.local_loop.agreement import ObservationAgreement, warn_of_unusual
from model_tools.prove.local_loop.environment import (
    Observations,
    UsersEnvironment,
    opened,
)
from model_tools.simulation.controlled import RecordingBackend
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.contract import JointContract
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import F32, F64, Backend, Tensor
from policy_core.latency import Latency
from policy_core.members.joint import RecurrentState
from policy_core.observation.rows import Normaliser
from policy_inference.backends.registry import Options
from policy_inference.comparison.limits import Check, open_loop_limits
from policy_inference.comparison.open_loop import Difference, difference, joints, judge
from policy_store.report import Facts, Verdict


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rollout:
    """Recorded rollout, one row per step.

    Attributes:
        tensors: Observations as model inputs, states and outputs of the reference; by name, each
            [steps, *shape without the batch axis].
        acted: Output of the acting model, as sent to the environment [steps, actions].
        reward: Rewards [steps].
        ended: True at the last step of an episode [steps].
    """

    tensors: Mapping[str, Tensor]
    acted: F32
    reward: F64
    ended: npt.NDArray[np.bool_]

    @property
    def episode(self) -> npt.NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum(self.ended[:-1])])

    @property
    def returns(self) -> F64:
        return np.bincount(self.episode, weights=self.reward).astype(np.float64)

    def save(self, file: Path) -> None:
        """Write rows for calibration and comparison: tensors, `acted`, `reward` and `episode`."""
        own: dict[str, Tensor] = {
            "acted": self.acted,
            "reward": self.reward,
            "episode": self.episode,
        }
        write_arrays(file, {**own, **self.tensors})


def input_sizes(contract: JointContract) -> dict[str, int]:
    """Return the number of values in each of the model's observation inputs."""
    return {name: math.prod(contract.model.inputs[name].shape) for name in contract.observations}


def roll_out(
    environment: UsersEnvironment,
    bundle: JointBundle,
    model: Backend,
    reference: Backend,
    steps: Iterable[object],
    seed: int | None = None,
) -> Rollout:
    """Let the model act in the environment and record the steps; episodes reset recurrent states.

    The reference receives the same observations and keeps its own state, so that errors that
    accumulate in the model's state are visible; the reference's outputs do not act.

    Args:
        environment: Returns observations as in training: scaled, not normalized.
        bundle: Bundle of the model; states how observations become model inputs.
        model: Opened back end; its arrays are overwritten.
        reference: Opened back end of the same function; its arrays are overwritten.
        steps: Iterable whose length is the number of steps; its elements are not read.
        seed: Seed of the environment's first episode; None to let the environment choose.
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
    """A step: acting output [actions], its reward, and whether it began or ended an episode."""

    action: F32
    reward: float
    begins: bool
    ended: bool


Act = Callable[[Observations, Observations, bool], F32]
"""Returns an action [actions], given the environment's observation by model input, the model inputs
made from it (bounded and normalized), and whether an episode begins."""


def in_turn(
    environment: UsersEnvironment, bundle: JointBundle, act: Act, seed: int | None = None
) -> Iterator[LoopStep]:
    """Yield the steps of a loop that alternates between observing and acting, endlessly."""
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
    """A model that runs step by step, with its own recurrent state."""

    def __init__(self, bundle: JointBundle, backend: Backend) -> None:
        """Wrap an opened back end of the bundle, whose arrays will be overwritten."""
        self._backend, self._path, self._steps = backend, bundle.path, 0
        self._state = RecurrentState(bundle.contract.state, backend, bundle.initial_state)
        self._output = backend.outputs[bundle.contract.action.output]

    def run(self, inputs: Mapping[str, F64], begins: bool) -> F32:
        """Return a copy of the action [actions] for model inputs."""
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


REFERENCE_BACKEND, REFERENCE_PRECISION = "onnx", "fp32"
LISTED = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JudgedRollout:
    """A rollout and its verdict; true if all limits hold.

    Attributes:
        environment: Name of the environment.
        model, reference: The acting artifact, and the one to compare it with.
        rollout: The recorded rollout.
        difference: Difference between the actions of model and reference.
        checks: Checks of the difference against the limits of the model's artifact.
        latency: Latency of single runs of the model on this machine, s.
    """

    environment: str
    model: Candidate[JointBundle]
    reference: Candidate[JointBundle]
    rollout: Rollout
    difference: Difference
    checks: tuple[Check, ...]
    latency: Latency

    def __bool__(self) -> bool:
        return all(self.checks)


def artifacts(
    bundle: Path, backend: str, options: Options, reference: Path | None
) -> tuple[Candidate[JointBundle], Candidate[JointBundle]]:
    """Return the acting artifact, and the reference bundle's ONNX model (default: same bundle)."""
    instead = (
        "`model_tools compare` compares the graphs of chunk policies with the reference, on "
        "golden rows and datasets"
    )
    model = candidate(load_bundle(bundle, instead=instead, kind=JointBundle), backend, options)
    baseline = candidate(
        load_bundle(reference or bundle, instead=instead, kind=JointBundle), REFERENCE_BACKEND, {}
    )
    if baseline.entry.precision != REFERENCE_PRECISION:
        raise ToolError(
            f"{baseline.bundle.path}: expected a reference in {REFERENCE_PRECISION}, "
            f"found {baseline.entry.precision}, which would be compared with itself; pass the "
            "bundle with the reference model as --reference"
        )
    check_same_function(baseline.bundle, model.bundle)
    return model, baseline


def run_and_judge(
    model: Candidate[JointBundle],
    reference: Candidate[JointBundle],
    environment: str,
    steps: Iterable[object],
    seed: int | None,
) -> JudgedRollout:
    """Let a model act in the environment of `module:function`, and judge it; see `roll_out`."""
    contract = model.bundle.contract
    limits = open_loop_limits(contract, model.backend, model.entry.precision)
    output = contract.action.output
    with model.opened() as acting_models, reference.opened() as asked_models:
        acting, asked = acting_models.first, asked_models.first
        with opened(environment, input_sizes(contract)) as env:
            rollout = roll_out(env, model.bundle, acting, asked, steps, seed)
        inputs = {name: rollout.tensors[name] for name in contract.model.inputs}
        latency = measure_latency(acting, inputs, runs=len(rollout.reward))
    warn_of_unusual(contract, inputs, environment)
    found = difference(output, joints(contract), rollout.acted, rollout.tensors[output])
    return JudgedRollout(
        environment=environment,
        model=model,
        reference=reference,
        rollout=rollout,
        difference=found,
        checks=judge(found, environment, limits),
        latency=latency,
    )


def rollout_facts(judged: JudgedRollout) -> Facts:
    rollout, latency, found = judged.rollout, judged.latency, judged.difference
    model, reference = judged.model, judged.reference
    step, joint = found.worst
    worst = f"{found.max_abs:.4g} at step {step}, action {found.names.index(joint)} ({joint})"
    compared = _artifact(reference)
    if (model.backend, model.entry.sha256) == (reference.backend, reference.entry.sha256):
        compared = (
            "the same file in a separate session, which shows only that it is deterministic; "
            "--reference names a different bundle"
        )
    lengths, returns = np.bincount(rollout.episode), rollout.returns
    last = "" if rollout.ended[-1] else ", the last one unfinished"
    whole = returns[: rollout.ended.sum()]
    mean = f"; mean of those that ended {whole.mean():.4g}" if len(whole) else ""
    return Facts(
        title=judged.environment,
        verdict=Verdict.of(judged),
        rows=[
            ("model", _artifact(model)),
            ("compared with", compared),
            ("observations", _observations(model)),
            ("steps", len(rollout.reward)),
            ("episodes", f"{len(lengths)} of {listed(lengths, LISTED)} steps{last}"),
            ("return", listed((f"{one:.4g}" for one in returns), LISTED) + mean),
            ("largest error", worst),
            ("mean absolute error", found.mae),
            ("RMSE", found.rmse),
            ("smallest cosine", float(found.cosine.min())),
            ("latency, us", f"p50 {latency.p50_s * 1e6:.1f}, p99 {latency.p99_s * 1e6:.1f}"),
        ],
    )


def _artifact(model: Candidate[JointBundle]) -> str:
    return (
        f"{model.bundle.path}, back end {model.backend}: {model.entry.file} "
        f"({model.entry.precision})"
    )


def _observations(model: Candidate[JointBundle]) -> str:
    """Describe the preprocessing of each observation from the environment."""
    said = []
    for name, observation in model.bundle.contract.observations.items():
        statistics = observation.normalisation
        done = [] if observation.clip is None else [f"within ±{observation.clip:g}"]
        if statistics is not None:
            done.append(f"normalized by {statistics.file}")
            done += [] if statistics.clip is None else [f"within ±{statistics.clip:g}"]
        said.append(f"{name}: {', '.join(done) or 'as given'}")
    return "; ".join(said)
