# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a policy's graphs answer on raw observations, in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime

from model_tools.errors import ToolError
from model_tools.parity import between
from policy_inference.bundle.chunk_contract import (
    GOLDEN_CAMERA,
    GOLDEN_CHUNK,
    GOLDEN_ENVIRONMENT,
    GOLDEN_STATE,
    ChunkContract,
)
from policy_inference.core.chunks.normalise import PictureNormaliser, VectorNormaliser
from policy_inference.interfaces import F32, F64, Tensor

TOLERANCE = 1e-5
"""Largest difference of a normalised chunk from another one of the same function."""
Rows = Mapping[str, Tensor]
"""Observations as a golden file has them, and perhaps chunks."""


class Reference:
    """Runs the graphs of a policy on raw observations."""

    def __init__(self, contract: ChunkContract, models: Mapping[str, onnx.ModelProto]) -> None:
        """Open the graphs, by their names in the contract."""
        self._contract = contract
        self._sessions = {
            name: onnxruntime.InferenceSession(model.SerializeToString(),
                                               providers=["CPUExecutionProvider"])
            for name, model in models.items()}

    def normalised(self, rows: Rows) -> F32:
        """Return the normalised chunks [rows, steps, actions] of golden observations."""
        count = len(next(iter(rows.values())))
        return np.concatenate([self._one(rows, row) for row in range(count)])

    def chunks(self, normalised: F32) -> F64:
        """Return chunks in the policy's units of normalised ones."""
        return action_normaliser(self._contract).undo(normalised.astype(np.float64))

    def _one(self, rows: Rows, row: int) -> F32:
        contract, feed = self._contract, dict[str, Tensor]()
        for vector, key, size in (
            (contract.state, GOLDEN_STATE, len(contract.state.joints) if contract.state else 0),
            (contract.environment_state, GOLDEN_ENVIRONMENT,
             contract.environment_state.size if contract.environment_state else 0),
        ):
            if vector is not None:
                values = rows[key][row : row + 1].astype(np.float64)
                scaled = VectorNormaliser(vector.normalisation, size).apply(values)
                feed[vector.tensor] = scaled.astype(np.float32)
        for name, camera in contract.cameras.items():
            picture = np.zeros((1, 3, camera.height, camera.width), np.float32)
            PictureNormaliser(camera, picture).apply(rows[f"{GOLDEN_CAMERA}{name}"][row])
            feed[camera.tensor] = (picture if camera.encoder is None
                                   else self._encoded(camera.encoder, picture))
        found = self._sessions[contract.policy_graph].run([contract.action.tensor], feed)
        return np.asarray(found[0], np.float32)

    def _encoded(self, encoder: str, picture: F32) -> Tensor:
        session = self._sessions[encoder]
        (found,) = session.run(None, {session.get_inputs()[0].name: picture})
        return np.asarray(found)


def action_normaliser(contract: ChunkContract) -> VectorNormaliser:
    """Return what brings a policy's normalised chunks back."""
    return VectorNormaliser(contract.action.normalisation, len(contract.action.joints))


def require_same(
    normalised: F32, expected: Tensor, contract: ChunkContract, source: str
) -> float:
    """Return how far normalised chunks are from expected ones, which are in the policy's units.

    Raises:
        ToolError: They differ by more than `TOLERANCE`.
    """
    zero, one = (action_normaliser(contract).undo(np.full(expected.shape[-1], value))
                 for value in (0.0, 1.0))
    spread, chunks = one - zero, expected.astype(np.float64)
    # A joint that never moved says nothing about the network.
    wanted = np.where(spread == 0.0, normalised,
                      (chunks - zero) / np.where(spread == 0.0, 1.0, spread))
    difference = between(normalised, wanted)
    if not difference.largest <= TOLERANCE:
        raise ToolError(f"{source}: {GOLDEN_CHUNK}: expected what the policy answered in training, "
                        f"found a difference of {difference.largest:.2g} (normalised; limit "
                        f"{TOLERANCE:g}) in row {difference.row}; are pictures RGB, cameras under "
                        "their own names, and the state in the policy's units?")
    return difference.largest
