# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Finds the actor among a checkpoint's tensors, builds it as a module and checks it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model_tools.errors import ToolError
from model_tools.make.checkpoints import networks, search
from model_tools.make.checkpoints.network_config import ExportConfig
from model_tools.make.checkpoints.running_statistics import (
    LEAVES,
    RunningStatistics,
    find_statistics,
)
from model_tools.make.checkpoints.search import Role, may_be_actor, role

SHOWN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """The parts of an actor, taken from a checkpoint."""

    layers: tuple[nn.Linear, ...]
    """Hidden layers and the output layer."""
    rnn: nn.Module | None
    statistics: RunningStatistics | None
    names: tuple[str, ...]
    """Names of the layers in the checkpoint, with their sizes."""

    def policy(self, config: ExportConfig, *, normalised_outside: bool = False) -> nn.Module:
        """Return the policy as a torch module in evaluation mode.

        Args:
            config: Configuration that states the activations and how to treat the statistics.
            normalised_outside: True if the module receives normalized observations, (obs - mean) /
                divisor.
        """
        body = networks.hidden(self.layers[:-1], config.activation or "identity")
        head = nn.Sequential(self.layers[-1], networks.ACTIVATIONS[config.output_activation]())
        rnn_in_between = config.rnn is not None and config.rnn.position == "after_mlp"
        before, after = (
            (body, head) if rnn_in_between else (nn.Sequential(), nn.Sequential(*body, *head))
        )
        return networks.PolicyNetwork(
            normaliser=self._normaliser(config, normalised_outside),
            before=before,
            rnn=self.rnn,
            after=after,
        ).eval()

    def _normaliser(self, config: ExportConfig, normalised_outside: bool) -> nn.Module:
        found = self.statistics
        if found is None or config.normaliser == "none":
            return networks.NormaliserLayer(None, None, None)
        if normalised_outside:
            return networks.NormaliserLayer(None, None, found.clip)
        return networks.NormaliserLayer(found.mean, found.divisor, found.clip)


def find_actor(tensors: Mapping[str, Tensor], config: ExportConfig) -> Actor:
    """Return the actor that the configuration describes, without guessing."""
    statistics = find_statistics(tensors, config)
    require_normaliser(statistics, config)
    search.require_rnn(tensors, config)
    chain = search.find_layers(tensors, config)
    weights = [name for stack in chain for name in stack.weights]
    biases = [search.bias_name(weight) for weight in weights]
    recurrent = search.find_recurrent(tensors, config)
    refuse_other_layers(tensors, weights, statistics)
    used = [*weights, *biases, *recurrent.values(), *(statistics.names if statistics else ())]
    refuse_left_over(tensors, config, used)
    refuse_not_plain(tensors, used)
    refuse_not_finite(tensors, used, statistics)
    return Actor(
        layers=tuple(
            networks.linear(tensors[weight], tensors.get(bias))
            for weight, bias in zip(weights, biases, strict=True)
        ),
        rnn=_filled({own: tensors[name] for own, name in recurrent.items()}, config),
        statistics=statistics,
        names=tuple(map(str, chain)),
    )


def _filled(weights: Mapping[str, Tensor], config: ExportConfig) -> nn.Module | None:
    if config.rnn is None:
        return None
    cell = networks.cell(config.rnn, search.rnn_input_size(config))
    cell.load_state_dict({name: value.float() for name, value in weights.items()})
    return cell


def require_normaliser(statistics: RunningStatistics | None, config: ExportConfig) -> None:
    """Raise if `normaliser` is set without running statistics in the checkpoint, or vice versa."""
    if statistics is not None and config.normaliser is None:
        raise ToolError(
            "normaliser: expected bake, keep or none, found nothing, although the "
            f"checkpoint has running statistics: {statistics}"
        )
    if statistics is None and config.normaliser in ("bake", "keep"):
        raise ToolError(
            f"normaliser: {config.normaliser}: expected running statistics in the "
            "checkpoint, found none; omit `normaliser` if the training used none"
        )


def refuse_other_layers(
    tensors: Mapping[str, Tensor], weights: Collection[str], statistics: RunningStatistics | None
) -> None:
    """Refuse normalization and other layers that are not linear; `ignore` does not exempt them."""
    stacks = {_parent(_parent(weight)) for weight in weights}
    known = {*LEAVES} if statistics is None else {*LEAVES, *statistics.names}
    modules = defaultdict[str, dict[str, Tensor]](dict)
    for name, tensor in tensors.items():
        if "." in name and _parent(_parent(name)) in stacks:
            modules[_parent(name)][name] = tensor
    for module, inside in modules.items():
        has_matrix = any(tensor.ndim > 1 for tensor in inside.values())
        is_statistics = all(name in known or name.rpartition(".")[2] in known for name in inside)
        if not has_matrix and not is_statistics and role(module) not in (Role.CRITIC, Role.SPREAD):
            shown = ", ".join(f"{name} {list(value.shape)}" for name, value in inside.items())
            raise ToolError(
                f"{module}: expected linear and recurrent layers in the actor, found {shown}, as "
                "in a LayerNorm or BatchNorm, which the configuration cannot describe; save the "
                "policy as a TorchScript program, and export that program unchanged (--trust-code)"
            )


def _parent(name: str) -> str:
    return name.rpartition(".")[0]


def refuse_left_over(
    tensors: Mapping[str, Tensor], config: ExportConfig, used: Collection[str]
) -> None:
    """Refuse unused tensors, because the network may be larger than described."""
    left = [
        f"{name} {list(tensor.shape)}"
        for name, tensor in tensors.items()
        if name not in used and may_be_actor(name, config)
    ]
    if left:
        more = f" and {len(left) - SHOWN} more" if len(left) > SHOWN else ""
        raise ToolError(
            "actor: expected only the layers that the configuration describes, found "
            f"{', '.join(left[:SHOWN])}{more} beside them; describe them (`rnn`), or list tensors "
            "that the actor does not use in `ignore`"
        )


def refuse_not_plain(tensors: Mapping[str, Tensor], used: Collection[str]) -> None:
    """Refuse tensors that are not dense real numbers."""
    odd = [
        f"{name} ({value.dtype}, {value.layout}, {value.device})"
        for name, value in tensors.items()
        if name in used
        and (
            value.layout is not torch.strided
            or value.is_quantized
            or value.is_complex()
            or value.is_meta
        )
    ]
    if odd:
        raise ToolError(
            f"{', '.join(odd)}: expected dense tensors of real numbers, found sparse, "
            "quantized, complex or empty ones; save the state_dict of the policy as it was trained"
        )


def refuse_not_finite(
    tensors: Mapping[str, Tensor], used: Collection[str], statistics: RunningStatistics | None
) -> None:
    """Refuse NaN and infinity in used tensors, and divisors that are not above 0."""
    bad = [
        name
        for name, value in tensors.items()
        if name in used and not bool(torch.isfinite(value).all())
    ]
    if bad:
        raise ToolError(
            f"{', '.join(bad)}: expected finite values, found NaN or infinity; the "
            "training diverged, take an earlier checkpoint"
        )
    if statistics is not None and not bool((statistics.divisor > 0).all()):
        raise ToolError(
            f"{statistics}: expected divisors above 0, found "
            f"{float(statistics.divisor.min()):g}; set `normaliser_epsilon`"
        )
