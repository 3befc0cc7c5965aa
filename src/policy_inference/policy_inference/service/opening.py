# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Open the model that a user names, and prepare it to serve sessions."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from policy_core.bundle.bundle import ModelFiles, served_name
from policy_core.bundle.load import load_bundle, trusted_keys
from policy_core.errors import BackendError
from policy_core.interfaces import Tensor
from policy_inference.backends.base import BackendBase, timed_runs
from policy_inference.backends.registry import OpenedModels, Options, artifacts_for, open_models
from policy_inference.kinds.joint import JointKind
from policy_inference.kinds.kinds import find_kind
from policy_inference.kinds.parity import require_parity
from policy_inference.service.batch_isolation import require_isolation
from policy_inference.service.batching import batch_axes, with_rows
from policy_inference.service.model_file import read_model_file
from policy_inference.service.open_inference_server import GraphService
from policy_inference.service.policy import ServedPolicy, make_served
from policy_inference.service.serving import ServedModel

_NO_GOLDEN = (
    "%s: no golden rows, so the model is not verified on this machine; "
    "`model_tools complete` adds them"
)
_log = logging.getLogger("policy_inference")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeRequest:
    """Request to serve either a bundle or a model file.

    Attributes:
        bundle: Bundle folder, or name of an installed bundle; "" for none.
        model: Model file, which has no contract; None for none.
        obs_stats: Observation statistics for the model file.
        obs_dim: Number of values in an observation for the model file.
        act_dim: Number of values in an action from the model file.
        precision: The model file's precision.
        backends: Names of back ends, in order of preference.
        options: Back end options.
        public_key: Path to keys, one of which must have signed the bundle; "" for none.
        batch: Maximum number of robots in one inference.
        warmup: Inferences before the first client, besides the back end's own, for at most 5 s.
    """

    bundle: str = ""
    model: Path | None = None
    obs_stats: Path | None = None
    obs_dim: int | None = None
    act_dim: int | None = None
    precision: str = "fp32"
    backends: Sequence[str] = ("onnx",)
    options: Options = field(default_factory=dict)
    public_key: str = ""
    batch: int = 1
    warmup: int = 32


def open_served(request: ServeRequest) -> ServedModel:
    """Open the requested model; verify its golden rows, and that batched robots are isolated."""
    with ExitStack() as opened:
        open_one = _open_bundle if request.bundle else _open_file
        served = open_one(request, opened)
        opened.pop_all()
    return served


def _open_bundle(request: ServeRequest, opened: ExitStack) -> ServedModel:
    kind = JointKind()
    bundle = load_bundle(
        request.bundle,
        trusted_keys(request.public_key),
        kind=kind.bundle,
        instead="act_policy_node runs this policy, and --open-inference serves its graphs",
    )
    models = _opened(bundle.models, request, request.backends, opened)
    golden: Mapping[str, Tensor] = {}
    if bundle.contract.golden:
        rows = kind.golden_rows(bundle)
        require_parity(kind, bundle, models, rows)
        golden = rows.inputs
    else:
        _log.warning(_NO_GOLDEN, bundle.path)
    return _served(make_served(bundle), bundle.models[0], request, models, opened, golden)


def open_graphs(request: ServeRequest, opened: ExitStack) -> dict[str, GraphService]:
    """Open each requested model, for clients that fill its tensors themselves.

    Args:
        request: The request; its bundle may be of any kind except a policy set.
        opened: Closes the models.
    """
    if not request.bundle:
        policy, files = _read_file(request)
        models = _opened([files], request, request.backends, opened)
        (backend,) = models.values()
        return {policy.name: _graph(policy.name, "", policy.sha256.hex(), backend, request)}
    bundle = load_bundle(request.bundle, trusted_keys(request.public_key))
    models = _opened(bundle.models, request, request.backends, opened)
    contract = bundle.contract
    if contract.golden:
        kind = find_kind(bundle)
        require_parity(kind, bundle, models, kind.golden_rows(bundle))
    else:
        _log.warning(_NO_GOLDEN, bundle.path)
    files_of = artifacts_for(bundle, models.name)
    names = {key: served_name(contract, key) for key in models}
    return {
        names[key]: _graph(names[key], contract.version, files_of[key][0].sha256, backend, request)
        for key, backend in models.items()
    }


def _graph(
    name: str, version: str, sha256: str, backend: BackendBase, request: ServeRequest
) -> GraphService:
    timed_runs(backend.run, request.warmup)
    return GraphService(name=name, version=version, sha256=sha256, backend=backend)


def _open_file(request: ServeRequest, opened: ExitStack) -> ServedModel:
    policy, files = _read_file(request)
    models = _opened([files], request, request.backends, opened)
    return _served(policy, files, request, models, opened, {})


def _read_file(request: ServeRequest) -> tuple[ServedPolicy, ModelFiles]:
    assert request.model is not None  # since there is no bundle
    if len(request.backends) != 1:
        raise BackendError(
            f"expected one back end ({request.model} is a file for one back end), found "
            f"{', '.join(request.backends) or 'none'}"
        )
    return read_model_file(
        request.model,
        request.backends[0],
        precision=request.precision,
        obs_stats=request.obs_stats,
        obs_dim=request.obs_dim,
        act_dim=request.act_dim,
    )


def _opened(
    files: Sequence[ModelFiles],
    request: ServeRequest,
    names: Sequence[str],
    opened: ExitStack,
) -> OpenedModels:
    options = {
        name: given
        for name, given in request.options.items()
        if name in names or name not in request.backends
    }
    models = opened.enter_context(open_models(files, names, options))
    for reason in models.skipped:
        _log.warning("falls back to another back end: %s", reason)
    models.warm_up()
    return models


def _served(
    policy: ServedPolicy,
    files: ModelFiles,
    request: ServeRequest,
    models: OpenedModels,
    opened: ExitStack,
    golden: Mapping[str, Tensor],
) -> ServedModel:
    """Return the opened model, with its batched form if requested, after warm-up."""
    alone = models.first
    if request.batch == 1:
        served = ServedModel(policy, alone)
        timed_runs(alone.run, request.warmup)
        return served
    states = policy.contract.state if policy.contract else ()
    carried = {name for pair in states for name in (pair.input, pair.output)}
    axes = batch_axes(alone.name, alone.file, carried)
    of_batch = with_rows(files, axes, request.batch)
    several = _opened([of_batch], request, [alone.name], opened).first
    require_isolation(policy, alone, several, axes, request.batch, golden)
    served = ServedModel(policy, alone, (several, axes, request.batch))
    for backend in (alone, several):
        timed_runs(backend.run, request.warmup)
    return served
