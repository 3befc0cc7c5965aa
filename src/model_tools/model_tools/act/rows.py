# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Observations that a policy's golden rows are made of: drawn, or of the training's dataset."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from model_tools.chunk_rows.observation import ObservationSource, fitted
from model_tools.errors import ToolError
from policy_inference.bundle.chunk_contract import (
    GOLDEN_CAMERA,
    GOLDEN_ENVIRONMENT,
    GOLDEN_STATE,
    ChunkContract,
    Scaling,
)
from policy_inference.core.chunks.normalise import VectorNormaliser
from policy_inference.interfaces import F32, Tensor

ROWS = 3
_BLOCK = 16


def drawn_rows(contract: ChunkContract) -> dict[str, Tensor]:
    """Return observations that are always the same: blocks of colours, states about the mean."""
    random, rows = np.random.default_rng(0), dict[str, Tensor]()
    for name, camera in contract.cameras.items():
        height, width = -(-camera.height // _BLOCK), -(-camera.width // _BLOCK)
        blocks = random.integers(0, 256, (ROWS, height, width, 3), np.uint8)
        large = blocks.repeat(_BLOCK, axis=1).repeat(_BLOCK, axis=2)
        rows[f"{GOLDEN_CAMERA}{name}"] = large[:, : camera.height, : camera.width]
    if contract.state is not None:
        rows[GOLDEN_STATE] = _drawn(random, contract.state.normalisation,
                                    len(contract.state.joints))
    if contract.environment_state is not None:
        rows[GOLDEN_ENVIRONMENT] = _drawn(random, contract.environment_state.normalisation,
                                          contract.environment_state.size)
    return rows


def are_drawn(contract: ChunkContract, rows: Mapping[str, Tensor]) -> bool:
    """Whether the pictures of observations are those that `drawn_rows` draws."""
    pictures = {name: array for name, array in drawn_rows(contract).items()
                if name.startswith(GOLDEN_CAMERA)}
    return bool(pictures) and all(np.array_equal(rows[name], array)
                                  for name, array in pictures.items())


def recorded_rows(contract: ChunkContract, source: ObservationSource) -> dict[str, Tensor]:
    """Return observations of a dataset or recording, evenly spaced.

    Raises:
        ToolError: It has none, or cannot be read.
        OSError: It cannot be read.
    """
    if not source.count:
        raise ToolError(f"{source.name}: expected observations, found none")
    wanted = np.unique(np.linspace(0, source.count - 1, ROWS).round().astype(int)).tolist()
    found, rows = list(source.observations(wanted)), dict[str, Tensor]()
    for name in contract.cameras:
        rows[f"{GOLDEN_CAMERA}{name}"] = np.stack(
            [fitted(contract.cameras[name], one.pictures[name]) for one in found])
    if contract.state is not None:
        rows[GOLDEN_STATE] = np.array([one.state for one in found], np.float32)
    if contract.environment_state is not None:
        rows[GOLDEN_ENVIRONMENT] = np.array([one.environment_state for one in found], np.float32)
    return rows


def _drawn(random: np.random.Generator, scaling: Scaling, size: int) -> F32:
    """Return rows [ROWS, size] about as wide as the training data."""
    normal = random.normal(0.0, 1.0, (ROWS, size))
    if scaling.mode == "identity":
        return normal.astype(np.float32)
    normaliser = VectorNormaliser(scaling, size)
    return normaliser.undo(np.clip(normal, -1.0, 1.0)).astype(np.float32)
