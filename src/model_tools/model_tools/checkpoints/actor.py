# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The actor among the tensors of a checkpoint, as a module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from model_tools.checkpoints import networks, search
from model_tools.checkpoints.checks import (
    refuse_left_over,
    refuse_not_finite,
    refuse_not_plain,
    refuse_other_layers,
    require_normaliser,
)
from model_tools.checkpoints.config import ExportConfig
from model_tools.checkpoints.statistics import Statistics, find_statistics


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """The parts of a policy as its checkpoint holds them."""

    layers: tuple[nn.Linear, ...]
    """Hidden layers and the output layer."""
    rnn: nn.Module | None
    statistics: Statistics | None
    names: tuple[str, ...]
    """Of the layers, as they stand in the checkpoint, with their sizes."""

    def policy(self, config: ExportConfig, *, normalised_outside: bool = False) -> nn.Module:
        """Return the whole policy.

        Args:
            config: Its activations, and what becomes of the statistics.
            normalised_outside: Whether it gets observations that are (obs - mean) / divisor.
        """
        body = networks.hidden(self.layers[:-1], config.activation or "identity")
        head = nn.Sequential(self.layers[-1], networks.ACTIVATIONS[config.output_activation]())
        rnn_in_between = config.rnn is not None and config.rnn.position == "after_mlp"
        before, after = (body, head) if rnn_in_between else (
            nn.Sequential(), nn.Sequential(*body, *head))  # fmt: skip
        return networks.Policy(
            normaliser=self._normaliser(config, normalised_outside),
            before=before, rnn=self.rnn, after=after,
        ).eval()  # fmt: skip

    def _normaliser(self, config: ExportConfig, normalised_outside: bool) -> nn.Module:
        found = self.statistics
        if found is None or config.normaliser == "none":
            return networks.Normaliser(None, None, None)
        if normalised_outside:
            return networks.Normaliser(None, None, found.clip)
        return networks.Normaliser(found.mean, found.divisor, found.clip)


def find_actor(tensors: Mapping[str, Tensor], config: ExportConfig) -> Actor:
    """Find the policy that the configuration describes; nothing is guessed.

    Raises:
        ToolError: There is none, there are several, it has other kinds of layers, tensors are
            left that belong to neither actor nor critic, weights are not finite, or `rnn` or
            `normaliser` does not fit what is there.
    """
    statistics = find_statistics(tensors, config)
    require_normaliser(statistics, config)
    search.require_rnn(tensors, config)
    chain = search.find_layers(tensors, config)
    weights = [name for stack in chain for name in stack.weights]
    biases = [search.bias_of(weight) for weight in weights]
    recurrent = search.find_recurrent(tensors, config)
    refuse_other_layers(tensors, weights, statistics)
    used = [*weights, *biases, *recurrent.values(), *(statistics.names if statistics else ())]
    refuse_left_over(tensors, config, used)
    refuse_not_plain(tensors, used)
    refuse_not_finite(tensors, used, statistics)
    return Actor(
        layers=tuple(networks.linear(tensors[weight], tensors.get(bias))
                     for weight, bias in zip(weights, biases, strict=True)),
        rnn=_filled({own: tensors[name] for own, name in recurrent.items()}, config),
        statistics=statistics,
        names=tuple(map(str, chain)),
    )  # fmt: skip


def _filled(weights: Mapping[str, Tensor], config: ExportConfig) -> nn.Module | None:
    if config.rnn is None:
        return None
    cell = networks.cell(config.rnn, search.rnn_input_size(config))
    cell.load_state_dict({name: value.float() for name, value in weights.items()})
    return cell
