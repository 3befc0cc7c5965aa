# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The policy as a torch module, with recurrent state as input and output, and its ONNX export."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from model_tools.errors import ToolError, first_line
from model_tools.make.checkpoints.network_config import Activation, Recurrent

ACTIVATIONS: dict[Activation, type] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "identity": nn.Identity,
    "leaky_relu": nn.LeakyReLU,
    "relu": nn.ReLU,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "swish": nn.SiLU,
    "tanh": nn.Tanh,
}
OBS, ACTION, STATE = "obs", "action", ("h", "c")


class NormaliserLayer(nn.Module):
    """(obs - mean) / divisor, clipped to +-clip; a step whose value is None is skipped."""

    def __init__(self, mean: Tensor | None, divisor: Tensor | None, clip: float | None) -> None:
        """Store mean and divisor [obs_dim], float32."""
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("divisor", divisor)
        self.clip = clip

    def forward(self, obs: Tensor) -> Tensor:
        if self.mean is not None:
            obs = (obs - self.mean) / self.divisor
        return obs if self.clip is None else torch.clamp(obs, -self.clip, self.clip)


class PolicyNetwork(nn.Module):
    """A policy: normalizer, layers, any recurrent layers, and the layers after them."""

    def __init__(
        self, *, normaliser: nn.Module, before: nn.Module, rnn: nn.Module | None, after: nn.Module
    ) -> None:
        """Store the parts, given in the order in which they run."""
        super().__init__()
        self.normaliser, self.before, self.rnn, self.after = normaliser, before, rnn, after

    def forward(self, obs: Tensor, *state: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return the action [batch, act_dim], then the new state, if there is one.

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
    """Return recurrent layers with untrained weights."""
    kinds = {"lstm": nn.LSTM, "gru": nn.GRU}
    return kinds[rnn.type](input_size, rnn.hidden_size, rnn.num_layers)


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return a linear layer with these float32 weights [out, in]."""
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.zero_() if bias is None else layer.bias.copy_(bias)
    return layer


def hidden(layers: Sequence[nn.Module], activation: Activation) -> nn.Sequential:
    """Return the layers, each followed by an activation."""
    function = ACTIVATIONS[activation]
    return nn.Sequential(*(part for layer in layers for part in (layer, function())))


def to_onnx(
    policy: Any, state: Sequence[Tensor], *, obs_dim: int, opset: int, dynamic_batch: bool
) -> bytes:
    """Return the ONNX model: `obs` [batch, obs_dim], `h_in`, `c_in` to `action`, `h_out`, `c_out`.

    Args:
        policy: A `PolicyNetwork`, or a program with the same interface.
        state: State of one robot: none, h, or h and c.
        obs_dim: Size of the observation.
        opset: ONNX opset version, 11 to 20 (the range of this torch exporter).
        dynamic_batch: Leave the batch axis free; otherwise it is 1.
    """
    carried = STATE[: len(state)]
    inputs, outputs = [OBS, *(f"{s}_in" for s in carried)], [ACTION, *(f"{s}_out" for s in carried)]
    axes = {name: {0 if name in (OBS, ACTION) else 1: "batch"} for name in (*inputs, *outputs)}
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings():
            # The newer exporter needs more packages and writes no opset below 18.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                policy,
                (torch.zeros(1, obs_dim), *state),
                buffer,
                opset_version=opset,
                input_names=inputs,
                output_names=outputs,
                dynamic_axes=axes if dynamic_batch else None,
                dynamo=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        logging.getLogger("model_tools").debug("torch.onnx.export", exc_info=error)
        raise ToolError(
            f"opset {opset}: expected operations that ONNX supports, found: {first_line(error)}; "
            "try a higher --opset"
        ) from error
    return buffer.getvalue()
