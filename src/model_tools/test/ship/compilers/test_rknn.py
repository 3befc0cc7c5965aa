# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the compiler `rknn` refuses and reports, without the toolkit; test/rknn has it for real.

In the toolkit's place is a program that leaves behind what the toolkit would.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from model_tools.errors import ToolError
from model_tools.ship.compilers.compiler import CompileOrder, Made
from model_tools.ship.compilers.rknn import RknnCompiler
from model_tools.ship.compilers.rknn_toolkit import PRECISIONS, list_precisions
from policy_core.interfaces import TensorSpec
from policy_inference.backends.rknn_toolkit.python import VARIABLE
from testkit.wording import check_wording, refusal

from ...prove.inspect.small_kinds import rknn_content
from ...tiny_bundle import observations, save_model, weights

OBS, ACTIONS = TensorSpec(name="obs", shape=(1, 6)), TensorSpec(name="actions", shape=(1, 2))
SAMPLES = {"obs": observations(400)}
Compile = Callable[..., Made]


@pytest.fixture
def toolkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a program in the place of the toolkit's Python."""
    program = tmp_path / "python"
    monkeypatch.setenv(VARIABLE, str(program))

    def apply(made: bytes = b"", script: str = "", **result: object) -> None:
        (tmp_path / "made").write_bytes(made or rknn_content())
        (tmp_path / "result").write_text(
            json.dumps(result or {"tool": "rknn-toolkit2 2.5.0", "errors": {"actions": 0.001}})
        )
        program.write_text(
            f"#!/bin/sh\n{script}\ncp {tmp_path}/made made.rknn\ncp {tmp_path}/result result.json\n"
        )
        program.chmod(0o755)

    apply()
    return apply


@pytest.fixture
def compile_rknn(tmp_path: Path, toolkit: Callable[..., None]) -> Compile:
    save_model(tmp_path / "policy.onnx", weights())
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
    compile_rknn: Compile, tmp_path: Path
) -> None:
    made = compile_rknn()

    assert made.tool == "rknn-toolkit2 2.5.0"
    check_wording(made.how)
    assert made.beside == {"rknn_sim": tmp_path / "out" / "policy.w8a8.rknn_sim.zip"}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "policy.w8a8.rknn",
        "policy.w8a8.rknn_sim.zip",
    ]


@pytest.mark.parametrize(("precision", "target"), [("w8a16", "rk3588"), ("fp16", "rv1103b")])
def test_a_precision_that_the_chip_lacks_is_refused_with_those_it_has(
    compile_rknn: Compile, precision: str, target: str
) -> None:
    assert precision not in list_precisions(target)

    with refusal(ToolError):
        compile_rknn(precision, target)


@pytest.mark.parametrize(
    "options",
    [
        "optimization_level=4",
        "quantized_algorithm=gdq",
        "hybrid_cosine=0.9",
        "hybrid=yes hybrid_cosine=nan",
    ],
)
def test_options_are_checked_before_the_toolkit_runs(compile_rknn: Compile, options: str) -> None:
    """It takes most of these without a word."""
    with refusal(ToolError):
        compile_rknn(**dict(one.split("=") for one in options.split()))


MADE = {
    "another chip": rknn_content(target="rk3576"),
    "another output": rknn_content(obs=[1, 6], h_out=[1, 2]),
    "int16": rknn_content("int16"),
    "cut off": rknn_content()[:-5],
}


def test_few_samples_are_warned_of(compile_rknn: Compile, caplog: pytest.LogCaptureFixture) -> None:
    compile_rknn(samples={"obs": observations(299)})
    check_wording(*caplog.messages)
    caplog.clear()
    compile_rknn(samples={"obs": observations(300)})
    assert not caplog.text


@pytest.mark.parametrize("kind", MADE)
def test_a_file_that_is_not_what_was_asked_for_is_refused(
    compile_rknn: Compile, toolkit: Callable[..., None], tmp_path: Path, kind: str
) -> None:
    toolkit(MADE[kind])

    with refusal(ToolError):
        compile_rknn()
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("precision", "error", "refused"),
    [("fp16", 0.04, False), ("w16a16i_dfp", 0.06, True), ("w8a8", 0.3, False), ("w8a8", 0.8, True)],
)
def test_what_computes_another_function_in_the_simulator_is_refused(
    toolkit: Callable[..., None],
    compile_rknn: Compile,
    tmp_path: Path,
    precision: str,
    error: float,
    refused: bool,
) -> None:
    kind = {"fp16": "float16", "w8a8": "int8", "w16a16i_dfp": "int16"}[precision]
    toolkit(rknn_content(kind), tool="rknn-toolkit2 2.5.0", errors={"actions": error})
    if not refused:
        compile_rknn(precision)
        return

    with refusal(ToolError):
        compile_rknn(precision)
    assert not list((tmp_path / "out").iterdir())


def test_what_the_toolkit_refuses_is_a_sentence(
    compile_rknn: Compile, toolkit: Callable[..., None]
) -> None:
    toolkit(stage="load_onnx", text="ValueError: Unsupport onnx opset 20, need <= 19!")

    with refusal(ToolError):
        compile_rknn()


def test_a_toolkit_that_crashes_is_reported_with_its_last_words(
    compile_rknn: Compile, toolkit: Callable[..., None], tmp_path: Path
) -> None:
    """Also behind its work: what it did then is not to be trusted."""
    done = f"cp {tmp_path}/made made.rknn; cp {tmp_path}/result result.json;"
    toolkit(script=f"echo 'I building ...'; echo 'a bug' >&2; {done} kill -SEGV $$")

    with refusal(ToolError):
        compile_rknn()


def test_a_toolkit_that_is_missing_or_lacks_something_says_how_to_make_it(
    compile_rknn: Compile,
    toolkit: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    toolkit(script="echo \"ModuleNotFoundError: No module named 'numpy'\" >&2; exit 1")
    with refusal(ToolError):
        compile_rknn()
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr("sys.prefix", str(tmp_path / ".venv"))
    with refusal(ToolError):
        compile_rknn()


def test_complaints_of_the_native_compiler_are_warnings(
    compile_rknn: Compile, toolkit: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    toolkit(
        script="echo 'E RKNN: [19:23:45.813] Lut fuse dtype not support yet!, dtype: 5'; "
        "echo 'E RKNN: [19:23:45.814] Unkown op target: 0'; "
        "echo 'E RKNN: [19:23:45.815] Unkown op target: 0'"
    )

    compile_rknn()

    check_wording(*caplog.messages)
