# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The policy as a torch module whose state, if it has one, goes in and comes out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model_tools.checkpoints.config import Activation, Recurrent

ACTIVATIONS: dict[Activation, type] = {
    "elu": nn.ELU, "gelu": nn.GELU, "identity": nn.Identity, "leaky_relu": nn.LeakyReLU,
    "relu": nn.ReLU, "selu": nn.SELU, "sigmoid": nn.Sigmoid, "silu": nn.SiLU,
    "softplus": nn.Softplus, "softsign": nn.Softsign, "swish": nn.SiLU, "tanh": nn.Tanh,
}  # fmt: skip


class Normaliser(nn.Module):
    """(obs - mean) / divisor, within +-clip; each of the two steps only where it is given."""

    def __init__(self, mean: Tensor | None, divisor: Tensor | None, clip: float | None) -> None:
        """Take mean and divisor [obs_dim], float32."""
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("divisor", divisor)
        self.clip = clip

    def forward(self, obs: Tensor) -> Tensor:
        """Normalise obs [batch, obs_dim]."""
        if self.mean is not None:
            obs = (obs - self.mean) / self.divisor
        return obs if self.clip is None else torch.clamp(obs, -self.clip, self.clip)


class Policy(nn.Module):
    """Normaliser, layers, recurrent layers if any, layers."""

    def __init__(
        self, *, normaliser: nn.Module, before: nn.Module, rnn: nn.Module | None, after: nn.Module
    ) -> None:
        """Take the parts in the order in which they run."""
        super().__init__()
        self.normaliser, self.before, self.rnn, self.after = normaliser, before, rnn, after

    def forward(self, obs: Tensor, *state: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return the action [batch, act_dim], and after it the new state where there is one.

        Args:
            obs: [batch, obs_dim].
            state: h (and c) [num_layers, batch, hidden_size].
        """
        x = self.before(self.normaliser(obs))
        if self.rnn is None:
            return self.after(x)
        is_lstm = isinstance(self.rnn, nn.LSTM)
        x, new = self.rnn(x.unsqueeze(0), state if is_lstm else state[0])
        return (self.after(x.squeeze(0)), *(new if is_lstm else (new,)))

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        """Return zeros [num_layers, batch, hidden_size] for h (and c); nothing without `rnn`."""
        if self.rnn is None:
            return ()
        zeros = torch.zeros(self.rnn.num_layers, batch, self.rnn.hidden_size)
        return (zeros, zeros) if isinstance(self.rnn, nn.LSTM) else (zeros,)


def cell(rnn: Recurrent, input_size: int) -> nn.Module:
    """Return recurrent layers, not yet filled."""
    kinds = {"lstm": nn.LSTM, "gru": nn.GRU}
    return kinds[rnn.type](input_size, rnn.hidden_size, rnn.num_layers)


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return a layer with these float32 weights, (out, in)."""
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.zero_() if bias is None else layer.bias.copy_(bias)
    return layer


def hidden(layers: Sequence[nn.Module], activation: Activation) -> nn.Sequential:
    """Return the layers, each with the activation after it."""
    function = ACTIVATIONS[activation]
    return nn.Sequential(*(part for layer in layers for part in (layer, function())))
