# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Tiny graphs of a chunk policy, an encoder and what answers with a chunk, and their answers."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import NodeProto, helper
from onnx.reference import ReferenceEvaluator

from policy_core.interfaces import F32, F64, Tensor
from policy_inference.testing.models import save

Shape = Sequence[int]
_STRIDE, _CHANNELS = 4, 2


def save_encoder(file: Path, image: Shape) -> None:
    """Save ``Vision_Features`` = a convolution of ``images`` [1, 3, height, width]."""
    save(
        file,
        [_convolution("images", "Vision_Features")],
        {"images": image},
        {"Vision_Features": feature_shape(image)},
        {"kernel": _kernel()},
    )


def save_policy(
    file: Path,
    vectors: Mapping[str, int],
    maps: Mapping[str, Shape],
    chunk: Shape,
    *,
    alike: bool = False,
) -> None:
    """Save ``Actions[t] = (t + 1) / steps x tanh(sum of the inputs @ their weights)``.

    Args:
        file: Where to.
        vectors: Size of the inputs [1, size] by name.
        maps: Shape of the inputs [1, channels, height, width] by name: features as of an encoder
            and images, of which the graph makes features.
        chunk: Steps and actions.
        alike: Whether all maps of a size have the same weights.
    """
    (steps, actions), nodes, flat = chunk, list[NodeProto](), dict(vectors)
    constants: dict[str, Tensor] = {}
    for name, shape in maps.items():
        features = name
        if shape[1] == 3:
            features, constants["kernel"] = f"{name}_features", _kernel()
            nodes.append(_convolution(name, features))
            shape = feature_shape(shape)
        nodes.append(helper.make_node("Flatten", [features], [f"{features}_flat"]))
        flat[f"{features}_flat"] = math.prod(shape)
    constants |= {
        f"{name}_weights": _weights(size, actions, 0 if alike else i)
        for i, (name, size) in enumerate(flat.items())
    }
    constants["shape"] = np.array([1, 1, actions])
    constants["ramp"] = np.arange(1, steps + 1, dtype=np.float32).reshape(1, steps, 1) / steps
    nodes += [
        helper.make_node("MatMul", [name, f"{name}_weights"], [f"{name}_part"]) for name in flat
    ]
    nodes += [
        helper.make_node("Sum", [f"{name}_part" for name in flat], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["end"]),
        helper.make_node("Reshape", ["end", "shape"], ["row"]),
        helper.make_node("Mul", ["row", "ramp"], ["Actions"]),
    ]
    inputs = {**{name: (1, size) for name, size in vectors.items()}, **maps}
    save(file, nodes, inputs, {"Actions": (1, steps, actions)}, constants)


def feature_shape(image: Shape) -> Shape:
    """Return the shape of the features that the encoder computes from an image."""
    return 1, _CHANNELS, image[2] // _STRIDE, image[3] // _STRIDE


def answer(file: Path, inputs: Mapping[str, Tensor]) -> F32:
    """Return the only output of a graph, under onnx's own evaluator."""
    outputs: Any = ReferenceEvaluator(str(file)).run(None, dict(inputs))
    return np.asarray(outputs[0], np.float32)


def _convolution(image: str, features: str) -> NodeProto:
    return helper.make_node("Conv", [image, "kernel"], [features], strides=[_STRIDE, _STRIDE])


def _kernel() -> F32:
    values = np.random.default_rng(1).normal(size=(_CHANNELS, 3, _STRIDE, _STRIDE))
    return (values / _STRIDE).astype(np.float32)


def _weights(size: int, actions: int, seed: int) -> F32:
    values: F64 = np.random.default_rng([seed, size]).normal(size=(size, actions))
    return (values / math.sqrt(2 * size)).astype(np.float32)
