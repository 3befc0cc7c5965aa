# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""From a checkpoint and its configuration to a policy that can be exported and asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model_tools.checkpoints import torchscript
from model_tools.checkpoints.actor import Actor, find_actor
from model_tools.checkpoints.config import ExportConfig
from model_tools.checkpoints.formats import read_tensors
from model_tools.checkpoints.load import load
from model_tools.checkpoints.statistics import Statistics
from model_tools.errors import ToolError
from policy_inference.interfaces import F32

Step = Callable[[F32], F32]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointPolicy:
    """What a checkpoint holds."""

    format: str
    layers: tuple[str, ...]
    """Names of the layers with their sizes; empty for a program that is taken as it stands."""
    statistics: Statistics | None
    """Running statistics of observations in the checkpoint."""
    whole: Any
    """torch module from raw observations to actions."""
    exported: Any
    """torch module that becomes the model: `whole` without what is done outside."""
    normalised_outside: bool
    """Whether the model gets (obs - mean) / divisor."""
    program: Any = None
    """The TorchScript program that was read; `whole` is no more than what was made of it."""

    def steps(self, batch: int) -> Step:
        """Return a function from raw observations [batch, obs_dim] to actions [batch, act_dim].

        It starts with a state of zeros and keeps it from call to call. A program speaks for
        itself, but for one robot only.
        """
        if self.program is not None and batch == 1:
            return torchscript.steps(self.program)
        state = self.whole.initial_state(batch)

        def step(obs: F32) -> F32:
            nonlocal state
            with torch.no_grad():
                action = self.whole(torch.from_numpy(obs), *state)
            if state:
                action, *state = action
            return np.asarray(action.numpy(), np.float32)

        return step

    def usual_obs(self, obs_dim: int) -> tuple[F32, F32]:
        """Return mean and spread [obs_dim] of observations as far as they are known: else 0, 1."""
        if self.statistics is None:
            return np.zeros(obs_dim, np.float32), np.ones(obs_dim, np.float32)
        return self.statistics.arrays()

    def prepared(self, obs: F32) -> F32:
        """Return what the model gets for observations [batch, obs_dim]."""
        if self.statistics is None or not self.normalised_outside:
            return obs
        mean, divisor = self.statistics.arrays()
        return (obs - mean) / divisor


def read_policy(path: Path, config: ExportConfig, *, trust_code: bool) -> CheckpointPolicy:
    """Read the policy that the configuration describes.

    Raises:
        ToolError: The file cannot be used, or does not fit the configuration.
        OSError: The file cannot be read.
    """
    content = load(path, trust_code=trust_code)
    with torch.no_grad():
        if not isinstance(content, torch.jit.ScriptModule):
            _require_layers(config)
            name, tensors = read_tensors(path, content)
            return _described(name, find_actor(tensors, config), config)
        if config.hidden_sizes is None:
            whole = torchscript.as_it_stands(content, config)
            return CheckpointPolicy(
                format=torchscript.NAME, layers=(), statistics=None, whole=whole, exported=content,
                normalised_outside=False, program=content,
            )  # fmt: skip
        _require_layers(config)
        actor = torchscript.rebuild(content, config)
        return replace(_described(torchscript.NAME, actor, config), program=content)


def _require_layers(config: ExportConfig) -> None:
    missing = [key for key in ("hidden_sizes", "activation") if getattr(config, key) is None]
    if missing:
        raise ToolError(f"{', '.join(missing)}: expected in the configuration, since a checkpoint "
                        "holds weights and not what is done with them; found nothing")


def _described(name: str, actor: Actor, config: ExportConfig) -> CheckpointPolicy:
    outside = config.normaliser == "keep"
    return CheckpointPolicy(
        format=name, layers=actor.names, statistics=actor.statistics, whole=actor.policy(config),
        exported=actor.policy(config, normalised_outside=outside), normalised_outside=outside,
    )  # fmt: skip
