# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""All graphs of a chunk policy in one call: observation in, chunk out, in policy units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from policy_core.bundle.chunk_contract import ChunkContract
from policy_core.errors import BackendError, PolicyError, RobotError
from policy_core.interfaces import F32, F64, Backend, Tensor
from policy_core.members.chunk.denoising import Denoiser, Guide
from policy_core.members.chunk.normalise import ImageNormaliser, Units, VectorNormaliser
from policy_core.members.chunk.observation_sync import Snapshot
from policy_core.members.chunk.real_time import PlannedSteps, PrefixGuidance
from policy_core.members.chunk.settings import ChunkSettings
from policy_core.members.chunk.worker import ChunkAnswer, Request
from policy_core.observation.images import Image, decode


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChunkObservation:
    """What a chunk policy observes at one time, in the policy's own units.

    `images` are uint8 [height, width, 3] in RGB, by camera name in the contract; `state` [state
    joints] and `environment` are in the policy's units, or None if unused.
    """

    images: Mapping[str, Image]
    state: F64 | None = None
    environment: F64 | None = None
    earlier: Sequence[ChunkObservation] = ()
    """Observations from previous steps, oldest first, if the policy observes several."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _CameraInput:
    """Path of a camera's images into the graph that uses them."""

    normaliser: ImageNormaliser
    encoder: tuple[Backend, Tensor] | None
    """The encoder, and the array that receives its output."""
    tensors: Sequence[Tensor]
    """The graph's input, split into one view per observation."""


class ChunkGraphs:
    """Computes chunks: runs the camera encoders, then the condition graph, then the policy graph.

    Attributes:
        denoiser: Denoiser for chunks; None if a single run of the policy graph returns a chunk.
        normalised: The last chunk [steps, actions] as the network returns it.
    """

    def __init__(
        self,
        contract: ChunkContract,
        backends: Mapping[str, Backend],
        denoising_steps: int | None = None,
    ) -> None:
        """Connect cameras, vectors and graphs by name.

        Args:
            contract: Contract of the bundle.
            backends: An opened back end for each graph, by `graphs.NAME`; owned by the caller.
            denoising_steps: Denoising steps per chunk; None for the contract's value.

        Raises:
            PolicyError: The policy does not support this number of steps.
        """
        self._policy = policy = backends[f"graphs.{contract.policy_graph}"]
        observing = backends[f"graphs.{contract.observing_graph}"]
        self._condition = None if observing is policy else observing
        self._cameras = dict[str, _CameraInput]()
        for name, camera in contract.cameras.items():
            tensor = observing.inputs[camera.tensor]
            encoder, buffer = None, tensor
            if camera.encoder is not None:
                backend = backends[f"graphs.{camera.encoder}"]
                (buffer,), (features,) = backend.inputs.values(), backend.outputs.values()
                encoder = backend, features
            self._cameras[name] = _CameraInput(
                normaliser=ImageNormaliser(camera, buffer),
                encoder=encoder,
                tensors=_parts(tensor, contract.observation_steps),
            )
        self._state = self._environment = None
        if state := contract.state:
            self._state = (
                VectorNormaliser(state.normalisation, len(state.joints)),
                _parts(observing.inputs[state.tensor], contract.observation_steps),
            )
        if outside := contract.environment_state:
            self._environment = (
                VectorNormaliser(outside.normalisation, outside.size),
                _parts(observing.inputs[outside.tensor], contract.observation_steps),
            )
        action = contract.action
        self._action = VectorNormaliser(action.normalisation, len(action.joints))
        self._chunk = policy.outputs[action.tensor]
        self._first_row = contract.observation_steps - 1
        self.denoiser = None
        if contract.denoising is not None:
            self.denoiser = Denoiser(contract, policy, denoising_steps)
        self.normalised: F64 = np.zeros((contract.chunk.size, len(action.joints)))

    def run(
        self, observation: ChunkObservation, noise: F32 | None = None, guide: Guide | None = None
    ) -> F64:
        """Return the chunk [steps, actions] for an observation, in the policy's units.

        Args:
            observation: The observation.
            noise: Noise with the denoiser's `noise_shape`; None if there is no denoiser.
            guide: Changes the denoiser's velocities; see `denoising.Guide`.

        Raises:
            PolicyError: The noise is missing, has the wrong shape or is not finite.
            BackendError: A runtime failed.
        """
        self.write(observation)
        return self.predict(noise, guide)

    def write(self, observation: ChunkObservation) -> None:
        """Fill the policy graph's inputs from an observation; run the encoders and condition graph.

        Raises:
            BackendError: A runtime failed.
        """
        for number, one in enumerate((*observation.earlier, observation)):
            self._write(number, one)
        if self._condition is not None:
            self._condition.run()
            for name, made in self._condition.outputs.items():
                np.copyto(self._policy.inputs[name], made, casting="same_kind")

    def _write(self, number: int, observation: ChunkObservation) -> None:
        for name, camera in self._cameras.items():
            camera.normaliser.apply(observation.images[name])
            if camera.encoder is not None:
                backend, features = camera.encoder
                backend.run()
                np.copyto(camera.tensors[number], features, casting="same_kind")
        for vector, values in (
            (self._state, observation.state),
            (self._environment, observation.environment),
        ):
            if vector is not None:
                assert values is not None
                normaliser, tensors = vector
                tensors[number][...] = normaliser.apply(values)

    def predict(self, noise: F32 | None = None, guide: Guide | None = None) -> F64:
        """Return the chunk for the policy graph's current inputs; see `run`.

        Raises:
            PolicyError: Same as `run`.
            BackendError: The runtime failed.
        """
        if self.denoiser is None:
            self._policy.run()
            self.normalised = self._chunk[0].astype(np.float64)
        else:
            if noise is None:
                raise PolicyError(
                    f"noise: expected {list(self.denoiser.noise_shape)}, to make a chunk from, "
                    "found none"
                )
            rows = self.denoiser.chunk(noise, guide)
            joints = self.normalised.shape[1]
            self.normalised = rows[self._first_row :, :joints].astype(np.float64)
        return self._action.undo(self.normalised)


def _parts(tensor: Tensor, observations: int) -> Sequence[Tensor]:
    """Split an input [1, observations, ...] into one view per observation."""
    return [tensor] if observations == 1 else [tensor[:, each] for each in range(observations)]


class SuccessClassifier:
    """Computes the probability of success with the contract's classifier graph."""

    def __init__(self, contract: ChunkContract, backend: Backend) -> None:
        """Connect the inputs by name; the opened `backend` remains owned by the caller."""
        inputs, self._backend = backend.inputs, backend
        self._images = {
            name: ImageNormaliser(camera, inputs[name])
            for name, camera in contract.cameras.items()
            if name in inputs
        }
        self._vectors = {
            name: (VectorNormaliser(vector.normalisation, inputs[name].size), inputs[name])
            for name, vector in (
                ("state", contract.state),
                ("environment_state", contract.environment_state),
            )
            if vector is not None and name in inputs
        }
        (self._output,) = backend.outputs.values()

    def probability(self, observation: ChunkObservation) -> float:
        """Return the probability that the task is done, based on the newest observation.

        Raises:
            BackendError: The runtime failed.
        """
        for name, normaliser in self._images.items():
            normaliser.apply(observation.images[name])
        seen = {"state": observation.state, "environment_state": observation.environment}
        for name, (vector, out) in self._vectors.items():
            values = seen[name]
            assert values is not None
            out[...] = vector.apply(values)
        self._backend.run()
        return float(self._output.reshape(-1)[0])


def make_classifier(
    contract: ChunkContract, backends: Mapping[str, Backend]
) -> SuccessClassifier | None:
    """Return the contract's success classifier; None if the contract has none.

    Args:
        contract: Contract of the bundle.
        backends: An opened back end for each graph, by `graphs.NAME`.
    """
    name = contract.classifier
    return None if name is None else SuccessClassifier(contract, backends[f"graphs.{name}"])


class Inference:
    """Computes chunks in rad from snapshots: decodes frames, converts units and runs the graphs."""

    def __init__(
        self,
        contract: ChunkContract,
        backends: Mapping[str, Backend],
        settings: ChunkSettings | None = None,
        denoising_steps: int | None = None,
    ) -> None:
        """Resolve names to indices once.

        Args:
            contract: Same as for `ChunkGraphs`.
            backends: Same as for `ChunkGraphs`.
            settings: Settings, including the noise seed and the guidance by planned steps.
            denoising_steps: Same as for `ChunkGraphs`.

        Raises:
            PolicyError: The policy does not support this number of steps.
        """
        self._graphs = ChunkGraphs(contract, backends, denoising_steps)
        self._classifier = make_classifier(contract, backends)
        self._settings = settings or ChunkSettings()
        self._random = np.random.default_rng(self._settings.noise_seed)
        self._rows, self._columns = contract.rows, contract.columns
        action = contract.action
        self._action = VectorNormaliser(action.normalisation, len(action.joints))
        self._state_units: Units | None = None
        if state := contract.state:
            self._state_units = Units(contract.units, state.joints)
            self._joints = [contract.joints.names.index(name) for name in state.joints]
        outside = contract.environment_state
        self._environment = f"external:{outside.topic}" if outside else None
        self._action_units = Units(contract.units, contract.action.joints)

    @property
    def denoising_steps(self) -> int:
        """Number of denoising steps per chunk; 0 if the policy does not denoise."""
        return self._graphs.denoiser.steps if self._graphs.denoiser else 0

    def answer(self, request: Request) -> ChunkAnswer:
        """Return the chunk for a request, and the probability of success; see `run`.

        If the classifier fails, the probability is None, and the chunk is still returned.
        """
        observation = self._observation(request.sensed)
        chunk = self._chunk(observation, request.planned)
        success = None
        if self._classifier is not None:
            with suppress(BackendError):
                success = self._classifier.probability(observation)
        return ChunkAnswer(chunk, success)

    def run(self, sensed: Snapshot, planned: PlannedSteps | None = None) -> F64:
        """Return the chunk [steps, actions], rad.

        Args:
            sensed: The observation.
            planned: Planned steps that the chunk is to continue, or None.

        Raises:
            RobotError: An image cannot be decoded; the message names the camera.
            BackendError: A runtime failed.
        """
        return self._chunk(self._observation(sensed), planned)

    def _chunk(self, observation: ChunkObservation, planned: PlannedSteps | None) -> F64:
        noise = None
        if self._graphs.denoiser is not None:
            noise = self._random.standard_normal(self._graphs.denoiser.noise_shape, np.float32)
        guide = None if planned is None else self._guide(planned)
        chunk = self._graphs.run(observation, noise, guide)
        return self._action_units.to_rad(chunk)

    def _observation(self, sensed: Snapshot) -> ChunkObservation:
        state = environment = None
        if self._state_units:
            state = self._state_units.of_rad(sensed.fields["joint_pos"][self._joints])
        if self._environment:
            environment = sensed.fields[self._environment]
        return ChunkObservation(
            images={name: _image(name, sensed) for name in sensed.frames},
            state=state,
            environment=environment,
            earlier=[self._observation(one) for one in sensed.earlier],
        )

    def _guide(self, planned: PlannedSteps) -> PrefixGuidance:
        settings = self._settings
        normalised = self._action.apply(self._action_units.of_rad(planned.targets))
        # Columns without a joint were 0 in training.
        more = self._columns - normalised.shape[1]
        return PrefixGuidance(
            np.pad(normalised, ((0, 0), (0, more))),
            planned.delay,
            self._rows,
            schedule=settings.prefix_schedule,
            horizon=settings.execution_horizon,
            largest_weight=settings.max_guidance_weight,
        )


def _image(name: str, sensed: Snapshot) -> Image:
    try:
        return decode(sensed.frames[name])
    except RobotError as error:
        raise RobotError(f"camera {name}: {error}") from error
