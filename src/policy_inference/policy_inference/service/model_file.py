# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A model file without a contract, described only by what the file itself states."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

from policy_core.bundle.arrays import read_statistics
from policy_core.bundle.bundle import ModelFiles
from policy_core.bundle.contract import Artifact, Graph, Normalisation, Observation, Tensor
from policy_core.bundle.verified import sha256_file
from policy_core.errors import BackendError
from policy_core.interfaces import TensorSpec
from policy_inference.backends.registry import read_tensors
from policy_inference.service.observing import watched_with
from policy_inference.service.policy import ModelInput, ServedPolicy

_FLOATS = ("float32", "float16")
_BUNDLE = "make a bundle from the model (`model_tools import`)"


def read_model_file(
    file: Path,
    backend: str,
    *,
    precision: str = "fp32",
    obs_stats: Path | None = None,
    obs_dim: int | None = None,
    act_dim: int | None = None,
) -> tuple[ServedPolicy, ModelFiles]:
    """Return the policy in a file, and the file as a model for the registered back ends.

    Observations are normalized as (obs - mean) / max(std, 1e-3), with the floor of `Normalisation`.

    Args:
        file: Model with one input, the observation, and one output, the action.
        backend: Back end of the file.
        precision: Precision of the file: fp32, fp16, w8a8, ...
        obs_stats: npz with `mean` and `std` [obs_dim]; None if observations are not normalized.
        obs_dim: Size of an observation, needed if it is dynamic in the file; otherwise it is only
            checked.
        act_dim: Size of an action, used in the same way.
    """
    sha256 = sha256_file(file)
    inputs, outputs = read_tensors(backend, file)
    if len(inputs) != 1 or len(outputs) != 1:
        found = ", ".join(map(str, (*inputs, *outputs)))
        raise BackendError(
            f"{file}: expected one input and one output, found {found}; a contract must describe "
            f"the other tensors: {_BUNDLE}"
        )
    observation = _closed(file, inputs[0], obs_dim, "--obs-dim")
    action = _closed(file, outputs[0], act_dim, "--act-dim")
    # Only a contract can declare control flow; a service commands no robot.
    artifact = Artifact(
        file=file.name, sha256=sha256, precision=precision, control_flow="without a contract"
    )
    graph = Graph(
        inputs=_tensors(observation), outputs=_tensors(action), artifacts={backend: artifact}
    )
    statistics = None
    if obs_stats:
        entry = Normalisation(file=obs_stats.name, sha256=sha256_file(obs_stats))
        statistics = read_statistics(obs_stats.parent, entry, observation.shape)
    filled = ModelInput(observation, Observation(terms=()), statistics=statistics)
    policy = ServedPolicy(
        name=file.stem,
        sha256=bytes.fromhex(sha256),
        output=action.name,
        inputs=(filled,),
        watched=watched_with(statistics) if statistics else (),
    )
    return policy, ModelFiles(folder=file.parent, key="model", model=graph)


def _closed(file: Path, spec: TensorSpec, size: int | None, option: str) -> TensorSpec:
    """Return a tensor of one row whose axes are all fixed."""
    if spec.dtype not in _FLOATS:
        raise BackendError(
            f"{file}: expected tensors of {' or '.join(_FLOATS)}, found "
            f"{spec}; a contract must define its integers: {_BUNDLE}"
        )
    shape = list(spec.shape)
    if len(shape) > 1 and shape[0] == -1:
        shape[0] = 1  # the batch
    unknown = [axis for axis, known in enumerate(shape) if known == -1]
    if len(unknown) > 1 or (unknown and not size):
        raise BackendError(
            f"{file}: expected a tensor of fixed size, found {spec}; state the number of values "
            f"per robot with {option}, or export the model with fixed sizes"
        )
    if unknown and size:
        shape[unknown[0]] = size // -math.prod(shape)  # size of the others: it contains one -1
    if size is not None and math.prod(shape) != size:
        raise BackendError(
            f"{file}: expected {size} values as in {option}, found "
            f"{spec}; leave {option} out, or pass the intended file"
        )
    return TensorSpec(name=spec.name, shape=tuple(shape), dtype=spec.dtype)


def _tensors(spec: TensorSpec) -> dict[str, Tensor]:
    dtype: Literal["float32", "float16"] = "float16" if spec.dtype == "float16" else "float32"
    return {spec.name: Tensor(shape=spec.shape, dtype=dtype)}
