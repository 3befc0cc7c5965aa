# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""All graphs of a chunk policy in one call: observation in, chunk out, in the policy's units."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from policy_inference.bundle.chunk_contract import ChunkContract
from policy_inference.core.chunks.normalise import ImageNormaliser, Units, VectorNormaliser
from policy_inference.core.chunks.observation_sync import Snapshot
from policy_inference.core.images import Image, decode
from policy_inference.errors import RobotError
from policy_inference.interfaces import F64, Backend, Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChunkObservation:
    """What a chunk policy sees at one time.

    `images` are uint8 [height, width, 3] in RGB by the camera's name in the contract; `state`
    [joints of the state] and `environment` are in the policy's own units, None where it takes none.
    """

    images: Mapping[str, Image]
    state: F64 | None = None
    environment: F64 | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _CameraInput:
    """A camera's way into the policy's graph."""

    normaliser: ImageNormaliser
    encoder: tuple[Backend, Tensor] | None
    """With the array in which it leaves what it made."""
    tensor: Tensor
    """Input of the policy's graph."""


class ChunkGraphs:
    """Runs the encoders of the cameras, one after another, then the policy's graph."""

    def __init__(self, contract: ChunkContract, backends: Mapping[str, Backend]) -> None:
        """Tie cameras, vectors and graphs together by name.

        Args:
            contract: Of the bundle.
            backends: An opened backend for each graph, by `graphs.NAME`; they stay the caller's.
        """
        self._policy = policy = backends[f"graphs.{contract.policy_graph}"]
        self._cameras = dict[str, _CameraInput]()
        for name, camera in contract.cameras.items():
            tensor = policy.inputs[camera.tensor]
            encoder, buffer = None, tensor
            if camera.encoder is not None:
                backend = backends[f"graphs.{camera.encoder}"]
                (buffer,), (features,) = backend.inputs.values(), backend.outputs.values()
                encoder = backend, features
            self._cameras[name] = _CameraInput(
                normaliser=ImageNormaliser(camera, buffer), encoder=encoder, tensor=tensor
            )
        self._state = self._environment = None
        if state := contract.state:
            self._state = (
                VectorNormaliser(state.normalisation, len(state.joints)),
                policy.inputs[state.tensor],
            )
        if outside := contract.environment_state:
            self._environment = (
                VectorNormaliser(outside.normalisation, outside.size),
                policy.inputs[outside.tensor],
            )
        action = contract.action
        self._action = VectorNormaliser(action.normalisation, len(action.joints))
        self._chunk = policy.outputs[action.tensor]

    def run(self, observation: ChunkObservation) -> F64:
        """Return the chunk [steps, actions] that answers an observation, in the policy's units.

        Raises:
            BackendError: A runtime failed.
        """
        self.write(observation)
        return self.predict()

    def write(self, observation: ChunkObservation) -> None:
        """Fill every input of the policy's graph; the encoders run for that.

        Raises:
            BackendError: A runtime failed.
        """
        for name, camera in self._cameras.items():
            camera.normaliser.apply(observation.images[name])
            if camera.encoder is not None:
                backend, features = camera.encoder
                backend.run()
                np.copyto(camera.tensor, features, casting="same_kind")
        for vector, values in (
            (self._state, observation.state),
            (self._environment, observation.environment),
        ):
            if vector is not None:
                assert values is not None
                normaliser, tensor = vector
                tensor[...] = normaliser.apply(values)

    def predict(self) -> F64:
        """Run the policy's graph on its inputs as they are; return the chunk, as `run`.

        Raises:
            BackendError: The runtime failed.
        """
        self._policy.run()
        return self._action.undo(self._chunk[0].astype(np.float64))


class Inference:
    """Decodes the frames, brings the state into the policy's units and runs the graphs."""

    def __init__(self, contract: ChunkContract, backends: Mapping[str, Backend]) -> None:
        """Turn names into indices, once; arguments as for `ChunkGraphs`."""
        self._graphs = ChunkGraphs(contract, backends)
        self._state_units: Units | None = None
        if state := contract.state:
            self._state_units = Units(contract.units, state.joints)
            self._joints = [contract.joints.names.index(name) for name in state.joints]
        outside = contract.environment_state
        self._environment = f"external:{outside.topic}" if outside else None
        self._action_units = Units(contract.units, contract.action.joints)

    def run(self, sensed: Snapshot) -> F64:
        """Return the chunk [steps, actions], rad.

        Raises:
            RobotError: An image does not decode; the error names its camera.
            BackendError: A runtime failed.
        """
        state = environment = None
        if self._state_units:
            state = self._state_units.of_rad(sensed.fields["joint_pos"][self._joints])
        if self._environment:
            environment = sensed.fields[self._environment]
        images = {name: _image(name, sensed) for name in sensed.frames}
        chunk = self._graphs.run(
            ChunkObservation(images=images, state=state, environment=environment)
        )
        return self._action_units.to_rad(chunk)


def _image(name: str, sensed: Snapshot) -> Image:
    try:
        return decode(sensed.frames[name])
    except RobotError as error:
        raise RobotError(f"camera {name}: {error}") from error
