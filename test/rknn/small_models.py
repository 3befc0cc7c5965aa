# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Tiny ONNX models of the kinds that policies are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from policy_core.interfaces import TensorSpec

Sizes = Mapping[str, tuple[int, ...]]


def specs(sizes: Sizes) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name=name, shape=shape) for name, shape in sizes.items())


def save(
    file: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sizes,
    outputs: Sizes,
    weights: Sizes,
    opset: int = 17,
) -> Path:
    """Save a graph with random weights of these sizes."""

    def values(sizes: Sizes) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in sizes.items()
        ]

    random = np.random.default_rng(0)
    constants = [
        numpy_helper.from_array(random.normal(0.0, 0.3, size=shape).astype(np.float32), name)
        for name, shape in weights.items()
    ]
    shapes = [
        numpy_helper.from_array(np.array(shape, np.int64), f"to_{'x'.join(map(str, shape))}")
        for shape in ((1, 1, 8), (1, 8))
    ]
    graph = helper.make_graph(
        nodes, "small", values(inputs), values(outputs), [*constants, *shapes]
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8),
        str(file),
    )
    return file


RECURRENT_IN: Sizes = {"obs": (1, 6), "h_in": (1, 8)}
RECURRENT_OUT: Sizes = {"actions": (1, 2), "h_out": (1, 8)}


def save_gru(file: Path) -> Path:
    """Save a GRU of 8 units with its state as tensors, and a layer after it."""
    nodes = [
        helper.make_node("Gemm", ["obs", "w0"], ["hidden"]),
        helper.make_node("Reshape", ["hidden", "to_1x1x8"], ["step"]),
        helper.make_node("Reshape", ["h_in", "to_1x1x8"], ["h0"]),
        helper.make_node(
            "GRU",
            ["step", "w", "r", "b", "", "h0"],
            ["y", "h1"],
            hidden_size=8,
            linear_before_reset=1,
        ),
        helper.make_node("Reshape", ["h1", "to_1x8"], ["h_out"]),
        helper.make_node("Reshape", ["y", "to_1x8"], ["last"]),
        helper.make_node("Gemm", ["last", "w1"], ["actions"]),
    ]
    return save(
        file,
        nodes,
        RECURRENT_IN,
        RECURRENT_OUT,
        {"w0": (6, 8), "w": (1, 24, 8), "r": (1, 24, 8), "b": (1, 48), "w1": (8, 2)},
    )


LSTM_IN: Sizes = {**RECURRENT_IN, "c_in": (1, 8)}
LSTM_OUT: Sizes = {**RECURRENT_OUT, "c_out": (1, 8)}


def save_lstm(file: Path) -> Path:
    """Save an LSTM of 8 units with its states as tensors, and a layer after it."""
    nodes = [
        helper.make_node("Gemm", ["obs", "w0"], ["hidden"]),
        helper.make_node("Reshape", ["hidden", "to_1x1x8"], ["step"]),
        helper.make_node("Reshape", ["h_in", "to_1x1x8"], ["h0"]),
        helper.make_node("Reshape", ["c_in", "to_1x1x8"], ["c0"]),
        helper.make_node(
            "LSTM", ["step", "w", "r", "b", "", "h0", "c0"], ["", "h1", "c1"], hidden_size=8
        ),
        helper.make_node("Reshape", ["h1", "to_1x8"], ["h_out"]),
        helper.make_node("Reshape", ["c1", "to_1x8"], ["c_out"]),
        helper.make_node("Gemm", ["h_out", "w1"], ["actions"]),
    ]
    return save(
        file,
        nodes,
        LSTM_IN,
        LSTM_OUT,
        {"w0": (6, 8), "w": (1, 32, 8), "r": (1, 32, 8), "b": (1, 64), "w1": (8, 2)},
    )


DECODER_IN: Sizes = {"memory": (1, 10, 8)}
DECODER_OUT: Sizes = {"actions": (1, 4, 8)}


def save_decoder(file: Path) -> Path:
    """Save attention of constant queries on a memory, as in the decoder of ACT."""
    nodes = [
        helper.make_node("MatMul", ["memory", "wk"], ["k"]),
        helper.make_node("MatMul", ["memory", "wv"], ["v"]),
        helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["queries", "kt"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["shares"], axis=-1),
        helper.make_node("MatMul", ["shares", "v"], ["actions"]),
    ]
    return save(
        file, nodes, DECODER_IN, DECODER_OUT, {"queries": (1, 4, 8), "wk": (8, 8), "wv": (8, 8)}
    )


IMAGE_IN: Sizes = {"state": (1, 5), "image": (1, 3, 16, 24)}
IMAGE_OUT: Sizes = {"actions": (1, 4)}


def save_image(file: Path) -> Path:
    """Save a network of a state and an image."""
    nodes = [
        helper.make_node("Conv", ["image", "k"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["cr"]),
        helper.make_node("GlobalAveragePool", ["cr"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Concat", ["f", "state"], ["x"], axis=1),
        helper.make_node("Gemm", ["x", "w"], ["actions"]),
    ]
    return save(file, nodes, IMAGE_IN, IMAGE_OUT, {"k": (8, 3, 3, 3), "w": (13, 4)})


ELU_IN: Sizes = {"obs": (1, 45)}
ELU_OUT: Sizes = {"actions": (1, 12)}


def save_elu(file: Path, opset: int = 17) -> Path:
    """Save two layers with ELU between them."""
    nodes = [
        helper.make_node("Gemm", ["obs", "w0"], ["h"]),
        helper.make_node("Elu", ["h"], ["e"]),
        helper.make_node("Gemm", ["e", "w1"], ["actions"]),
    ]
    return save(file, nodes, ELU_IN, ELU_OUT, {"w0": (45, 64), "w1": (64, 12)}, opset)


NORMALISED_IN: Sizes = {"obs": (1, 12)}
NORMALISED_OUT: Sizes = {"actions": (1, 3)}


def save_normalised(file: Path) -> Path:
    """Save a normaliser's Sub and Mul, and two layers; the first is square, stored by input."""
    nodes = [
        helper.make_node("Sub", ["obs", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "factor"], ["normalised"]),
        helper.make_node("Gemm", ["normalised", "w0", "b0"], ["hidden"]),
        helper.make_node("Elu", ["hidden"], ["active"]),
        helper.make_node("Gemm", ["active", "w1", "b1"], ["actions"]),
    ]
    return save(
        file,
        nodes,
        NORMALISED_IN,
        NORMALISED_OUT,
        {"mean": (12,), "factor": (12,), "w0": (12, 12), "b0": (12,), "w1": (12, 3), "b1": (3,)},
    )
