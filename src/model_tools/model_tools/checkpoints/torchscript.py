# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""TorchScript programs: taken apart where their state has to come out, else as they stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model_tools.checkpoints.actor import Actor, find_actor
from model_tools.checkpoints.config import ExportConfig
from model_tools.checkpoints.networks import Normaliser, Policy
from model_tools.errors import ToolError
from policy_inference.interfaces import F32

NAME = "TorchScript"
STATE = ("hidden_state", "cell_state")
"""Buffers in which the exporters of rsl_rl and Isaac Lab keep the state."""
STEPS, TOLERANCE = 64, 1e-5


def steps(program: Any) -> Callable[[F32], F32]:
    """Return the program from its beginning on: from observations [1, obs_dim] to [1, act_dim]."""
    _reset(program)

    def step(obs: F32) -> F32:
        with torch.no_grad():
            return np.asarray(_action(program, torch.from_numpy(obs)).numpy(), np.float32)

    return step


def rebuild(program: Any, config: ExportConfig) -> Actor:
    """Return the actor that the program's weights make, the same function on a first look.

    Args:
        program: A `torch.jit.ScriptModule`.
        config: What it is made of.

    Raises:
        ToolError: The weights do not fit, or the program does something else with them.
    """
    tensors = {name: value for name, value in program.state_dict().items() if name not in STATE}
    actor = find_actor(tensors, config)
    error = _difference(program, actor.policy(config), config.obs_dim)
    if not error <= TOLERANCE:
        raise ToolError("TorchScript: expected the program that the configuration describes, found "
                        f"outputs that differ by {error:.3g} of their size; check activation, rnn "
                        "and normaliser")
    return actor


def as_it_stands(program: Any, config: ExportConfig) -> nn.Module:
    """Return a program without state as a policy.

    Raises:
        ToolError: It takes or gives something else than the configuration says, or has a state.
    """
    if config.normaliser is not None or config.rnn is not None:
        raise ToolError("hidden_sizes: expected the layers of the program, found nothing; without "
                        "them it is exported as it stands, and `rnn` and `normaliser` say nothing")
    obs = torch.randn(1, config.obs_dim, generator=torch.Generator().manual_seed(0))
    _reset(program)
    first, again = _action(program, obs), _action(program, obs)
    if first.shape != (1, config.act_dim):
        raise ToolError(f"TorchScript: expected an action of shape [1, {config.act_dim}], found "
                        f"{list(first.shape)}")
    if not torch.equal(first, again):
        raise ToolError("TorchScript: expected the same action for the same observation, found "
                        "another at the second call: the program keeps a state; describe it with "
                        "hidden_sizes, activation and rnn, so that the state can come out")
    return Policy(normaliser=Normaliser(None, None, None), before=nn.Sequential(), rnn=None,
                  after=program)  # fmt: skip


def _difference(program: Any, policy: Any, obs_dim: int) -> float:
    """Return the largest difference of the actions of one run, relative to the largest action."""
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
        raise ToolError(f"TorchScript: expected a program of one observation [1, {obs.shape[1]}], "
                        f"found one that fails with it: {reason}") from error


def _reset(program: Any) -> None:
    if hasattr(program, "reset"):
        program.reset()
        return
    for name, value in program.named_buffers():
        if name in STATE:
            value.zero_()
