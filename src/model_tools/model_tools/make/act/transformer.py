# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The transformer of an ACT policy: attention layers like PyTorch's MultiheadAttention.

Zhao et al., "Learning Fine-Grained Bimanual Manipulation with Low-Cost Hardware" (2023); LeRobot's
variant. Tokens are [1, number, dim]; positions are added to queries and keys, not to values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model_tools.make.act.builder import (
    LAYER_NORM_OPSET,
    GraphBuilder,
    Value,
    Weights,
    number,
    shape,
)
from policy_core.interfaces import F32

ACTIVATIONS = ("relu", "gelu", "glu")
_EPS = 1e-5
_TEMPERATURE, _SINE_EPS = 10_000.0, 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Transformer:
    """Writes transformer layers into a graph."""

    graph: GraphBuilder
    weights: Weights
    dim: int
    heads: int
    feedforward: int
    activation: str
    pre_norm: bool

    def encoder(self, x: Value, position: F32, layers: int) -> Value:
        """Return the tokens after `layers` layers of self-attention."""
        for layer in (f"encoder.layers.{i}" for i in range(layers)):
            x = self._self_attention(x, position, layer)
            x = self._feedforward(x, layer, "norm2")
        return self._norm(x, "encoder.norm") if self.pre_norm else x

    def decoder(
        self, x: Value, position: F32, memory: Value, memory_position: F32, layers: int
    ) -> Value:
        """Return the tokens after `layers` layers of attention to the tokens and to the memory."""
        keys = self._add(memory, memory_position)
        for layer in (f"decoder.layers.{i}" for i in range(layers)):
            x = self._self_attention(x, position, layer)
            skip, y = x, self._before(x, f"{layer}.norm2")
            y = self._attention(f"{layer}.multihead_attn", self._add(y, position), keys, memory)
            x = self._after(self._add(skip, y), f"{layer}.norm2")
            x = self._feedforward(x, layer, "norm3")
        return self._norm(x, "decoder.norm")

    def linear(self, x: Value, name: str, given: int, out: int) -> Value:
        """Return the output [..., out] of a linear layer for x [..., given]."""
        return self._linear(
            x,
            self.weights.take(f"{name}.weight", out, given),
            self.weights.take(f"{name}.bias", out),
        )

    def _self_attention(self, x: Value, position: F32, layer: str) -> Value:
        skip, y = x, self._before(x, f"{layer}.norm1")
        at = self._add(y, position)
        y = self._attention(f"{layer}.self_attn", at, at, y)
        return self._after(self._add(skip, y), f"{layer}.norm1")

    def _feedforward(self, x: Value, layer: str, norm: str) -> Value:
        inner = self.feedforward // 2 if self.activation == "glu" else self.feedforward
        skip, y = x, self._before(x, f"{layer}.{norm}")
        y = self._activated(self.linear(y, f"{layer}.linear1", self.dim, self.feedforward))
        y = self.linear(y, f"{layer}.linear2", inner, self.dim)
        return self._after(self._add(skip, y), f"{layer}.{norm}")

    def _attention(self, name: str, query: Value, key: Value, value: Value) -> Value:
        """Return softmax(q k' / sqrt(size of a head)) v of all heads, joined by a linear layer."""
        dim, op, size = self.dim, self.graph.op, self.dim // self.heads
        weight = self.weights.take(f"{name}.in_proj_weight", 3 * dim, dim)
        bias = self.weights.take(f"{name}.in_proj_bias", 3 * dim)
        parts = zip(np.split(weight, 3), np.split(bias, 3), strict=True)
        (q_weight, q_bias), (k_weight, k_bias), (v_weight, v_bias) = parts
        scale = np.float32(size**-0.5)
        q = self._heads(self._linear(query, q_weight * scale, q_bias * scale), [0, 2, 1, 3])
        k = self._heads(self._linear(key, k_weight, k_bias), [0, 2, 3, 1])
        v = self._heads(self._linear(value, v_weight, v_bias), [0, 2, 1, 3])
        share = op("Softmax", op("MatMul", q, k), axis=3)
        joined = op("Transpose", op("MatMul", share, v), perm=[0, 2, 1, 3])
        return self.linear(op("Reshape", joined, shape(1, -1, dim)), f"{name}.out_proj", dim, dim)

    def _heads(self, x: Value, order: list[int]) -> Value:
        split = self.graph.op("Reshape", x, shape(1, -1, self.heads, self.dim // self.heads))
        return self.graph.op("Transpose", split, perm=order)

    def _activated(self, x: Value) -> Value:
        op = self.graph.op
        if self.activation == "relu":
            return op("Relu", x)
        if self.activation == "gelu":
            bent = op("Add", op("Erf", op("Mul", x, number(0.5**0.5))), number(1.0))
            return op("Mul", op("Mul", x, number(0.5)), bent)
        half = self.feedforward // 2
        low, high = (op("Slice", x, shape(a), shape(a + half), shape(2)) for a in (0, half))
        return op("Mul", low, op("Sigmoid", high))

    def _before(self, x: Value, norm: str) -> Value:
        return self._norm(x, norm) if self.pre_norm else x

    def _after(self, x: Value, norm: str) -> Value:
        return x if self.pre_norm else self._norm(x, norm)

    def _norm(self, x: Value, name: str) -> Value:
        weight = self.weights.take(f"{name}.weight", self.dim)
        bias = self.weights.take(f"{name}.bias", self.dim)
        return layer_norm(self.graph, x, weight, bias, _EPS)

    def _linear(self, x: Value, weight: F32, bias: F32) -> Value:
        return self._add(self.graph.op("MatMul", x, weight.T), bias)

    def _add(self, a: Value, b: Value) -> Value:
        return self.graph.op("Add", a, b)


def layer_norm(graph: GraphBuilder, x: Value, weight: F32, bias: F32, eps: float) -> Value:
    """Return x normalized over its last axis, using operators that the graph's opset has."""
    op = graph.op
    if graph.opset >= LAYER_NORM_OPSET:
        return op("LayerNormalization", x, weight, bias, axis=-1, epsilon=eps)
    centred = op("Sub", x, op("ReduceMean", x, axes=[-1]))
    variance = op("ReduceMean", op("Mul", centred, centred), axes=[-1])
    spread = op("Sqrt", op("Add", variance, number(eps)))
    return op("Add", op("Mul", op("Div", centred, spread), weight), bias)


def sine_positions(height: int, width: int, dim: int) -> F32:
    """Return the position embedding of each cell of a feature map [height x width, dim], row-major.

    One half encodes the row, the other the column: sines at even and cosines at odd indices, of
    angles 2 pi n / (count + 1e-6) over 10000^(2 i / (dim / 2)), where n counts from 1.
    """
    half = dim // 2
    frequency = _TEMPERATURE ** (2.0 * (np.arange(half) // 2) / half)
    waves = []
    for count in (height, width):
        turns = np.arange(1, count + 1) / (count + _SINE_EPS) * 2.0 * np.pi
        angle = turns[:, np.newaxis] / frequency
        waves.append(np.where(np.arange(half) % 2 == 0, np.sin(angle), np.cos(angle)))
    rows, columns = waves
    both = np.concatenate([np.repeat(rows, width, axis=0), np.tile(columns, (height, 1))], axis=1)
    return both.astype(np.float32)
