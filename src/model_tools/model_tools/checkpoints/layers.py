# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Linear and recurrent layers in a state dict, grouped by their names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

Shape = tuple[int, ...]
_FIRST, _GATES = "weight_ih_l0", {4.0: "lstm", 3.0: "gru"}
NUMBER = re.compile(r"\d+(?=[._]|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Linear layers whose names differ in one number: ``actor.*.weight``."""

    pattern: str
    weights: tuple[str, ...]
    """Names of the weights, in order of that number."""
    shapes: tuple[Shape, ...]
    """Of the weights: (out, in) each."""

    def __str__(self) -> str:
        """Return e.g. ``actor.* (45-256-12)``."""
        sizes = (self.shapes[0][1], *(out for out, _ in self.shapes))
        return f"{self.pattern.removesuffix('.weight')} ({'-'.join(map(str, sizes))})"


def linear_stacks(tensors: Mapping[str, Tensor]) -> list[Stack]:
    """Return the linear layers, grouped."""
    groups = defaultdict[str, list[str]](list)
    for name, tensor in tensors.items():
        if name.endswith(".weight") and tensor.ndim == 2:
            groups[_pattern(name)].append(name)
    return [_stack(pattern, sorted(names, key=_number), tensors)
            for pattern, names in groups.items()]


def chains(stacks: Sequence[Stack], shapes: tuple[Shape, ...]) -> Iterator[tuple[Stack, ...]]:
    """Yield each way to put stacks one after another such that the layers have these shapes."""
    if not shapes:
        yield ()
    for stack in stacks:
        count = len(stack.shapes)
        if stack.shapes == shapes[:count]:
            others = [other for other in stacks if other is not stack]
            yield from ((stack, *rest) for rest in chains(others, shapes[count:]))


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurrentNetwork:
    """Recurrent layers: those whose names begin with `prefix`, e.g. ``memory_a.rnn.``."""

    prefix: str
    type: str
    hidden_size: int
    num_layers: int
    first: Shape
    """Of `weight_ih_l0`: (gates x hidden_size, inputs)."""

    def description(self, obs_dim: int) -> str:
        """Return the `rnn` of a configuration that means these."""
        place = "" if self.first[1] == obs_dim else ", position: after_mlp"
        return (f"`rnn: {{type: {self.type}, hidden_size: {self.hidden_size}, num_layers: "
                f"{self.num_layers}{place}}}`")

    def __str__(self) -> str:
        """Return e.g. ``memory_a.rnn.weight_ih_l0 [20, 6]``."""
        return f"{self.prefix}{_FIRST} {list(self.first)}"


def recurrent_networks(tensors: Mapping[str, Tensor]) -> list[RecurrentNetwork]:
    """Return the recurrent networks."""
    found = []
    for name, first in tensors.items():
        prefix = name.removesuffix(_FIRST)
        again = tensors.get(f"{prefix}weight_hh_l0")
        if prefix == name or first.ndim != 2 or again is None or again.ndim != 2 or not len(first):
            continue
        size = again.shape[1]
        layers = sum(other.startswith(f"{prefix}weight_ih_l") and not other.endswith("_reverse")
                     for other in tensors)
        found.append(RecurrentNetwork(
            prefix=prefix, type=_GATES.get(len(first) / max(size, 1), "lstm or gru"),
            hidden_size=size, num_layers=layers, first=tuple(first.shape),
        ))  # fmt: skip
    return found


def _stack(pattern: str, names: list[str], tensors: Mapping[str, Tensor]) -> Stack:
    shapes = tuple(tuple(tensors[name].shape) for name in names)
    return Stack(pattern=pattern, weights=tuple(names), shapes=shapes)


def _pattern(name: str) -> str:
    numbers = list(NUMBER.finditer(name))
    return f"{name[: numbers[-1].start()]}*{name[numbers[-1].end():]}" if numbers else name


def _number(name: str) -> int:
    numbers = NUMBER.findall(name)
    return int(numbers[-1]) if numbers else 0
