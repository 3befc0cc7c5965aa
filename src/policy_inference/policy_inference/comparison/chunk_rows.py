# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Observations for a chunk policy, and what its graphs make of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from policy_inference.bundle.bundle import ChunkBundle
from policy_inference.bundle.chunk_contract import (
    GOLDEN_CAMERA,
    GOLDEN_CHUNK,
    GOLDEN_ENVIRONMENT,
    GOLDEN_STATE,
    ChunkContract,
)
from policy_inference.core.chunks.graphs import ChunkGraphs, Observation
from policy_inference.interfaces import F64, Backend, Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChunkRows:
    """Rows of what a policy sees.

    Attributes:
        source: Where they are from.
        observations: Arrays [rows, ...] named as those of a golden file, without the chunk.
        chunks: What the reference answered [rows, steps, actions], in the policy's units; None
            where that was not recorded.
    """

    source: str
    observations: Mapping[str, Tensor]
    chunks: F64 | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.observations.values())))

    def __iter__(self) -> Iterator[Observation]:
        """Yield the observations."""
        return (self.row(i) for i in range(len(self)))

    def first(self, count: int) -> ChunkRows:
        """Return the first rows, or all where there are fewer."""
        return ChunkRows(
            source=self.source,
            observations={name: array[:count] for name, array in self.observations.items()},
            chunks=None if self.chunks is None else self.chunks[:count],
        )

    def row(self, row: int, swapped: tuple[str, str] | None = None) -> Observation:
        """Return an observation; the pictures of two cameras may be swapped."""
        pictures = {
            name.removeprefix(GOLDEN_CAMERA): np.asarray(array[row], np.uint8)
            for name, array in self.observations.items()
            if name.startswith(GOLDEN_CAMERA)
        }
        if swapped:
            one, other = swapped
            pictures[one], pictures[other] = pictures[other], pictures[one]
        return Observation(
            pictures=pictures,
            state=self._vector(GOLDEN_STATE, row),
            environment=self._vector(GOLDEN_ENVIRONMENT, row),
        )

    def _vector(self, name: str, row: int) -> F64 | None:
        array = self.observations.get(name)
        return None if array is None else array[row].astype(np.float64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlayedChunks:
    """What graphs made of rows.

    Attributes:
        chunks: [rows, steps, actions] in the policy's units.
        normalised: The same as the network gives them.
        features: What the encoders made of each camera's picture [rows, channels, height, width];
            empty where the policy's graph takes pictures.
    """

    chunks: F64
    normalised: F64
    features: Mapping[str, Tensor]


def golden_chunks(bundle: ChunkBundle) -> ChunkRows:
    """Return the bundle's golden rows.

    Raises:
        BundleError: It has none, or not those that it states.
    """
    golden = bundle.golden()
    chunks = golden.pop(GOLDEN_CHUNK).astype(np.float64)
    return ChunkRows(source="golden rows", observations=golden, chunks=chunks)


def play_chunks(
    contract: ChunkContract,
    backends: Mapping[str, Backend],
    rows: ChunkRows,
    swapped: tuple[str, str] | None = None,
) -> PlayedChunks:
    """Run the graphs row by row, with the preprocessing that runs on a robot.

    Args:
        contract: Of the bundle.
        backends: Opened, by `graphs.NAME`; their arrays are overwritten.
        rows: What the policy sees.
        swapped: Two cameras that get each other's pictures.

    Raises:
        BackendError: A runtime failed.
    """
    graphs = ChunkGraphs(contract, backends)
    policy = backends[f"graphs.{contract.policy_graph}"]
    eyes = {
        name: policy.inputs[camera.tensor]
        for name, camera in contract.cameras.items()
        if camera.encoder is not None
    }
    seen: dict[str, list[Tensor]] = {name: [] for name in eyes}
    chunks, normalised = list[F64](), list[F64]()
    for i in range(len(rows)):
        chunks.append(graphs.run(rows.row(i, swapped)))
        normalised.append(policy.outputs[contract.action.tensor][0].astype(np.float64))
        for name, tensor in eyes.items():
            seen[name].append(tensor[0].copy())
    return PlayedChunks(
        chunks=np.stack(chunks),
        normalised=np.stack(normalised),
        features={name: np.stack(each) for name, each in seen.items()},
    )
