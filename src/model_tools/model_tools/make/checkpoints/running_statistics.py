# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Running statistics of observations in a checkpoint, and each library's divisor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model_tools.errors import ToolError
from model_tools.make.checkpoints.network_config import ExportConfig
from model_tools.make.checkpoints.search import WORDS, Role, words
from policy_core.interfaces import F32


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """Names and arithmetic of a library's statistics; checkpoints lack the epsilon and bound."""

    library: str
    mean: str
    spread: str
    is_variance: bool
    epsilon: float
    epsilon_inside_root: bool = False
    clip: float | None = None

    def divisor(self, spread: Tensor, epsilon: float) -> Tensor:
        """Return the divisor for observations, in float32 as in training."""
        if self.epsilon_inside_root:
            return torch.sqrt(spread.float() + epsilon)
        return (torch.sqrt(spread.float()) if self.is_variance else spread.float()) + epsilon


CONVENTIONS = (
    Convention(library="rsl_rl", mean="_mean", spread="_std", is_variance=False, epsilon=1e-2),
    Convention(
        library="skrl",
        mean="running_mean",
        spread="running_variance",
        is_variance=True,
        epsilon=1e-8,
        clip=5.0,
    ),
    Convention(
        library="rl_games",
        mean="running_mean",
        spread="running_var",
        is_variance=True,
        epsilon=1e-5,
        epsilon_inside_root=True,
        clip=5.0,
    ),
)


# Updated with the statistics, but not needed to normalize.
BESIDE = ("_var", "count", "current_count")
LEAVES = {*BESIDE, *(name for kind in CONVENTIONS for name in (kind.mean, kind.spread))}
"""Last part of the name of each tensor that belongs to running statistics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningStatistics:
    """Statistics that normalize observations: (obs - mean) / divisor, then clipped to +-clip."""

    prefix: str
    """Prefix of the names of the statistics' tensors in the checkpoint."""
    names: tuple[str, ...]
    """Names of the tensors; some may be absent."""
    mean: Tensor
    """Mean [obs_dim] float32."""
    divisor: Tensor
    """Divisor [obs_dim] float32."""
    clip: float | None

    def arrays(self) -> tuple[F32, F32]:
        """Return the mean and the divisor [obs_dim]."""
        return np.asarray(self.mean.numpy()), np.asarray(self.divisor.numpy())

    def __str__(self) -> str:
        """Return text such as ``obs_normalizer, within 5``."""
        bound = "" if self.clip is None else f", within {self.clip:g}"
        return f"{self.prefix.rstrip('.') or 'statistics'}{bound}"


def find_statistics(
    tensors: Mapping[str, Tensor], config: ExportConfig
) -> RunningStatistics | None:
    """Return the statistics of the actor's observations, or None."""
    found = [
        _read(tensors, name.removesuffix(kind.mean), kind, config)
        for kind in CONVENTIONS
        for name in tensors
        if _is_ours(name, kind, tensors) and not name.startswith(config.ignore)
    ]
    if len(found) > 1:
        raise ToolError(
            "normaliser: expected only the actor's running statistics, found "
            f"{', '.join(map(str, found))}; name those to leave out in `ignore`"
        )
    if found and len(found[0].mean) != config.obs_dim:
        raise ToolError(
            f"{found[0]}: expected statistics of obs_dim = {config.obs_dim} "
            f"values, found {len(found[0].mean)}"
        )
    return found[0] if found else None


def all_statistics(tensors: Mapping[str, Tensor]) -> dict[str, float]:
    """Return descriptions of all statistics that may be the actor's, with their smallest spread."""
    return {
        f"{name.removesuffix(kind.mean).rstrip('.') or 'statistics'} as of {kind.library}, "
        f"{tensors[name].numel()} values": float(
            tensors[name.removesuffix(kind.mean) + kind.spread].min()
        )
        for kind in CONVENTIONS
        for name in tensors
        if _is_ours(name, kind, tensors)
    }


def _is_ours(name: str, kind: Convention, tensors: Mapping[str, Tensor]) -> bool:
    prefix, _, last = name.rpartition(".")
    of_critic = WORDS[Role.CRITIC].intersection(words(prefix))
    spread = f"{prefix}.{kind.spread}" if prefix else kind.spread
    return last == kind.mean and spread in tensors and not of_critic


def _read(
    tensors: Mapping[str, Tensor], prefix: str, kind: Convention, config: ExportConfig
) -> RunningStatistics:
    given = config.normaliser_epsilon
    epsilon = kind.epsilon if given is None else given
    return RunningStatistics(
        prefix=prefix,
        names=tuple(prefix + name for name in (kind.mean, kind.spread, *BESIDE)),
        mean=tensors[prefix + kind.mean].float().flatten(),
        divisor=kind.divisor(tensors[prefix + kind.spread], epsilon).flatten(),
        clip=kind.clip if config.normaliser_clip is None else config.normaliser_clip,
    )
