# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which tensors of a checkpoint are the actor's: by their names and sizes, never guessed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from torch import Tensor

from model_tools.checkpoints import networks
from model_tools.checkpoints.config import ExportConfig
from model_tools.checkpoints.layers import (
    Shape,
    Stack,
    chains,
    linear_stacks,
    recurrent_networks,
)
from model_tools.checkpoints.names import Role, role
from model_tools.errors import ToolError

T = TypeVar("T")


def find_layers(tensors: Mapping[str, Tensor], config: ExportConfig) -> tuple[Stack, ...]:
    """Return the stacks that make up hidden layers and output layer, in their order.

    Raises:
        ToolError: None fit, or several do and names do not tell them apart.
    """
    shapes, stacks = _expected_shapes(config), linear_stacks(tensors)
    fitting = chains([one for one in stacks if may_be_actor(one.pattern, config)], shapes)
    return _choose(
        [(chain, [stack.pattern for stack in chain]) for chain in fitting],
        f"actor: expected linear layers with weights {' '.join(map(str, map(list, shapes)))}",
        [*map(str, stacks), *_recurrent_ones(tensors)],
    )


def find_recurrent(tensors: Mapping[str, Tensor], config: ExportConfig) -> dict[str, str]:
    """Return where the recurrent weights are: own name, e.g. ``weight_ih_l0``, to full name.

    Raises:
        ToolError: None fit, or several do and names do not tell them apart.
    """
    if config.rnn is None:
        return {}
    cell = networks.cell(config.rnn, rnn_input_size(config))
    wanted = {name: tuple(value.shape) for name, value in cell.state_dict().items()}
    fitting = [prefix for prefix in (one.prefix for one in recurrent_networks(tensors))
               if may_be_actor(prefix, config) and _shapes(tensors, prefix) == wanted]
    prefix = _choose(
        [(prefix, [prefix]) for prefix in fitting],
        f"rnn: expected {config.rnn.type}, {config.rnn.num_layers} layers, weight_ih_l0 "
        f"{list(wanted['weight_ih_l0'])}",
        _recurrent_ones(tensors),
    )
    return {name: prefix + name for name in wanted}


def require_rnn(tensors: Mapping[str, Tensor], config: ExportConfig) -> None:
    """Check that recurrent layers are described where the actor may have some.

    Raises:
        ToolError: `rnn` is missing; the error says what to add.
    """
    found = [one for one in recurrent_networks(tensors) if may_be_actor(one.prefix, config)]
    if config.rnn is not None or not found:
        return
    choice = " or ".join(f"{one.description(config.obs_dim)} for {one}" for one in found)
    raise ToolError(f"rnn: expected in the configuration, since the checkpoint has recurrent "
                    f"layers, found nothing; add {choice}, or name them in `ignore` if the actor "
                    "does not use them")


def may_be_actor(name: str, config: ExportConfig) -> bool:
    """Return whether a tensor's name leaves it possible that the actor uses it."""
    if config.actor:
        return name.startswith(config.actor)
    return role(name) in (Role.ACTOR, Role.UNKNOWN) and not name.startswith(config.ignore)


def rnn_input_size(config: ExportConfig) -> int:
    """Return the size of what goes into the recurrent layers."""
    sizes = (config.obs_dim, *(config.hidden_sizes or ()))
    return sizes[-1] if config.rnn and config.rnn.position == "after_mlp" else sizes[0]


def bias_of(weight: str) -> str:
    """Return the name of the bias beside a weight."""
    return weight.removesuffix("weight") + "bias"


def _expected_shapes(config: ExportConfig) -> tuple[Shape, ...]:
    """Return the (out, in) of each linear layer."""
    sizes = (config.obs_dim, *(config.hidden_sizes or ()), config.act_dim)
    shapes = [(out, size) for size, out in itertools.pairwise(sizes)]
    if config.rnn is not None:
        place = -1 if config.rnn.position == "after_mlp" else 0
        shapes[place] = (shapes[place][0], config.rnn.hidden_size)
    return tuple(shapes)


def _choose(fitting: Sequence[tuple[T, Sequence[str]]], wanted: str, all_of: Iterable[str]) -> T:
    """Return the only candidate, or the only one whose names say most clearly that it is it."""
    if not fitting:
        raise ToolError(f"{wanted}, found {', '.join(all_of) or 'none at all'}; correct the "
                        "configuration, or name the actor's tensors in `actor`")
    shares = [sum(role(name) is Role.ACTOR for name in names) / len(names) for _, names in fitting]
    best = [one for one, share in zip(fitting, shares, strict=True) if share == max(shares)]
    if len(best) > 1:
        choice = " or ".join(" with ".join(names) for _, names in best)
        raise ToolError(f"{wanted} once, found {choice}, of {', '.join(all_of)}; name the actor's "
                        "tensors in `actor`")
    return best[0][0]


def _recurrent_ones(tensors: Mapping[str, Tensor]) -> list[str]:
    return list(map(str, recurrent_networks(tensors)))


def _shapes(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Shape]:
    return {name.removeprefix(prefix): tuple(value.shape) for name, value in tensors.items()
            if name.startswith(prefix)}
