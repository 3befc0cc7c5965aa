# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Bundle of a chunk policy."""

from dataclasses import dataclass

from policy_core.bundle.arrays import check_observations, read_rows
from policy_core.bundle.bundle import AnyBundle, golden_entry
from policy_core.bundle.chunk_contract import (
    GOLDEN_CAMERA,
    GOLDEN_CHUNK,
    GOLDEN_ENVIRONMENT,
    GOLDEN_NOISE,
    GOLDEN_STATE,
    GOLDEN_SUCCESS,
    ChunkContract,
)
from policy_core.bundle.kinds import ContractKind
from policy_core.bundle.validate_chunk import validate_chunk
from policy_core.interfaces import Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChunkBundle(AnyBundle):
    """Bundle of a chunk policy."""

    contract: ChunkContract

    def golden(self) -> dict[str, Tensor]:
        """Return the golden rows: observations, and the reference model's chunks for them.

        Images are uint8 [rows, height, width, 3] in RGB under `cameras.NAME`; `state`,
        `environment_state` and `chunk` [rows, steps, actions] are in the policy's units. Several
        observations form a second axis, newest last. `noise` [rows, draws, steps, actions] is the
        input noise of denoised chunks; `success` [rows] is the success classifier's output, if
        there is one.

        Raises:
            BundleError: Same as `JointBundle.golden`.
        """
        contract = self.contract
        shapes: dict[str, tuple[int, ...]] = {
            f"{GOLDEN_CAMERA}{name}": (camera.height, camera.width, 3)
            for name, camera in contract.cameras.items()
        }
        if contract.state:
            shapes[GOLDEN_STATE] = (len(contract.state.joints),)
        if contract.environment_state:
            shapes[GOLDEN_ENVIRONMENT] = (contract.environment_state.size,)
        if contract.observation_steps > 1:
            shapes = {key: (contract.observation_steps, *one) for key, one in shapes.items()}
        if contract.denoising:
            draws = contract.denoising.draws
            shapes[GOLDEN_NOISE] = (draws, contract.rows, contract.columns)
        if contract.classifier:
            shapes[GOLDEN_SUCCESS] = ()
        shapes[GOLDEN_CHUNK] = (contract.chunk.size, len(contract.action.joints))
        entry = golden_entry(
            self.path,
            contract.golden,
            "golden",
            "`model_tools export act` writes a bundle that has them",
        )
        rows = read_rows(self.path, entry, shapes)
        check_observations(self.path / entry.file, rows, GOLDEN_CAMERA)
        return rows


CHUNK = ContractKind(
    contract=ChunkContract, bundle=ChunkBundle, validate=validate_chunk, node="act_policy_node"
)
