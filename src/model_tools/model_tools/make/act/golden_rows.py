# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Golden rows: observations, random or from the training dataset, and the graphs' outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from model_tools.errors import ToolError
from model_tools.files.rows import ObservationSource, fitted
from model_tools.make.parity import between
from policy_core.bundle.chunk_contract import (
    GOLDEN_CAMERA,
    GOLDEN_CHUNK,
    GOLDEN_ENVIRONMENT,
    GOLDEN_STATE,
    ChunkContract,
    Scaling,
)
from policy_core.interfaces import F32, F64, Backend, Tensor
from policy_core.members.chunk.normalise import VectorNormaliser
from policy_inference.comparison.chunks import NORMALISED_CHUNK, drawn_noise, play_chunks
from policy_inference.comparison.rows import Rows as GoldenRows
from policy_inference.comparison.rows import evenly

ROWS = 3
_BLOCK = 16
TOLERANCE, LARGEST_TOLERANCE = 1e-5, 1e-3
"""Difference that is always allowed between normalized chunks from two implementations of the same
function, and the largest that is ever allowed.
"""
NOISES = 4.0
"""Factor for float32 noise: 2 because both chunks have noise, times 2 for differing kernels."""
Rows = Mapping[str, Tensor]
"""Observations in the layout of a golden file, optionally with chunks."""


def drawn_rows(contract: ChunkContract) -> dict[str, Tensor]:
    """Return the same random observations every time: blocks of color, states around the mean."""
    random, rows = np.random.default_rng(0), dict[str, Tensor]()
    for name, camera in contract.cameras.items():
        height, width = -(-camera.height // _BLOCK), -(-camera.width // _BLOCK)
        blocks = random.integers(0, 256, (ROWS, height, width, 3), np.uint8)
        large = blocks.repeat(_BLOCK, axis=1).repeat(_BLOCK, axis=2)
        rows[f"{GOLDEN_CAMERA}{name}"] = large[:, : camera.height, : camera.width]
    if contract.state is not None:
        rows[GOLDEN_STATE] = _drawn(
            random, contract.state.normalisation, len(contract.state.joints)
        )
    if contract.environment_state is not None:
        rows[GOLDEN_ENVIRONMENT] = _drawn(
            random, contract.environment_state.normalisation, contract.environment_state.size
        )
    if contract.observation_steps > 1:
        # Earlier steps show the other rows' images, so that their order matters.
        rows = {
            name: np.stack(
                [np.roll(array, step, axis=0) for step in range(contract.observation_steps)], 1
            )
            for name, array in rows.items()
        }
    return rows | drawn_noise(contract, ROWS)


def are_drawn(contract: ChunkContract, rows: Mapping[str, Tensor]) -> bool:
    """Return whether the images are the ones from `drawn_rows`."""
    images = {
        name: array
        for name, array in drawn_rows(contract).items()
        if name.startswith(GOLDEN_CAMERA)
    }
    return bool(images) and all(np.array_equal(rows[name], array) for name, array in images.items())


def recorded_rows(
    contract: ChunkContract, source: ObservationSource, most: int = ROWS
) -> dict[str, Tensor]:
    """Return at most `most` observations from a dataset or recording, evenly spaced."""
    if not source.count:
        raise ToolError(f"{source.name}: expected observations, found none")
    rows = dict[str, list[Tensor]]()
    wanted = evenly(source.count, most).tolist()
    for newest in source.observations(wanted):
        steps = (*newest.earlier, newest)
        seen: dict[str, list[Tensor]] = {
            f"{GOLDEN_CAMERA}{name}": [fitted(camera, one.images[name]) for one in steps]
            for name, camera in contract.cameras.items()
        }
        if contract.state is not None:
            seen[GOLDEN_STATE] = [np.asarray(one.state, np.float32) for one in steps]
        if contract.environment_state is not None:
            seen[GOLDEN_ENVIRONMENT] = [
                np.asarray(one.environment_state, np.float32) for one in steps
            ]
        for name, each in seen.items():
            rows.setdefault(name, []).append(np.stack(each) if len(each) > 1 else each[0])
    return {name: np.stack(each) for name, each in rows.items()} | drawn_noise(
        contract, len(wanted)
    )


def _drawn(random: np.random.Generator, scaling: Scaling, size: int) -> F32:
    """Return rows [ROWS, size] with about the spread of the training data."""
    normal = random.normal(0.0, 1.0, (ROWS, size))
    if scaling.mode == "identity":
        return normal.astype(np.float32)
    normaliser = VectorNormaliser(scaling, size)
    return normaliser.undo(np.clip(normal, -1.0, 1.0)).astype(np.float32)


class _ModelFile:
    """A back end that runs a graph in float32 or in float64 (100 times slower)."""

    name = "reference"

    def __init__(self, model: onnx.ModelProto, *, exact: bool) -> None:
        self._runner: Any = (
            _widened(model)
            if exact
            else onnxruntime.InferenceSession(
                model.SerializeToString(), providers=["CPUExecutionProvider"]
            )
        )
        self.details: Mapping[str, str] = {}
        self.inputs: Mapping[str, Tensor] = dict(_arrays(model.graph.input, exact=exact))
        self.outputs: Mapping[str, Tensor] = dict(_arrays(model.graph.output, exact=exact))

    def run(self) -> None:
        found = self._runner.run([*self.outputs], dict(self.inputs))
        for array, values in zip(self.outputs.values(), found, strict=True):
            array[...] = values

    def close(self) -> None:
        """Do nothing."""


class ReferenceGraphs:
    """Runs the graphs of a policy on raw observations."""

    def __init__(
        self, contract: ChunkContract, models: Mapping[str, onnx.ModelProto], *, exact: bool = False
    ) -> None:
        """Open the graphs, named as in the contract.

        Args:
            contract: Contract of the policy.
            models: Graphs of the policy, in float32.
            exact: Compute in float64 (100 times slower).
        """
        self._contract = contract
        self._graphs: Mapping[str, Backend] = {
            f"graphs.{name}": _ModelFile(model, exact=exact) for name, model in models.items()
        }

    def normalised(self, rows: Rows) -> F64:
        """Return the normalized chunks [rows, steps, actions] for golden observations."""
        given = GoldenRows(source="golden rows", inputs=dict(rows), outputs={})
        played = play_chunks(self._contract, self._graphs, given)
        return played[NORMALISED_CHUNK].astype(np.float64)


def _arrays(values: Iterable[onnx.ValueInfoProto], *, exact: bool) -> Iterator[tuple[str, Tensor]]:
    dtype = np.float64 if exact else np.float32
    for value in values:
        shape = [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        yield value.name, np.zeros(shape, dtype)


def _widened(model: onnx.ModelProto) -> ReferenceEvaluator:
    """Return a float64 evaluator of a float32 graph; ONNX Runtime has no float64 convolution."""
    wide = onnx.ModelProto.FromString(model.SerializeToString())
    attributes = (attribute for node in wide.graph.node for attribute in node.attribute)
    for tensor in (
        *wide.graph.initializer,
        *(each.t for each in attributes if each.type == onnx.AttributeProto.TENSOR),
    ):
        if tensor.data_type == onnx.TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for value in (*wide.graph.input, *wide.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    del wide.graph.value_info[:]
    return ReferenceEvaluator(wide)


def action_normaliser(contract: ChunkContract) -> VectorNormaliser:
    """Return the normalizer that converts normalized chunks back to the policy's units."""
    return VectorNormaliser(contract.action.normalisation, len(contract.action.joints))


def golden_tolerance(difference: float, found: F64, exact: Callable[[], F64]) -> float:
    """Return the tolerance for normalized chunks from two implementations of the same function.

    The tolerance is `TOLERANCE`; if that is exceeded, `NOISES` x max |float32 - float64| over these
    chunks, clamped between `TOLERANCE` and `LARGEST_TOLERANCE`. Deep backbones have more noise than
    1e-5: a ResNet-50 about 3e-5 in either runtime. Swapped colors or cameras change a chunk by 0.1.

    Args:
        difference: Largest difference found.
        found: The chunks in float32.
        exact: Function that computes the same chunks in float64, which may take minutes.
    """
    if difference <= TOLERANCE or not difference <= LARGEST_TOLERANCE:
        return TOLERANCE
    noise = float(np.abs(found - exact()).max())
    return min(max(TOLERANCE, NOISES * noise), LARGEST_TOLERANCE)


def require_same(
    normalised: F64,
    expected: Tensor,
    contract: ChunkContract,
    source: str,
    exact: Callable[[], F64],
) -> float:
    """Return the largest normalized difference from the expected chunks (in the policy's units).

    Args:
        normalised: Chunks in float32.
        expected: Outputs from the training code.
        contract: Contract of the policy.
        source: Source of the expected chunks, for messages.
        exact: See `golden_tolerance`.

    Raises:
        ToolError: The difference exceeds the tolerance.
    """
    zero, one = (
        action_normaliser(contract).undo(np.full(expected.shape[-1], value)) for value in (0.0, 1.0)
    )
    spread, chunks = one - zero, expected.astype(np.float64)
    # A joint that never moved in training reveals nothing about the network.
    wanted = np.where(
        spread == 0.0, normalised, (chunks - zero) / np.where(spread == 0.0, 1.0, spread)
    )
    difference = between(normalised, wanted)
    limit = golden_tolerance(difference.largest, normalised, exact)
    if not difference.largest <= limit:
        raise ToolError(
            f"{source}: {GOLDEN_CHUNK}: expected the same outputs as in training, found a "
            f"difference of {difference.largest:.2g} (normalized; limit {limit:.2g}) in row "
            f"{difference.row}; are the images RGB, is each camera under its own name, and is the "
            "state in the policy's units?"
        )
    return difference.largest
