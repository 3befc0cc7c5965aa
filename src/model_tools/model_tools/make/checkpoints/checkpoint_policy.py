# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Turns a checkpoint and its configuration into a policy that can be exported and run.

TorchScript programs with state are rebuilt from their weights; other programs are exported as they
are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model_tools.errors import ToolError
from model_tools.make.checkpoints.actor import Actor, find_actor
from model_tools.make.checkpoints.load import STATE, TorchCheckpoint
from model_tools.make.checkpoints.network_config import ExportConfig
from model_tools.make.checkpoints.networks import NormaliserLayer, PolicyNetwork
from model_tools.make.checkpoints.running_statistics import RunningStatistics
from policy_core.interfaces import F32

Step = Callable[[F32], F32]
STEPS, TOLERANCE = 64, 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointPolicy:
    """The policy in a checkpoint."""

    layers: tuple[str, ...]
    """Names of the layers with their sizes; empty for a program that is exported as it is."""
    statistics: RunningStatistics | None
    """Running statistics of observations in the checkpoint."""
    whole: Any
    """torch module that maps raw observations to actions."""
    exported: Any
    """torch module to export: `whole` without the normalization that stays outside."""
    normalised_outside: bool
    """True if the model receives normalized observations, (obs - mean) / divisor."""
    program: Any = None
    """The TorchScript program itself; `whole` is derived from it."""

    def steps(self, batch: int) -> Step:
        """Return a function from raw observations [batch, obs_dim] to actions [batch, act_dim].

        The policy's state starts at zero, and persists between calls. A TorchScript program is
        called directly, for one robot only.
        """
        if self.program is not None and batch == 1:
            return steps(self.program)
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
        """Return the mean and spread [obs_dim] of observations; 0 and 1 if unknown."""
        if self.statistics is None:
            return np.zeros(obs_dim, np.float32), np.ones(obs_dim, np.float32)
        return self.statistics.arrays()

    def prepared(self, obs: F32) -> F32:
        """Return the model's input for observations [batch, obs_dim]."""
        if self.statistics is None or not self.normalised_outside:
            return obs
        mean, divisor = self.statistics.arrays()
        return (obs - mean) / divisor


def build_policy(checkpoint: TorchCheckpoint, config: ExportConfig) -> CheckpointPolicy:
    """Return the policy that the configuration describes."""
    program = checkpoint.program
    with torch.no_grad():
        if program is None:
            _require_layers(config)
            return _described(find_actor(checkpoint.tensors, config), config)
        if config.hidden_sizes is None:
            return CheckpointPolicy(
                layers=(),
                statistics=None,
                whole=as_it_stands(program, config),
                exported=program,
                normalised_outside=False,
                program=program,
            )
        _require_layers(config)
        try:
            actor = rebuild(checkpoint, config)
        except ToolError as error:
            raise ToolError(
                f"{error}; a program without state is exported unchanged if the configuration has "
                "no hidden_sizes"
            ) from error
        return replace(_described(actor, config), program=program)


def _require_layers(config: ExportConfig) -> None:
    missing = [key for key in ("hidden_sizes", "activation") if getattr(config, key) is None]
    if missing:
        raise ToolError(
            f"{', '.join(missing)}: expected a value in the configuration, found nothing; a "
            "checkpoint holds the weights of the network, but not its structure"
        )


def _described(actor: Actor, config: ExportConfig) -> CheckpointPolicy:
    outside = config.normaliser == "keep"
    return CheckpointPolicy(
        layers=actor.names,
        statistics=actor.statistics,
        whole=actor.policy(config),
        exported=actor.policy(config, normalised_outside=outside),
        normalised_outside=outside,
    )


def steps(program: Any) -> Callable[[F32], F32]:
    """Reset a program, and return a function that runs it: [1, obs_dim] to [1, act_dim]."""
    _reset(program)

    def step(obs: F32) -> F32:
        with torch.no_grad():
            return np.asarray(_action(program, torch.from_numpy(obs)).numpy(), np.float32)

    return step


def rebuild(checkpoint: TorchCheckpoint, config: ExportConfig) -> Actor:
    """Return the actor rebuilt from a program's weights, after a first comparison."""
    actor = find_actor(checkpoint.tensors, config)
    error = _difference(checkpoint.program, actor.policy(config), config.obs_dim)
    if not error <= TOLERANCE:
        raise ToolError(
            "TorchScript: expected the program that the configuration describes, found outputs "
            f"with a relative difference of {error:.3g}; check activation, rnn and normaliser"
        )
    return actor


def as_it_stands(program: Any, config: ExportConfig) -> nn.Module:
    """Return a program as a policy module; raise if it keeps a state."""
    if config.normaliser is not None or config.rnn is not None:
        raise ToolError(
            "hidden_sizes: expected the layers of the program, found nothing; without layers, "
            "the program is exported unchanged, so `rnn` and `normaliser` cannot be used"
        )
    obs = torch.randn(1, config.obs_dim, generator=torch.Generator().manual_seed(0))
    _reset(program)
    first, again = _action(program, obs), _action(program, obs)
    if first.shape != (1, config.act_dim):
        raise ToolError(
            f"TorchScript: expected an action of shape [1, {config.act_dim}], found "
            f"{list(first.shape)}"
        )
    if not torch.equal(first, again):
        raise ToolError(
            "TorchScript: expected the same action for the same observation, found "
            "a different one on the second call: the program keeps a state; describe it with "
            "hidden_sizes, activation and rnn, so that the state becomes an input and an output"
        )
    return PolicyNetwork(
        normaliser=NormaliserLayer(None, None, None),
        before=nn.Sequential(),
        rnn=None,
        after=program,
    )


def _difference(program: Any, policy: Any, obs_dim: int) -> float:
    """Return the largest difference between the actions in one run, relative to the largest action.

    A largest action below 1 counts as 1.
    """
    rows = 2.0 * torch.randn(STEPS, 1, obs_dim, generator=torch.Generator().manual_seed(0))
    _reset(program)
    largest, scale, state = 0.0, 1.0, policy.initial_state(1)
    for obs in rows:
        expected, found = _action(program, obs), policy(obs, *state)
        if state:
            found, *state = found
        if found.shape != expected.shape:
            return float("inf")
        largest = max(largest, float((found - expected).abs().max()))
        scale = max(scale, float(expected.abs().max()))
    return largest / scale


def _action(program: Any, obs: Tensor) -> Tensor:
    try:
        return program(obs)
    except RuntimeError as error:
        reason = (str(error).strip().splitlines() or ["an error"])[-1]
        raise ToolError(
            f"TorchScript: expected a program that takes one observation [1, {obs.shape[1]}], "
            f"found one that fails with it: {reason}"
        ) from error


def _reset(program: Any) -> None:
    if hasattr(program, "reset"):
        program.reset()
        return
    for name, value in program.named_buffers():
        if name in STATE:
            value.zero_()
