# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The compiler and the simulator with the real toolkit, on models of every kind."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from model_tools.errors import ToolError
from model_tools.ship.compilers.compiler import CompileOrder
from model_tools.ship.compilers.rknn import RknnCompiler
from model_tools.ship.compilers.rknn_toolkit import PRECISIONS
from policy_core.errors import BackendError
from policy_core.interfaces import Tensor
from policy_inference.backends.child import ChildBackend
from policy_inference.backends.rknn_file import read_rknn
from policy_inference.backends.rknn_sim import RknnSimBackend

from . import small_models as models
from .small_models import Sizes

Compile = Callable[..., Path]


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
            inputs=models.specs(inputs),
            outputs=models.specs(outputs),
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
            models.specs(inputs),
            models.specs(outputs),
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


GRU = models.save_gru, models.RECURRENT_IN, models.RECURRENT_OUT
LSTM = models.save_lstm, models.LSTM_IN, models.LSTM_OUT
IMAGE = models.save_image, models.IMAGE_IN, models.IMAGE_OUT
NORMALISED = models.save_normalised, models.NORMALISED_IN, models.NORMALISED_OUT
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
    source = models.save_normalised(tmp_path / "policy.onnx")

    with pytest.raises(ToolError, match=r"expected the same function .* found \d+% of actions"):
        compile_model(source, models.NORMALISED_IN, models.NORMALISED_OUT)
    assert not list((tmp_path / "made").iterdir())


def test_integers_do_not_hide_what_is_not_finite(compile_model: Compile, tmp_path: Path) -> None:
    """The simulator makes some number of it: outputs are finite."""
    source = models.save_elu(tmp_path / "policy.onnx")
    inputs, outputs = models.specs(models.ELU_IN), models.specs(models.ELU_OUT)
    simulated = compile_model(source, models.ELU_IN, models.ELU_OUT, "w8a8")

    with closing(
        ChildBackend(RknnSimBackend, simulated, inputs, outputs, precision="w8a8")
    ) as backend:
        backend.inputs["obs"][0, 2] = np.nan
        with pytest.raises(BackendError, match="rknn_sim: input obs: expected finite values"):
            backend.run()


def test_the_decoder_of_act_is_built(compile_model: Compile, tmp_path: Path) -> None:
    source = models.save_decoder(tmp_path / "policy.onnx")

    simulated = compile_model(source, models.DECODER_IN, models.DECODER_OUT)

    error = largest_error(source, simulated, models.DECODER_IN, models.DECODER_OUT, "fp16")
    assert error < 0.003


@pytest.mark.parametrize(
    ("precision", "target"), [("w4a16", "rk3576"), ("w8a8", "rv1106"), ("fp16", "rk3568")]
)
def test_other_chips_and_their_precisions_are_built(
    compile_model: Compile, tmp_path: Path, precision: str, target: str
) -> None:
    source = models.save_elu(tmp_path / "policy.onnx")

    compile_model(source, models.ELU_IN, models.ELU_OUT, precision, target)

    assert read_rknn(tmp_path / "made" / f"policy.{precision}.rknn").targets == (target,)


def test_hybrid_layers_lose_less(compile_model: Compile, tmp_path: Path) -> None:
    source, sizes = models.save_elu(tmp_path / "policy.onnx"), (models.ELU_IN, models.ELU_OUT)
    errors = [
        largest_error(source, compile_model(source, *sizes, "w8a8", **options), *sizes, "w8a8")
        for options in ({}, {"hybrid": "yes", "hybrid_cosine": "0.99999"})
    ]

    assert errors[1] < errors[0] / 2
