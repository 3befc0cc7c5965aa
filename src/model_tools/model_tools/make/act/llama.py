# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Llama transformer layers, for a language model and an action expert.

Touvron et al., "Llama 2" (2023): root mean square norm, rotary positions, query heads that share
keys and values, gated feed-forward layers; no biases. Tokens are [1, number, width].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model_tools.make.act.builder import (
    GraphBuilder,
    Positions,
    Value,
    Weights,
    linear,
    number,
    shape,
)
from policy_core.interfaces import F32

MASKED = -1e4
"""Value added to the scores of masked tokens, so that their weight becomes 0; it fits into float16.
"""
_WAVELENGTH = 10_000.0
"""Longest wavelength of the rotary positions; LeRobot ignores the model's rope_theta."""
_MEAN_AXES_OPSET = 18
"""First opset in which ReduceMean takes its axes as an input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaSizes:
    """Layer sizes of a transformer."""

    width: int
    layers: int
    heads: int
    groups: int
    """Number of key and value heads; each serves the same number of query heads."""
    head: int
    feedforward: int
    eps: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaLayers:
    """Adds parts of layers to a graph; the layers' weights are named `name.*`."""

    graph: GraphBuilder
    weights: Weights
    sizes: LlamaSizes
    name: str

    def norm(self, x: Value, name: str) -> Value:
        """Return x divided by its root mean square, times the weight `name`."""
        op, weight = (
            self.graph.op,
            self.weights.take(f"{self.name}.{name}.weight", self.sizes.width),
        )
        square = op("Mul", x, x)
        mean = (
            op("ReduceMean", square, np.array([-1], np.int64))
            if self.graph.opset >= _MEAN_AXES_OPSET
            else op("ReduceMean", square, axes=[-1])
        )
        root = op("Sqrt", op("Add", mean, number(self.sizes.eps)))
        return op("Mul", op("Div", x, root), weight)

    def query(self, x: Value, layer: int) -> Value:
        """Return the scaled queries [1, heads, tokens, head] for x [1, tokens, width]."""
        sizes = self.sizes
        name = f"{self.name}.layers.{layer}.self_attn.q_proj.weight"
        weight = self.weights.take(name, sizes.heads * sizes.head, sizes.width)
        scaled = np.ascontiguousarray((weight * np.float32(sizes.head**-0.5)).T)
        return split_heads(self.graph, self.graph.op("MatMul", x, scaled), sizes.heads, sizes.head)

    def projected(self, x: Value, layer: int, kind: str, given: int | None = None) -> Value:
        """Return keys (`k`) or values (`v`) [1, groups, tokens, head] for x [1, tokens, given]."""
        sizes, name = self.sizes, f"{self.name}.layers.{layer}.self_attn.{kind}_proj.weight"
        weight = self.weights.take(name, sizes.groups * sizes.head, given or sizes.width)
        made = self.graph.op("MatMul", x, np.ascontiguousarray(weight.T))
        return split_heads(self.graph, made, sizes.groups, sizes.head)

    def turned(self, x: Value, at: Positions) -> Value:
        """Apply the rotary embedding of the positions `at` to x [1, heads, tokens, head]."""
        op, half = self.graph.op, self.sizes.head // 2
        steps = np.float32(2.0 / self.sizes.head) * np.arange(half, dtype=np.float32)
        angle = at.astype(np.float32)[:, np.newaxis] / np.float32(_WAVELENGTH) ** steps
        sine, cosine = np.sin(angle), np.cos(angle)
        first, second = (part(self.graph, x, begin, half, axis=3) for begin in (0, half))
        low = op("Sub", op("Mul", first, cosine), op("Mul", second, sine))
        high = op("Add", op("Mul", second, cosine), op("Mul", first, sine))
        return op("Concat", low, high, axis=3)

    def attended(self, query: Value, key: Value, value: Value, mask: F32 | None) -> Value:
        """Return the attention output [1, tokens, heads x head]; query heads share keys and values.

        Args:
            query: [1, heads, tokens, head], scaled.
            key: [1, groups, others, head].
            value: [1, groups, others, head].
            mask: Values added to the scores [tokens, others]; None for no mask.
        """
        sizes, each = self.sizes, self.sizes.heads // self.sizes.groups
        shared = self.graph.op("Reshape", query, shape(1, sizes.groups, -1, sizes.head))
        masked = None if mask is None else np.tile(mask, (each, 1))
        made = attention(self.graph, shared, key, value, masked)
        return join_heads(self.graph, made, sizes.heads, sizes.head)

    def finished(self, x: Value, attended: Value, layer: int) -> Value:
        """Return the tokens after a layer's output projection and feed-forward part."""
        graph, weights, sizes = self.graph, self.weights, self.sizes
        name = f"{self.name}.layers.{layer}"
        given = sizes.heads * sizes.head
        out = linear(
            graph, weights, attended, f"{name}.self_attn.o_proj", given, sizes.width, bias=False
        )
        x = graph.op("Add", x, out)
        y = self.norm(x, f"layers.{layer}.post_attention_layernorm")
        gate, up = (
            linear(
                graph,
                weights,
                y,
                f"{name}.mlp.{part}_proj",
                sizes.width,
                sizes.feedforward,
                bias=False,
            )
            for part in ("gate", "up")
        )
        y = graph.op("Mul", silu(graph, gate), up)
        down = f"{name}.mlp.down_proj"
        y = linear(graph, weights, y, down, sizes.feedforward, sizes.width, bias=False)
        return graph.op("Add", x, y)


def attention(
    graph: GraphBuilder, query: Value, key: Value, value: Value, mask: F32 | None
) -> Value:
    """Return softmax(q k' + mask) v [1, groups, any, head]."""
    scores = graph.op("MatMul", query, graph.op("Transpose", key, perm=[0, 1, 3, 2]))
    if mask is not None:
        scores = graph.op("Add", scores, mask)
    return graph.op("MatMul", graph.op("Softmax", scores, axis=3), value)


def join_heads(graph: GraphBuilder, x: Value, heads: int, head: int) -> Value:
    """Return x [1, any, any, head] as [1, tokens, heads x head]."""
    split = graph.op("Reshape", x, shape(1, heads, -1, head))
    order = graph.op("Transpose", split, perm=[0, 2, 1, 3])
    return graph.op("Reshape", order, shape(1, -1, heads * head))


def split_heads(graph: GraphBuilder, x: Value, heads: int, head: int) -> Value:
    """Return x [1, tokens, heads x head] as [1, heads, tokens, head]."""
    split = graph.op("Reshape", x, shape(1, -1, heads, head))
    return graph.op("Transpose", split, perm=[0, 2, 1, 3])


def part(graph: GraphBuilder, x: Value, begin: int, size: int, axis: int = 1) -> Value:
    """Return `size` elements along an axis, starting at `begin`."""
    return graph.op("Slice", x, shape(begin), shape(begin + size), shape(axis))


def silu(graph: GraphBuilder, x: Value) -> Value:
    """Return x * sigmoid(x)."""
    return graph.op("Mul", x, graph.op("Sigmoid", x))
