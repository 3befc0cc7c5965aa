# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Batches of several robots in one inference: the batch axis of each tensor."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path

from policy_core.bundle.bundle import ModelFiles
from policy_core.bundle.contract import Graph, Tensor
from policy_core.errors import BackendError
from policy_inference.backends.registry import read_tensors

Axes = Mapping[str, int]
"""Batch axis by tensor name."""
REMEDY = (
    "export it with `model_tools export --dynamic-batch`, or serve one robot per inference, "
    "without --batch"
)


def batch_axes(backend: str, file: Path, carried: Container[str]) -> dict[str, int]:
    """Return the dynamic axis of each tensor in a model file.

    The rows of a batch belong to robots only if every tensor, including recurrent states, has
    exactly one such axis. A state may have a layer axis before it; other tensors may only have axes
    of size 1 before it.

    Args:
        backend: Back end of the file.
        file: The model.
        carried: Recurrent state tensors.
    """
    axes = dict[str, int]()
    for spec in chain(*read_tensors(backend, file)):
        found = [axis for axis, size in enumerate(spec.shape) if size == -1]
        if len(found) != 1 or (spec.name not in carried and math.prod(spec.shape[: found[0]]) != 1):
            raise BackendError(
                f"{file}: expected exactly the first axis of each tensor to be dynamic "
                f"(for a batch of several robots), found {spec}; {REMEDY}"
            )
        axes[spec.name] = found[0]
    return axes


def with_rows(model: ModelFiles, axes: Axes, rows: int) -> ModelFiles:
    """Return a model whose tensors have this many rows."""
    graph = model.model
    for name, tensor in {**graph.inputs, **graph.outputs}.items():
        if tensor.shape[axes[name]] != 1:
            raise BackendError(
                f"{model.folder}: expected {name} for one robot (size 1 on axis "
                f"{axes[name]}, which counts robots), found {list(tensor.shape)}; "
                "serve it without --batch"
            )
    return replace(
        model,
        model=Graph(
            inputs=_resized(graph.inputs, axes, rows),
            outputs=_resized(graph.outputs, axes, rows),
            artifacts=graph.artifacts,
        ),
    )


def _resized(tensors: Mapping[str, Tensor], axes: Axes, rows: int) -> dict[str, Tensor]:
    return {
        name: replace(
            tensor,
            shape=tuple(
                rows if axis == axes[name] else size for axis, size in enumerate(tensor.shape)
            ),
        )
        for name, tensor in tensors.items()
    }
