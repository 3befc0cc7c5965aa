# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The compiler and the simulator with the real toolkit, on models of every kind."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from model_tools.errors import ToolError
from model_tools.ship.compilers.compiler import CompileOrder
from model_tools.ship.compilers.rknn import RknnCompiler
from model_tools.ship.compilers.rknn_toolkit import PRECISIONS
from policy_core.errors import BackendError
from policy_core.interfaces import Tensor, TensorSpec
from policy_inference.backends.child import ChildBackend
from policy_inference.backends.rknn_file import read_rknn
from policy_inference.backends.rknn_sim import RknnSimBackend
from testkit.wording import refusal

pytestmark = pytest.mark.slow

Compile = Callable[..., Path]
Sizes = Mapping[str, tuple[int, ...]]
RECURRENT_IN: Sizes = {"obs": (1, 6), "h_in": (1, 8)}
RECURRENT_OUT: Sizes = {"actions": (1, 2), "h_out": (1, 8)}
LSTM_IN: Sizes = {**RECURRENT_IN, "c_in": (1, 8)}
LSTM_OUT: Sizes = {**RECURRENT_OUT, "c_out": (1, 8)}
DECODER_IN: Sizes = {"memory": (1, 10, 8)}
DECODER_OUT: Sizes = {"actions": (1, 4, 8)}
IMAGE_IN: Sizes = {"state": (1, 5), "image": (1, 3, 16, 24)}
IMAGE_OUT: Sizes = {"actions": (1, 4)}
ELU_IN: Sizes = {"obs": (1, 45)}
ELU_OUT: Sizes = {"actions": (1, 12)}
NORMALISED_IN: Sizes = {"obs": (1, 12)}
NORMALISED_OUT: Sizes = {"actions": (1, 3)}


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


def save_elu(file: Path, opset: int = 17) -> Path:
    """Save two layers with ELU between them."""
    nodes = [
        helper.make_node("Gemm", ["obs", "w0"], ["h"]),
        helper.make_node("Elu", ["h"], ["e"]),
        helper.make_node("Gemm", ["e", "w1"], ["actions"]),
    ]
    return save(file, nodes, ELU_IN, ELU_OUT, {"w0": (45, 64), "w1": (64, 12)}, opset)


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


def rows(sizes: Sizes, count: int, seed: int = 0) -> dict[str, Tensor]:
    random = np.random.default_rng(seed)
    # As states of recurrent layers are: the toolkit gives a state the range of what it becomes.
    return {
        name: random.uniform(-0.5, 0.5, (count, *shape[1:])).astype(np.float32)
        for name, shape in sizes.items()
    }


@pytest.fixture
def compile_model(tmp_path: Path) -> Compile:
    (tmp_path / "made").mkdir()

    def apply(
        source: Path,
        inputs: Sizes,
        outputs: Sizes,
        precision: str = "fp16",
        target: str = "rk3588",
        **options: str,
    ) -> Path:
        order = CompileOrder(
            model=source,
            inputs=specs(inputs),
            outputs=specs(outputs),
            output=tmp_path / "made" / f"policy.{precision}.rknn",
            precision=precision,
            target=target,
            samples=rows(inputs, 300) if PRECISIONS[precision] else None,
            options=options,
        )
        return RknnCompiler().compile(order).beside["rknn_sim"]

    return apply


def largest_error(
    source: Path, simulated: Path, inputs: Sizes, outputs: Sizes, precision: str
) -> float:
    """Return the largest difference from ONNX Runtime, relative to the largest output."""
    session, worst, largest = onnxruntime.InferenceSession(str(source)), 0.0, 0.0
    fed = rows(inputs, 20, seed=1)
    with closing(
        ChildBackend(
            RknnSimBackend,
            simulated,
            specs(inputs),
            specs(outputs),
            precision=precision,
        )
    ) as backend:
        for row in range(20):
            for name, values in fed.items():
                backend.inputs[name][0] = values[row]
            backend.run()
            expected = session.run(
                list(outputs), {n: values[row : row + 1] for n, values in fed.items()}
            )
            for name, array in zip(outputs, expected, strict=True):
                worst = max(worst, float(np.abs(array - backend.outputs[name]).max()))
                largest = max(largest, float(np.abs(array).max()))
    return worst / largest


GRU = save_gru, RECURRENT_IN, RECURRENT_OUT
LSTM = save_lstm, LSTM_IN, LSTM_OUT
IMAGE = save_image, IMAGE_IN, IMAGE_OUT
NORMALISED = save_normalised, NORMALISED_IN, NORMALISED_OUT
TOLERANCES = {"fp16": 0.003, "w8a8": 0.2, "w16a16i_dfp": 0.01}


@pytest.mark.parametrize(
    ("model", "precision"),
    [
        (GRU, "fp16"),
        (GRU, "w8a8"),
        (GRU, "w16a16i_dfp"),
        (LSTM, "fp16"),
        (LSTM, "w8a8"),
        (LSTM, "w16a16i_dfp"),
        (IMAGE, "fp16"),
        (IMAGE, "w8a8"),
        (NORMALISED, "fp16"),
        (NORMALISED, "w8a8"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0].__name__,
)
def test_a_compiled_model_is_nearly_the_same_function(
    compile_model: Compile,
    tmp_path: Path,
    model: tuple[Callable[[Path], Path], Sizes, Sizes],
    precision: str,
) -> None:
    save, inputs, outputs = model
    source = save(tmp_path / "policy.onnx")

    simulated = compile_model(source, inputs, outputs, precision)

    error = largest_error(source, simulated, inputs, outputs, precision)
    assert error < TOLERANCES[precision]


def test_a_model_that_the_toolkit_compiles_wrongly_is_refused(
    compile_model: Compile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights as the toolkit does not take them, which `prepare` would have stored otherwise."""

    def as_it_is(source: Path, target: Path, shapes: object) -> None:
        shutil.copyfile(source, target)

    monkeypatch.setattr("model_tools.ship.compilers.rknn.prepare", as_it_is)
    source = save_normalised(tmp_path / "policy.onnx")

    with refusal(ToolError):
        compile_model(source, NORMALISED_IN, NORMALISED_OUT)
    assert not list((tmp_path / "made").iterdir())


def test_integers_do_not_hide_what_is_not_finite(compile_model: Compile, tmp_path: Path) -> None:
    """The simulator makes some number of it: outputs are finite."""
    source = save_elu(tmp_path / "policy.onnx")
    inputs, outputs = specs(ELU_IN), specs(ELU_OUT)
    simulated = compile_model(source, ELU_IN, ELU_OUT, "w8a8")

    with closing(
        ChildBackend(RknnSimBackend, simulated, inputs, outputs, precision="w8a8")
    ) as backend:
        backend.inputs["obs"][0, 2] = np.nan
        with refusal(BackendError):
            backend.run()


def test_the_decoder_of_act_is_built(compile_model: Compile, tmp_path: Path) -> None:
    source = save_decoder(tmp_path / "policy.onnx")

    simulated = compile_model(source, DECODER_IN, DECODER_OUT)

    error = largest_error(source, simulated, DECODER_IN, DECODER_OUT, "fp16")
    assert error < 0.003


@pytest.mark.parametrize(
    ("precision", "target"), [("w4a16", "rk3576"), ("w8a8", "rv1106"), ("fp16", "rk3568")]
)
def test_other_chips_and_their_precisions_are_built(
    compile_model: Compile, tmp_path: Path, precision: str, target: str
) -> None:
    source = save_elu(tmp_path / "policy.onnx")

    compile_model(source, ELU_IN, ELU_OUT, precision, target)

    assert read_rknn(tmp_path / "made" / f"policy.{precision}.rknn").targets == (target,)


def test_hybrid_layers_lose_less(compile_model: Compile, tmp_path: Path) -> None:
    source, sizes = save_elu(tmp_path / "policy.onnx"), (ELU_IN, ELU_OUT)
    errors = [
        largest_error(source, compile_model(source, *sizes, "w8a8", **options), *sizes, "w8a8")
        for options in ({}, {"hybrid": "yes", "hybrid_cosine": "0.99999"})
    ]

    assert errors[1] < errors[0] / 2
