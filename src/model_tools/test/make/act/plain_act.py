# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""ACT at inference in plain numpy and float64: written for reading, from the papers' formulas."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from policy_core.interfaces import F64, Tensor

from .small_checkpoints import BLOCKS, OUTSIDE, STATE, Tensors


class PlainAct:
    """The network of a checkpoint."""

    def __init__(self, config: dict[str, Any], tensors: Tensors) -> None:
        self.config = config
        self.tensors = {
            name.removeprefix("model."): array.astype(np.float64) for name, array in tensors.items()
        }

    def chunk(self, vectors: Mapping[str, Tensor], images: Sequence[Tensor]) -> F64:
        """Return the chunk [steps, actions] for normalised vectors [n] and images [3, h, w]."""
        t = self.tensors
        tokens = [t["encoder_latent_input_proj.bias"]]
        for name, layer in (
            (STATE, "encoder_robot_state_input_proj"),
            (OUTSIDE, "encoder_env_state_input_proj"),
        ):
            if name in vectors:
                tokens.append(self._linear(layer, vectors[name].astype(np.float64)))
        at = list(t["encoder_1d_feature_pos_embed.weight"])
        for image in images:
            features = self.features(image)
            _, height, width = features.shape
            for row in range(height):
                for column in range(width):
                    tokens.append(features[:, row, column])
                    at.append(self._sines(row, column, height, width))
        memory, positions = np.stack(tokens), np.stack(at)
        for i in range(self.config["n_encoder_layers"]):
            memory = self._layer(f"encoder.layers.{i}", memory, positions, None, None)
        if self.config["pre_norm"]:
            memory = self._norm("encoder.norm", memory)
        steps = t["decoder_pos_embed.weight"]
        x = np.zeros_like(steps)
        for i in range(self.config["n_decoder_layers"]):
            x = self._layer(f"decoder.layers.{i}", x, steps, memory, positions)
        return self._linear("action_head", self._norm("decoder.norm", x))

    def features(self, image: Tensor) -> F64:
        """Return the features [dim, h, w] of a normalised image [3, height, width]."""
        x = _pool(_relu(self._conv("conv1", "bn1", image.astype(np.float64), 2, 3, 1)))
        name = self.config["vision_backbone"]
        for stage, blocks in enumerate(BLOCKS[name]):
            dilated = stage == 3 and self.config["replace_final_stride_with_dilation"]
            for block in range(blocks):
                stride = 2 if stage and not block and not dilated else 1
                x = self._block(
                    f"layer{stage + 1}.{block}", x, stride, 2 if dilated and block else 1
                )
        weight = self.tensors["encoder_img_feat_input_proj.weight"]
        bias = self.tensors["encoder_img_feat_input_proj.bias"]
        found: F64 = np.einsum("oc,chw->ohw", weight[:, :, 0, 0], x) + bias[:, None, None]
        return found

    def _block(self, name: str, x: F64, stride: int, dilation: int) -> F64:
        def conv(number: int, y: F64, s: int, pad: int, d: int) -> F64:
            return self._conv(f"{name}.conv{number}", f"{name}.bn{number}", y, s, pad, d)

        if f"backbone.{name}.conv3.weight" in self.tensors:
            y = _relu(conv(2, _relu(conv(1, x, 1, 0, 1)), stride, dilation, dilation))
            y = conv(3, y, 1, 0, 1)
        else:
            y = conv(2, _relu(conv(1, x, stride, 1, 1)), 1, 1, 1)
        if f"backbone.{name}.downsample.0.weight" in self.tensors:
            x = self._conv(f"{name}.downsample.0", f"{name}.downsample.1", x, stride, 0, 1)
        return _relu(x + y)

    def _conv(self, conv: str, norm: str, x: F64, stride: int, pad: int, dilation: int) -> F64:
        weight, t = self.tensors[f"backbone.{conv}.weight"], self.tensors
        size = (weight.shape[2] - 1) * dilation + 1
        padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
        windows = windows[:, ::stride, ::stride, ::dilation, ::dilation]
        y = np.tensordot(weight, windows, axes=([1, 2, 3], [0, 3, 4]))
        scale, bias, mean, variance = (
            t[f"backbone.{norm}.{kind}"][:, None, None]
            for kind in ("weight", "bias", "running_mean", "running_var")
        )
        return (y - mean) / np.sqrt(variance + 1e-5) * scale + bias

    def _layer(self, name: str, x: F64, at: F64, memory: F64 | None, memory_at: F64 | None) -> F64:
        before = self.config["pre_norm"]

        def part(norm: str, x: F64, work: Any) -> F64:
            if before:
                y: F64 = x + work(self._norm(f"{name}.{norm}", x))
                return y
            return self._norm(f"{name}.{norm}", x + work(x))

        x = part("norm1", x, lambda y: self._attention(f"{name}.self_attn", y + at, y + at, y))
        last = "norm2"
        if memory is not None and memory_at is not None:
            keys = memory + memory_at
            x = part(
                "norm2",
                x,
                lambda y: self._attention(f"{name}.multihead_attn", y + at, keys, memory),
            )
            last = "norm3"
        return part(
            last,
            x,
            lambda y: self._linear(
                f"{name}.linear2", self._bent(self._linear(f"{name}.linear1", y))
            ),
        )

    def _attention(self, name: str, query: F64, key: F64, value: F64) -> F64:
        dim, heads = self.config["dim_model"], self.config["n_heads"]
        weight, bias = self.tensors[f"{name}.in_proj_weight"], self.tensors[f"{name}.in_proj_bias"]
        q, k, v = (
            x @ weight[i * dim : (i + 1) * dim].T + bias[i * dim : (i + 1) * dim]
            for i, x in enumerate((query, key, value))
        )
        size, joined = dim // heads, []
        for head in range(heads):
            mine = slice(head * size, (head + 1) * size)
            scores = q[:, mine] @ k[:, mine].T / math.sqrt(size)
            share = np.exp(scores - scores.max(axis=1, keepdims=True))
            joined.append(share / share.sum(axis=1, keepdims=True) @ v[:, mine])
        return self._linear(f"{name}.out_proj", np.concatenate(joined, axis=1))

    def _bent(self, x: F64) -> F64:
        kind = self.config["feedforward_activation"]
        if kind == "relu":
            return _relu(x)
        if kind == "gelu":
            return np.asarray(x * 0.5 * (1.0 + np.vectorize(math.erf)(x / math.sqrt(2.0))))
        low, high = np.split(x, 2, axis=-1)
        gated: F64 = low / (1.0 + np.exp(-high))
        return gated

    def _linear(self, name: str, x: F64) -> F64:
        found: F64 = x @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"]
        return found

    def _norm(self, name: str, x: F64) -> F64:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
        found: F64 = scaled * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"]
        return found

    def _sines(self, row: int, column: int, height: int, width: int) -> F64:
        half = self.config["dim_model"] // 2
        found = np.zeros(2 * half)
        for start, number, count in ((0, row, height), (half, column, width)):
            for i in range(half):
                turns = (number + 1) / (count + 1e-6)
                angle = turns * 2 * math.pi / 10_000 ** (2 * (i // 2) / half)
                found[start + i] = math.cos(angle) if i % 2 else math.sin(angle)
        return found


def _relu(x: F64) -> F64:
    return np.maximum(x, 0.0)


def _pool(x: F64) -> F64:
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    return np.asarray(windows[:, ::2, ::2].max(axis=(3, 4)))
