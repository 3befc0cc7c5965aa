# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Finds the actor's tensors in a checkpoint by name and size, without guessing."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from torch import Tensor

from model_tools.errors import ToolError
from model_tools.make.checkpoints import networks
from model_tools.make.checkpoints.network_config import ExportConfig
from policy_core.errors import plural

T = TypeVar("T")
Shape = tuple[int, ...]
_FIRST, _GATES = "weight_ih_l0", {4.0: "lstm", 3.0: "gru"}
NUMBER = re.compile(r"\d+(?=[._]|$)")


def find_layers(tensors: Mapping[str, Tensor], config: ExportConfig) -> tuple[LayerStack, ...]:
    """Return the stacks that make up the hidden layers and the output layer, in order."""
    shapes, stacks = _expected_shapes(config), linear_stacks(tensors)
    fitting = chains([one for one in stacks if may_be_actor(one.pattern, config)], shapes)
    return _choose(
        [(chain, [stack.pattern for stack in chain]) for chain in fitting],
        f"actor: expected linear layers with weights {' '.join(map(str, map(list, shapes)))}",
        [*map(str, stacks), *_recurrent_ones(tensors)],
    )


def find_recurrent(tensors: Mapping[str, Tensor], config: ExportConfig) -> dict[str, str]:
    """Return the recurrent weights: full names by short name, such as ``weight_ih_l0``."""
    if config.rnn is None:
        return {}
    cell = networks.cell(config.rnn, rnn_input_size(config))
    wanted = {name: tuple(value.shape) for name, value in cell.state_dict().items()}
    fitting = [
        prefix
        for prefix in (one.prefix for one in recurrent_networks(tensors))
        if may_be_actor(prefix, config)
        and wanted
        == {
            name.removeprefix(prefix): tuple(value.shape)
            for name, value in tensors.items()
            if name.startswith(prefix)
        }
    ]
    prefix = _choose(
        [(prefix, [prefix]) for prefix in fitting],
        f"rnn: expected {config.rnn.type}, {plural(config.rnn.num_layers, 'layer')}, weight_ih_l0 "
        f"{list(wanted['weight_ih_l0'])}",
        _recurrent_ones(tensors),
    )
    return {name: prefix + name for name in wanted}


def require_rnn(tensors: Mapping[str, Tensor], config: ExportConfig) -> None:
    """Raise if recurrent layers may be the actor's and the configuration does not describe them."""
    found = [one for one in recurrent_networks(tensors) if may_be_actor(one.prefix, config)]
    if config.rnn is not None or not found:
        return
    choice = " or ".join(f"{one.description(config.obs_dim)} for {one}" for one in found)
    raise ToolError(
        "rnn: expected a value in the configuration (the checkpoint has recurrent layers), "
        f"found nothing; add {choice}, or name them in `ignore` if the actor does not use them"
    )


def may_be_actor(name: str, config: ExportConfig) -> bool:
    """Return whether the actor may use a tensor with this name."""
    if config.actor:
        return name.startswith(config.actor)
    return role(name) in (Role.ACTOR, Role.UNKNOWN) and not name.startswith(config.ignore)


def rnn_input_size(config: ExportConfig) -> int:
    """Return the input size of the recurrent layers."""
    sizes = (config.obs_dim, *(config.hidden_sizes or ()))
    return sizes[-1] if config.rnn and config.rnn.position == "after_mlp" else sizes[0]


def bias_name(weight: str) -> str:
    """Return the name of the bias for a weight."""
    return weight.removesuffix("weight") + "bias"


def _expected_shapes(config: ExportConfig) -> tuple[Shape, ...]:
    sizes = (config.obs_dim, *(config.hidden_sizes or ()), config.act_dim)
    shapes = [(out, size) for size, out in itertools.pairwise(sizes)]
    if config.rnn is not None:
        place = -1 if config.rnn.position == "after_mlp" else 0
        shapes[place] = (shapes[place][0], config.rnn.hidden_size)
    return tuple(shapes)


def _choose(fitting: Sequence[tuple[T, Sequence[str]]], wanted: str, all_of: Iterable[str]) -> T:
    """Return the only candidate, or the one whose names point most clearly to the actor."""
    if not fitting:
        raise ToolError(
            f"{wanted}, found {', '.join(all_of) or 'none at all'}; correct the "
            "configuration, or name the actor's tensors in `actor`"
        )
    shares = [sum(role(name) is Role.ACTOR for name in names) / len(names) for _, names in fitting]
    best = [one for one, share in zip(fitting, shares, strict=True) if share == max(shares)]
    if len(best) > 1:
        choice = " or ".join(" with ".join(names) for _, names in best)
        raise ToolError(
            f"{wanted} exactly once, found {choice} (among {', '.join(all_of)}); name the actor's "
            "tensors in `actor`"
        )
    return best[0][0]


def _recurrent_ones(tensors: Mapping[str, Tensor]) -> list[str]:
    return list(map(str, recurrent_networks(tensors)))


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerStack:
    """Linear layers whose names differ in one number, such as ``actor.*.weight``."""

    pattern: str
    weights: tuple[str, ...]
    """Names of the weights, in the order of the number that differs."""
    shapes: tuple[Shape, ...]
    """Shape (out, in) of each weight."""

    def __str__(self) -> str:
        """Return text such as ``actor.* (45-256-12)``."""
        sizes = (self.shapes[0][1], *(out for out, _ in self.shapes))
        return f"{self.pattern.removesuffix('.weight')} ({'-'.join(map(str, sizes))})"


def linear_stacks(tensors: Mapping[str, Tensor]) -> list[LayerStack]:
    """Return the linear layers, grouped into stacks."""
    groups = defaultdict[str, list[str]](list)
    for name, tensor in tensors.items():
        if name.endswith(".weight") and tensor.ndim == 2:
            groups[_pattern(name)].append(name)
    ordered = {pattern: tuple(sorted(names, key=_number)) for pattern, names in groups.items()}
    return [
        LayerStack(
            pattern=pattern,
            weights=names,
            shapes=tuple(tuple(tensors[name].shape) for name in names),
        )
        for pattern, names in ordered.items()
    ]


def chains(
    stacks: Sequence[LayerStack], shapes: tuple[Shape, ...]
) -> Iterator[tuple[LayerStack, ...]]:
    """Yield each sequence of stacks whose layers have these shapes."""
    if not shapes:
        yield ()
    for stack in stacks:
        count = len(stack.shapes)
        if stack.shapes == shapes[:count]:
            others = [other for other in stacks if other is not stack]
            yield from ((stack, *rest) for rest in chains(others, shapes[count:]))


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurrentNetwork:
    """Recurrent layers whose names begin with `prefix`, such as ``memory_a.rnn.``."""

    prefix: str
    type: str
    hidden_size: int
    num_layers: int
    first: Shape
    """Shape of `weight_ih_l0`: (gates x hidden_size, inputs)."""

    def description(self, obs_dim: int) -> str:
        """Return the `rnn` entry for these layers in a configuration."""
        place = "" if self.first[1] == obs_dim else ", position: after_mlp"
        return (
            f"`rnn: {{type: {self.type}, hidden_size: {self.hidden_size}, num_layers: "
            f"{self.num_layers}{place}}}`"
        )

    def __str__(self) -> str:
        """Return text such as ``memory_a.rnn.weight_ih_l0 [20, 6]``."""
        return f"{self.prefix}{_FIRST} {list(self.first)}"


def recurrent_networks(tensors: Mapping[str, Tensor]) -> list[RecurrentNetwork]:
    found = []
    for name, first in tensors.items():
        prefix = name.removesuffix(_FIRST)
        again = tensors.get(f"{prefix}weight_hh_l0")
        if prefix == name or first.ndim != 2 or again is None or again.ndim != 2 or not len(first):
            continue
        size = again.shape[1]
        layers = sum(
            other.startswith(f"{prefix}weight_ih_l") and not other.endswith("_reverse")
            for other in tensors
        )
        found.append(
            RecurrentNetwork(
                prefix=prefix,
                type=_GATES.get(len(first) / max(size, 1), "lstm or gru"),
                hidden_size=size,
                num_layers=layers,
                first=tuple(first.shape),
            )
        )
    return found


def _pattern(name: str) -> str:
    numbers = list(NUMBER.finditer(name))
    return f"{name[: numbers[-1].start()]}*{name[numbers[-1].end() :]}" if numbers else name


def _number(name: str) -> int:
    numbers = NUMBER.findall(name)
    return int(numbers[-1]) if numbers else 0


class Role(Enum):
    """Owner of a tensor, as suggested by its name."""

    ACTOR = "actor"
    CRITIC = "critic"
    SPREAD = "exploration noise"
    UNKNOWN = "unknown"


# Single letters: memory_a and memory_c in rsl_rl, a_rnn and c_rnn in rl_games.
WORDS = {
    Role.ACTOR: {"actor", "action", "policy", "pi", "mu", "student", "a", "s"},
    Role.CRITIC: {
        "critic",
        "value",
        "baseline",
        "vf",
        "v",
        "q",
        "qf",
        "teacher",
        "privileged",
        "target",
        "c",
        "t",
    },
    Role.SPREAD: {"std", "logstd", "sigma", "alpha"},
}


def role(name: str) -> Role:
    """Return the owner of a tensor; the rightmost known word of its name decides."""
    for word in reversed(words(name)):
        for found, known in WORDS.items():
            if word in known:
                return found
    return Role.UNKNOWN


def words(name: str) -> list[str]:
    """Split a tensor's name into words: ``actor_critic.actor.fc1.weight`` is actor, fc, weight."""
    apart = name.lower().replace("actor_critic", "").replace("_", ".").split(".")
    return [word.rstrip("0123456789") for word in apart if word]
