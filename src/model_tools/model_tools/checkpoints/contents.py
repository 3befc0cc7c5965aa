# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint holds, in words, with nothing of torch left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model_tools.checkpoints.formats import read_tensors
from model_tools.checkpoints.layers import linear_stacks, recurrent_networks
from model_tools.checkpoints.load import load
from model_tools.checkpoints.names import Role, role
from model_tools.checkpoints.statistics import all_statistics


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The policy's tensors in a checkpoint, and what its names and sizes tell."""

    format: str
    tensors: tuple[str, ...]
    """`actor.0.weight float32[256, 45]` each."""
    count: int
    """Values in all of them."""
    actors: tuple[str, ...]
    """Linear layers that could be the actor's, by their names: `actor.* (45-256-12)`."""
    recurrent: tuple[str, ...]
    """Recurrent networks that could be the actor's: `memory_a.rnn, 45 inputs`."""
    statistics: Mapping[str, float]
    """Running statistics in words, and the smallest spread in each."""
    not_finite: tuple[str, ...]
    """Names of tensors with NaN or infinite values."""
    beside: Mapping[str, str]
    """What else stands in the file: values of numbers and texts, and kinds of other things."""


def read_contents(path: Path) -> Contents:
    """Read a checkpoint without running code.

    Raises:
        ToolError: It is no checkpoint, is cut short, or needs more than reading data.
        OSError: It cannot be read.
    """
    content = load(path, trust_code=False)
    name, tensors = read_tensors(path, content)
    return Contents(
        format=name,
        tensors=tuple(f"{key} {_words(tensor)}" for key, tensor in tensors.items()),
        count=sum(tensor.numel() for tensor in tensors.values()),
        actors=tuple(str(stack) for stack in linear_stacks(tensors) if _may_act(stack.pattern)),
        recurrent=tuple(f"{one.prefix.rstrip('.')}, {one.first[1]} inputs"
                        for one in recurrent_networks(tensors) if _may_act(one.prefix)),
        statistics=all_statistics(tensors),
        not_finite=tuple(key for key, tensor in tensors.items() if not _finite(tensor)),
        beside={str(key): _brief(value) for key, value in content.items()
                if value is not None and not isinstance(value, Tensor)},
    )  # fmt: skip


def _may_act(name: str) -> bool:
    return role(name) in (Role.ACTOR, Role.UNKNOWN)


def _words(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"


def _finite(tensor: Tensor) -> bool:
    dense = tensor.is_floating_point() and tensor.layout is torch.strided
    return not dense or bool(torch.isfinite(tensor).all())


def _brief(value: object) -> str:
    if isinstance(value, Mapping):
        return f"{len(value)} entries"
    simple = isinstance(value, (bool, int, float, str, np.generic))
    return str(value) if simple else type(value).__name__
