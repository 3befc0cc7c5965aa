# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""From what was sensed to a chunk in rad: what a worker does."""

from collections.abc import Mapping

from policy_inference.bundle.chunk_contract import ChunkContract
from policy_inference.core.chunks.graphs import ChunkGraphs, Observation
from policy_inference.core.chunks.snapshot import Sensed
from policy_inference.core.chunks.units import Units
from policy_inference.core.images import Picture, decode
from policy_inference.errors import RobotError
from policy_inference.interfaces import F64, Backend


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

    def run(self, sensed: Sensed) -> F64:
        """Return the chunk [steps, actions], rad.

        Raises:
            RobotError: A picture does not decode; says of which camera.
            BackendError: A runtime failed.
        """
        state = environment = None
        if self._state_units:
            state = self._state_units.of_rad(sensed.fields["joint_pos"][self._joints])
        if self._environment:
            environment = sensed.fields[self._environment]
        pictures = {name: _picture(name, sensed) for name in sensed.frames}
        chunk = self._graphs.run(
            Observation(pictures=pictures, state=state, environment=environment))
        return self._action_units.to_rad(chunk)


def _picture(name: str, sensed: Sensed) -> Picture:
    try:
        return decode(sensed.frames[name])
    except RobotError as error:
        raise RobotError(f"camera {name}: {error}") from error


