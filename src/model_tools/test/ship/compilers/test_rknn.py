# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the compiler `rknn` refuses and reports, without the toolkit; test/rknn has it for real.

In the toolkit's place is a program that leaves behind what the toolkit would.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest

from model_tools.errors import ToolError
from model_tools.ship.compilers.compile_request import CompileRequest
from model_tools.ship.compilers.compiled_bundle import compile_bundle
from model_tools.ship.compilers.compiler import CompileOrder, Made
from model_tools.ship.compilers.rknn import RknnCompiler
from model_tools.ship.compilers.rknn_toolkit import (
    PRECISIONS,
    TARGETS,
    complaints,
    precisions_of,
)
from policy_inference.backends.rknn_toolkit.python import VARIABLE
from policy_inference.interfaces import TensorSpec

from ...tiny_bundle import make_bundle, observations, save_model, weights

OBS, ACTIONS = TensorSpec(name="obs", shape=(1, 6)), TensorSpec(name="actions", shape=(1, 2))
SAMPLES = {"obs": observations(400)}
Compile = Callable[..., Made]


def rknn_file(kind: str = "int8", target: str = "rk3588", **tensors: list[int]) -> bytes:
    """Return a whole file; tensors are inputs, and outputs from `actions` on."""
    tensors = tensors or {"obs": [1, 6], "actions": [1, 2]}
    sides = ["output" if name in ("actions", "h_out") else "input" for name in tensors]
    text = json.dumps(
        {
            "version": "2.5.0",
            "target_platform": [target],
            "norm_tensor": [
                {"tensor_id": place, "url": name, "size": size, "dtype": {"qnt_type": kind}}
                for place, (name, size) in enumerate(tensors.items())
            ],
            "graph": [
                {"left": side, "left_tensor_id": place, "right_tensor_id": place}
                for place, side in enumerate(sides)
            ],
        }
    ).encode()
    return struct.pack("<4s4xQQ40x", b"RKNN", 6, 4) + bytes(4) + struct.pack("<Q", len(text)) + text


@pytest.fixture
def toolkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a program in the place of the toolkit's Python."""
    program = tmp_path / "python"
    monkeypatch.setenv(VARIABLE, str(program))

    def apply(made: bytes = b"", script: str = "", **result: object) -> None:
        (tmp_path / "made").write_bytes(made or rknn_file())
        (tmp_path / "result").write_text(
            json.dumps(result or {"tool": "rknn-toolkit2 2.5.0", "errors": {"actions": 0.001}})
        )
        program.write_text(
            f"#!/bin/sh\n{script}\ncp {tmp_path}/made $2/made.rknn\n"
            f"cp {tmp_path}/result $2/result.json\n"
        )
        program.chmod(0o755)

    apply()
    return apply


@pytest.fixture
def compile_model(tmp_path: Path, toolkit: Callable[..., None]) -> Compile:
    save_model(tmp_path / "policy.onnx", weights(), 17)
    (tmp_path / "out").mkdir()

    def apply(
        precision: str = "w8a8",
        target: str = "rk3588",
        samples: Mapping[str, np.ndarray] | None = SAMPLES,
        **options: str,
    ) -> Made:
        order = CompileOrder(
            model=tmp_path / "policy.onnx",
            inputs=(OBS,),
            outputs=(ACTIONS,),
            target=target,
            output=tmp_path / "out" / f"policy.{precision}.rknn",
            precision=precision,
            samples=samples if PRECISIONS[precision] else None,
            options=options,
        )
        return RknnCompiler().compile(order)

    return apply


def test_the_file_and_the_one_for_the_simulator_are_made(
    compile_model: Compile, tmp_path: Path
) -> None:
    made = compile_model()

    assert made.tool == "rknn-toolkit2 2.5.0"
    assert made.how == "w8a8 for rk3588 (normal, channel), over 400 rows"
    assert made.beside == {"rknn_sim": tmp_path / "out" / "policy.w8a8.rknn_sim.zip"}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "policy.w8a8.rknn",
        "policy.w8a8.rknn_sim.zip",
    ]


@pytest.mark.parametrize(
    ("precision", "target"),
    [
        ("w8a16", "rk3588"),
        ("w8a16", "rk3576"),
        ("w4a16", "rk3588"),
        ("w4a16", "rk3562"),
        ("fp16", "rv1106"),
        ("fp16", "rv1103b"),
        ("w16a16i_dfp", "rv1106b"),
        ("w8a8", "rk2118"),
    ],
)
def test_a_precision_that_the_chip_lacks_is_refused_with_those_it_has(
    compile_model: Compile, precision: str, target: str
) -> None:
    offered = ", ".join(precisions_of(target))

    with pytest.raises(ToolError) as caught:
        compile_model(precision, target)

    assert str(caught.value) == (
        f"rknn: expected a precision that {target} has ({offered}), found {precision}"
    )


@pytest.fixture
def request_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., CompileRequest]:
    monkeypatch.setattr(
        "model_tools.ship.compilers.compiled_bundle.find_compiler", lambda _: RknnCompiler()
    )
    return partial(
        CompileRequest,
        compiler="rknn",
        bundle=make_bundle(tmp_path / "tiny"),
        rows=None,
        samples=512,
        output=tmp_path / "made",
    )


@pytest.mark.parametrize(
    ("former", "now"),
    [
        ("int8", "w8a8"),
        ("asymmetric_quantized-8", "w8a8"),
        ("dfp-16", "w16a16i_dfp"),
        ("float16", "fp16"),
    ],
)
def test_former_names_of_precisions_are_explained(
    request_of: Callable[..., CompileRequest], former: str, now: str
) -> None:
    with pytest.raises(ToolError, match=f"found '{former}', which is called {now} now"):
        compile_bundle(request_of(precision=former, target="rk3588"))


def test_a_chip_is_named_among_those_there_are(request_of: Callable[..., CompileRequest]) -> None:
    with pytest.raises(ToolError, match=r"a target among .*rk3588.*, found rk3399"):
        compile_bundle(request_of(precision="fp16", target="rk3399"))


def test_every_chip_has_a_precision() -> None:
    assert all(precisions_of(target) for target in TARGETS)


def test_rk3588s_is_compiled_as_rk3588(compile_model: Compile) -> None:
    assert "for rk3588 " in compile_model(target="rk3588s").how


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimization_level": "4"}, "optimization_level: expected one of 0, 1, 2, 3, found '4'"),
        ({"optimization_level": "-1"}, "optimization_level: expected one of 0, 1, 2, 3"),
        (
            {"quantized_algorithm": "best"},
            "quantized_algorithm: expected one of normal, mmse, kl_dive",
        ),
        ({"quantized_algorithm": "gdq"}, "expected another than gdq, which only w8a16 and w4a16"),
        (
            {"quantized_method": "group33"},
            "quantized_method: expected one of channel, layer, group32",
        ),
        ({"hybrid": "maybe"}, "hybrid: expected one of yes, no"),
        ({"hybrid_cosine": "0.9"}, "hybrid_cosine: expected hybrid=yes with it"),
        ({"hybrid": "yes", "hybrid_cosine": "2"}, "a number above 0, up to 1, found '2'"),
        ({"hybrid": "yes", "hybrid_cosine": "nan"}, "a number above 0, up to 1, found 'nan'"),
    ],
)
def test_options_are_checked_before_the_toolkit_runs(
    compile_model: Compile, options: dict[str, str], message: str
) -> None:
    """It takes most of these without a word."""
    with pytest.raises(ToolError, match=message):
        compile_model(**options)


def test_what_belongs_to_calibration_is_refused_for_fp16(compile_model: Compile) -> None:
    with pytest.raises(ToolError, match="quantized_algorithm: expected nothing, since fp16 is not"):
        compile_model("fp16", quantized_algorithm="mmse")


def test_too_few_samples_are_refused(compile_model: Compile) -> None:
    with pytest.raises(ToolError, match="at least 32 rows to calibrate with, found 31"):
        compile_model(samples={"obs": observations(31)})


def test_few_samples_are_warned_of(
    compile_model: Compile, caplog: pytest.LogCaptureFixture
) -> None:
    compile_model(samples={"obs": observations(299)})
    assert "299 rows to calibrate with; from 300 on" in caplog.text

    caplog.clear()
    compile_model(samples={"obs": observations(300)})
    assert not caplog.text


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_refused(compile_model: Compile, value: float) -> None:
    obs = observations(400)
    obs[3, 2] = value

    with pytest.raises(ToolError, match="obs: expected finite samples, found NaN or infinity"):
        compile_model(samples={"obs": obs})


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (rknn_file(target="rk3576"), "a file for rk3588, found one for rk3576"),
        (
            rknn_file(obs=[1, 5], actions=[1, 2]),
            r"the inputs obs \[1, 6\] in the file that .* found "
            r"obs \[1, 5\]",
        ),
        (
            rknn_file(obs=[1, 6], h_out=[1, 2]),
            r"outputs actions \[1, 2\] in .* it drops outputs that",
        ),
        (rknn_file("int16"), "expected tensors in int8, found int16"),
        (rknn_file()[:-5], "a whole .rknn file, found one that is cut off"),
    ],
)
def test_a_file_that_is_not_what_was_asked_for_is_refused(
    compile_model: Compile, toolkit: Callable[..., None], tmp_path: Path, made: bytes, message: str
) -> None:
    toolkit(made)

    with pytest.raises(ToolError, match=message):
        compile_model()
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("precision", "error", "refused"),
    [
        ("fp16", 0.04, False),
        ("fp16", 0.06, True),
        ("w16a16i_dfp", 0.06, True),
        ("w8a8", 0.3, False),
        ("w8a8", 0.8, True),
    ],
)
def test_what_computes_another_function_in_the_simulator_is_refused(
    toolkit: Callable[..., None],
    compile_model: Compile,
    tmp_path: Path,
    precision: str,
    error: float,
    refused: bool,
) -> None:
    kind = {"fp16": "float16", "w8a8": "int8", "w16a16i_dfp": "int16"}[precision]
    toolkit(rknn_file(kind), tool="rknn-toolkit2 2.5.0", errors={"actions": error})
    if not refused:
        compile_model(precision)
        return

    with pytest.raises(ToolError, match=f"the same function .* found {error:.0%} of actions"):
        compile_model(precision)
    assert not list((tmp_path / "out").iterdir())


def test_what_the_simulator_does_not_run_is_made_with_a_warning(
    toolkit: Callable[..., None], compile_model: Compile, caplog: pytest.LogCaptureFixture
) -> None:
    toolkit(tool="rknn-toolkit2 2.5.0", unproven="init_runtime: no simulator for this chip")

    compile_model()

    assert "no simulator for this chip" in caplog.text
    assert "self-test" in caplog.text


@pytest.mark.parametrize(
    ("stage", "text", "message"),
    [
        # SPEC.md, L3: the three classic failures.
        (
            "load_onnx",
            "ValueError: Unsupport onnx opset 20, need <= 19!",
            "an opset up to 19.*export the model with --opset 17",
        ),
        (
            "load_onnx",
            "KeyError: 'x'",
            r"that RKNN Toolkit2 loads.*simplify it \(onnxsim\), or export",
        ),
        ("build", "IndexError: list index", "another precision .* calibrate with more samples"),
        (
            "load_onnx",
            "ValueError: The input shape ['N', 45] of 'obs' is not support!",
            "fixed sizes, batch 1",
        ),
    ],
)
def test_what_the_toolkit_refuses_is_a_sentence(
    compile_model: Compile, toolkit: Callable[..., None], stage: str, text: str, message: str
) -> None:
    toolkit(stage=stage, text=text)

    with pytest.raises(ToolError, match=f"policy.onnx: expected .*{message}"):
        compile_model()


@pytest.mark.parametrize("when", ["", "cp {0}/made $2/made.rknn; cp {0}/result $2/result.json;"])
def test_a_toolkit_that_crashes_is_reported_with_its_last_words(
    compile_model: Compile, toolkit: Callable[..., None], tmp_path: Path, when: str
) -> None:
    """Also behind its work: what it did then is not to be trusted."""
    when = when.format(tmp_path)
    toolkit(script=f"echo 'I building ...'; echo 'a bug' >&2; {when} kill -SEGV $$")

    with pytest.raises(
        ToolError,
        match=r"ended with status -11; .*: try another precision; its "
        r"last words: I building ... \| a bug",
    ):
        compile_model()


def test_a_python_that_lacks_what_the_toolkit_needs_is_reported(
    compile_model: Compile, toolkit: Callable[..., None]
) -> None:
    toolkit(script="echo \"ModuleNotFoundError: No module named 'numpy'\" >&2; exit 1")

    with pytest.raises(ToolError, match=r"status 1; make its environment again with .*'numpy'"):
        compile_model()


def test_a_missing_toolkit_says_how_to_make_it(
    compile_model: Compile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr("sys.prefix", str(tmp_path / ".venv"))

    with pytest.raises(ToolError, match=r"expected the Python that has RKNN Toolkit2.*setup-rknn"):
        compile_model()


def test_complaints_of_the_native_compiler_are_warnings(
    compile_model: Compile, toolkit: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    toolkit(
        script="echo 'E RKNN: [19:23:45.813] Lut fuse dtype not support yet!, dtype: 5'; "
        "echo 'E RKNN: [19:23:45.814] Unkown op target: 0'"
    )

    compile_model()

    assert [record.getMessage() for record in caplog.records] == [
        "rknn: policy.onnx: the toolkit says: Lut fuse dtype not support yet!, dtype: 5; on the "
        "chip such layers may be slow or not run"
    ]


def test_a_complaint_is_reported_once() -> None:
    assert complaints(
        [
            "E RKNN: [1:2.3] slow layer",
            "I RKNN: fine",
            "E RKNN: [1:2.4] slow layer",
            "E RKNN: other",
        ]
    ) == ["slow layer", "other"]


def test_nothing_is_left_beside_the_output(
    compile_model: Compile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    toolkit: Callable[..., None],
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    toolkit(script="touch check0_base_optimize.onnx $TMPDIR/litter")
    monkeypatch.chdir(tmp_path)

    compile_model()

    assert not list(scratch.iterdir())
    assert not (tmp_path / "check0_base_optimize.onnx").exists()


def test_only_inputs_in_float32_are_taken(compile_model: Compile, tmp_path: Path) -> None:
    model = onnx.load(tmp_path / "policy.onnx")
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    onnx.save(model, tmp_path / "policy.onnx")

    with pytest.raises(ToolError, match=r"inputs in float32, found obs int64\[1, 6\]"):
        compile_model()
