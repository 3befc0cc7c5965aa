# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""From what a user names to a model that answers sessions."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from policy_inference.backends.base import BackendBase, timed_runs
from policy_inference.backends.registry import Options, open_models
from policy_inference.bundle.bundle import JointBundle, ModelFiles
from policy_inference.bundle.load import load_bundle
from policy_inference.bundle.signature import trusted_keys
from policy_inference.errors import BackendError, PolicyError
from policy_inference.interfaces import Tensor
from policy_inference.self_test.parity import require_parity
from policy_inference.service.apart import require_apart
from policy_inference.service.bare import BareModel
from policy_inference.service.batching import batch_axes, with_rows
from policy_inference.service.policy import ServedPolicy, policy_of
from policy_inference.service.serving import ServedModel

_log = logging.getLogger("policy_inference")


class OrderError(PolicyError):
    """What is asked for contradicts itself."""

    exit_status = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be served: a bundle or a model, one of them.

    Attributes:
        bundle: Folder, or name of an installed one; "" for none.
        model: File without a contract; None for none.
        obs_stats: Statistics of the bare model's observations.
        obs_dim: Values of the bare model's observation.
        act_dim: Values of the bare model's action.
        precision: Of the bare model.
        backends: Names, the preferred one first.
        options: Of back ends.
        public_key: Keys of which one must have signed the bundle; "" for none.
        batch: Most robots in one inference.
        warmup: Inferences before the first client, beside those of the back end, if 5 s have room
            for them.
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


def open_served(order: Order) -> ServedModel:
    """Open what is to be served, and prove it: golden rows, and robots that do not mix.

    Raises:
        OrderError: What is asked for contradicts itself.
        PolicyError: It cannot be served, with the reason.
        OSError: A file cannot be read.
    """
    _require_consistent(order)
    opened = list[BackendBase]()
    try:
        served = _open_bundle(order, opened) if order.bundle else _open_bare(order, opened)
        for backend in opened:
            timed_runs(backend.run, order.warmup)
    except BaseException:
        for backend in opened:
            backend.close()
        raise
    return served


def _open_bundle(order: Order, opened: list[BackendBase]) -> ServedModel:
    bundle = load_bundle(
        order.bundle,
        trusted_keys(order.public_key),
        kind=JointBundle,
        instead="act_policy_node runs this policy; observations of cameras go by ROS topics",
    )
    backend = _opened(bundle.models[0], order, order.backends, opened)
    golden: Mapping[str, Tensor] = {}
    if bundle.contract.model.golden:
        require_parity(bundle, backend)
        golden = bundle.golden() if order.batch > 1 else {}
    else:
        _log.warning(
            "%s: no golden rows, so nobody knows whether the model computes here what it "
            "should; `model_tools complete` adds them",
            bundle.path,
        )
    return _served(policy_of(bundle), bundle.models[0], order, backend, opened, golden)


def _open_bare(order: Order, opened: list[BackendBase]) -> ServedModel:
    assert order.model is not None  # since there is no bundle
    if len(order.backends) != 1:
        raise BackendError(
            f"expected one back end, since {order.model} is a file of one, found "
            f"{', '.join(order.backends) or 'none'}"
        )
    bare = BareModel(
        file=order.model,
        precision=order.precision,
        obs_stats=order.obs_stats,
        obs_dim=order.obs_dim,
        act_dim=order.act_dim,
    )
    policy, files = bare.read(order.backends[0])
    backend = _opened(files, order, order.backends, opened)
    return _served(policy, files, order, backend, opened, {})


def _opened(
    files: ModelFiles, order: Order, names: Sequence[str], opened: list[BackendBase]
) -> BackendBase:
    options = {
        name: given
        for name, given in order.options.items()
        if name in names or name not in order.backends
    }
    backends, skipped = open_models((files,), names, options)
    for reason in skipped:
        _log.warning("falls back to another back end: %s", reason)
    (backend,) = backends.values()
    opened.append(backend)
    backend.warm_up()
    return backend


def _served(
    policy: ServedPolicy,
    files: ModelFiles,
    order: Order,
    backend: BackendBase,
    opened: list[BackendBase],
    golden: Mapping[str, Tensor],
) -> ServedModel:
    """Return the opened model, with its batch where one is asked for."""
    if order.batch == 1:
        return ServedModel(policy, backend)
    states = policy.contract.state if policy.contract else ()
    carried = {name for pair in states for name in (pair.input, pair.output)}
    axes = batch_axes(backend.name, backend.file, carried)
    several = _opened(with_rows(files, axes, order.batch), order, [backend.name], opened)
    require_apart(policy, backend, several, axes, order.batch, golden)
    return ServedModel(policy, backend, (several, axes, order.batch))


def _require_consistent(order: Order) -> None:
    """Raise where options contradict each other."""
    if bool(order.bundle) == (order.model is not None):
        found = "both" if order.bundle else "neither"
        raise OrderError(
            f"expected --bundle, or --model for a file without a contract, found {found}"
        )
    if order.batch < 1 or order.warmup < 0:
        raise OrderError(
            "expected --batch of at least 1 and --warmup of at least 0, found "
            f"{order.batch} and {order.warmup}"
        )
    if order.bundle and order.obs_stats:
        raise OrderError(
            f"--obs-stats: expected none, since the bundle says how observations are "
            f"normalised, found {order.obs_stats}; both would normalise twice"
        )
    sizes: Mapping[str, int | None] = {"--obs-dim": order.obs_dim, "--act-dim": order.act_dim}
    for option, size in sizes.items():
        if size is not None and (order.bundle or size < 1):
            expected = "none, since the bundle says it" if order.bundle else "1 or more"
            raise OrderError(f"{option}: expected {expected}, found {size}")
