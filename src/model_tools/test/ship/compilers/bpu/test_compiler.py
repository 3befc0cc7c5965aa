# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The compiler `bpu`: with the vendor's tool a bundle, without it a workspace and the way on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model_tools.errors import ToolError, UnfinishedError
from model_tools.ship.compilers.compile_request import CompileRequest
from model_tools.ship.compilers.compiled_bundle import compile_bundle
from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.load import load_bundle
from testkit.wording import check_wording, refusal

from ....tiny_bundle import make_bundle, observations
from ...stores import tool

Compile = Callable[..., JointBundle]
Tool = Callable[..., None]
ELSEWHERE = "\0made elsewhere"
COMMAND = ("compile", "bpu", "--precision", "int8", "--target", "nash-e")


@pytest.mark.parametrize(
    ("target", "tool", "suffix"),
    [
        ("nash-e", "hb_compile", ".hbm"),
        ("nash-p", "hb_compile", ".hbm"),
        ("bayes-e", "hb_mapper", ".bin"),
        ("bayes", "hb_mapper", ".bin"),
    ],
)
def test_result_of_the_vendors_tool_is_the_artifact(
    compile_bpu: Compile, put_on_path: Tool, target: str, tool: str, suffix: str
) -> None:
    put_on_path(tool)

    entry, file = compile_bpu(target, "int16").artifact("bpu")

    assert file.name == f"policy.int16{suffix}"
    assert file.read_text("utf-8").startswith(f"\0made by {tool}")
    assert (entry.precision, entry.target) == ("int16", target)
    check_wording(entry.tool)
    assert entry.made is not None
    check_wording(entry.made)


def test_nothing_stays_behind_without_a_folder_for_it(
    compile_bpu: Compile, put_on_path: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on_path("hb_compile")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))

    bundle = compile_bpu()

    assert not list(scratch.iterdir())
    assert sorted(file.name for file in bundle.path.iterdir()) == [
        "golden.npz",
        "policy.int8.hbm",
        "policy.onnx",
        "policy.yaml",
    ]


def test_workspace_stays_where_the_user_wants_it(
    compile_bpu: Compile, put_on_path: Tool, tmp_path: Path
) -> None:
    put_on_path("hb_compile")
    folder = tmp_path / "work"

    compile_bpu(workspace=folder)

    assert (folder / "policy" / "hb_compile.log").exists()
    assert (folder / "bpu_output" / "policy.hbm").exists()


def test_without_the_tool_the_workspace_is_there_and_no_bundle(
    compile_bpu: Compile, tmp_path: Path
) -> None:
    folder = tmp_path / "work"

    with refusal(UnfinishedError):
        compile_bpu("bayes-e", workspace=folder)

    assert (folder / "build_all.sh").exists()
    assert not (tmp_path / "made").exists()


def test_container_is_the_one_that_the_user_names(compile_bpu: Compile, tmp_path: Path) -> None:
    with refusal(UnfinishedError):
        compile_bpu(workspace=tmp_path / "work", image="mine:v2")


def test_what_was_compiled_elsewhere_is_taken(compile_bpu: Compile, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    with pytest.raises(UnfinishedError):
        compile_bpu("bayes-e", workspace=folder)
    (folder / "bpu_output" / "policy.bin").write_text(ELSEWHERE, "utf-8")

    entry, file = compile_bpu("bayes-e", compiled=folder).artifact("bpu")

    assert (file.name, file.read_text("utf-8")) == ("policy.int8.bin", ELSEWHERE)
    check_wording(entry.tool)


def _with_result(compile_bpu: Compile, tmp_path: Path, content: bytes | None) -> Path:
    """Make a workspace; return it with this content, else the ONNX model, as what the tool made."""
    folder = tmp_path / "work"
    with pytest.raises(UnfinishedError):
        compile_bpu(workspace=folder)
    model = (tmp_path / "tiny" / "policy.onnx").read_bytes()
    (folder / "bpu_output" / "policy.hbm").write_bytes(content or model)
    return folder


@pytest.mark.parametrize(
    "content",
    [b"version https://git-lfs", np.random.default_rng(0).bytes(5000), None],
    ids=["pointer", "random", "reference"],
)
def test_what_is_no_compiled_model_is_refused(
    compile_bpu: Compile, tmp_path: Path, content: bytes | None
) -> None:
    folder = _with_result(compile_bpu, tmp_path, content)

    with refusal(ToolError):
        compile_bpu(compiled=folder)


def test_random_weights_behind_the_names_of_the_tensors_are_a_model(
    compile_bpu: Compile, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = np.random.default_rng(0).bytes(5000)

    compile_bpu(compiled=_with_result(compile_bpu, tmp_path, weights + b"obs actions"))

    assert not caplog.messages


def test_model_without_the_names_of_its_tensors_is_doubted(
    compile_bpu: Compile, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    compile_bpu(compiled=_with_result(compile_bpu, tmp_path, ELSEWHERE.encode()))

    check_wording(*caplog.messages)


def test_what_was_not_compiled_yet_is_not_taken(compile_bpu: Compile, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    with pytest.raises(UnfinishedError):
        compile_bpu(workspace=folder)

    with refusal(ToolError):
        compile_bpu(compiled=folder)


@pytest.mark.parametrize(
    ("target", "precision", "options"),
    [("nash-m", "int8", {}), ("nash-e", "int16", {}), ("nash-e", "int8", {"calibration": "kl"})],
    ids=["march", "precision", "calibration"],
)
def test_workspace_of_another_model_or_order_is_not_taken(
    compile_bpu: Compile, tmp_path: Path, target: str, precision: str, options: dict[str, str]
) -> None:
    folder = tmp_path / "work"
    with pytest.raises(UnfinishedError):
        compile_bpu(workspace=folder)

    with refusal(ToolError):
        compile_bpu(target, precision, compiled=folder, **options)


def test_workspace_of_other_samples_is_not_taken(
    compile_bpu: Compile, tmp_path: Path, few_rows: Path
) -> None:
    folder = tmp_path / "work"
    with pytest.raises(UnfinishedError):
        compile_bpu(workspace=folder)
    (folder / "bpu_output" / "policy.hbm").write_text(ELSEWHERE, "utf-8")
    np.savez(few_rows, obs=observations(64, seed=9))

    with refusal(ToolError):
        compile_bpu(compiled=folder)


def test_workspace_that_more_processes_compiled_is_taken(
    compile_bpu: Compile, tmp_path: Path
) -> None:
    folder = tmp_path / "work"
    with pytest.raises(UnfinishedError):
        compile_bpu(workspace=folder, jobs=6)
    (folder / "bpu_output" / "policy.hbm").write_bytes(b"\0compiled elsewhere")

    compile_bpu(compiled=folder)


def test_folder_that_is_no_workspace_is_not_taken(compile_bpu: Compile, tmp_path: Path) -> None:
    with refusal(ToolError):
        compile_bpu(compiled=tmp_path)


def test_workspace_that_is_there_is_replaced_only_by_force(
    compile_bpu: Compile, tmp_path: Path
) -> None:
    folder = tmp_path / "work"
    with pytest.raises(UnfinishedError):
        compile_bpu(workspace=folder)
    (folder / "policy/model_output").mkdir()
    (folder / "policy/model_output/compiler.log").touch()

    with refusal(ToolError):
        compile_bpu(workspace=folder)
    assert (folder / "policy/model_output/compiler.log").exists()
    with pytest.raises(UnfinishedError):
        compile_bpu(workspace=folder, force=True)
    assert not (folder / "policy/model_output").exists()


def test_workspace_with_a_file_of_the_user_is_not_replaced_even_by_force(
    compile_bpu: Compile, tmp_path: Path
) -> None:
    folder = tmp_path / "work"
    with pytest.raises(UnfinishedError):
        compile_bpu(workspace=folder)
    (folder / "note").touch()

    with refusal(ToolError):
        compile_bpu(workspace=folder, force=True)
    assert (folder / "note").exists()


def test_folder_of_another_kind_is_not_replaced_even_by_force(
    compile_bpu: Compile, tmp_path: Path
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "thesis.tex").touch()

    with refusal(ToolError):
        compile_bpu(workspace=folder, force=True)
    assert (folder / "thesis.tex").exists()


def test_without_tool_and_folder_both_are_named(compile_bpu: Compile) -> None:
    with refusal(ToolError):
        compile_bpu()


def test_failure_of_the_tool_is_reported_with_its_last_words(
    compile_bpu: Compile, put_on_path: Tool, tmp_path: Path
) -> None:
    put_on_path("hb_compile", "echo 'ERROR: node Elu is not supported' >&2; exit 3")

    with refusal(ToolError):
        compile_bpu()
    assert not (tmp_path / "made").exists()


def test_tool_that_makes_nothing_is_reported(compile_bpu: Compile, put_on_path: Tool) -> None:
    put_on_path("hb_compile", "mkdir -p model_output; touch model_output/policy.hbm")

    with refusal(ToolError):
        compile_bpu()


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("nash-e", "optimize_level=O3"),
        ("bayes-e", "optimize_level=3"),
        ("nash-e", "calibration=skip"),
        ("nash-e", "jobs=0"),
        ("nash-e", "workspace=a compiled=b"),
        ("nash-e", "fast=yes"),
        ("bernoulli2", ""),
    ],
)
def test_what_the_tools_do_not_have_is_refused(
    compile_bpu: Compile, target: str, options: str
) -> None:
    with refusal(ToolError):
        compile_bpu(target, **dict(one.split("=") for one in options.split()))


def test_fp16_is_refused_because_the_tools_do_not_have_it(compile_bpu: Compile) -> None:
    with refusal(ToolError):
        compile_bpu(precision="fp16")


def test_recurrent_states_are_calibrated_too(
    few_rows: Path, put_on_path: Tool, tmp_path: Path
) -> None:
    put_on_path("hb_mapper")
    source = make_bundle(tmp_path / "recurrent", recurrent=True)

    request = CompileRequest(
        compiler="bpu",
        bundle=source,
        precision="int8",
        target="bayes-e",
        rows=few_rows,
        samples=512,
        output=tmp_path / "made",
        options={"workspace": str(tmp_path / "work")},
    )
    bundle = load_bundle(compile_bundle(request), kind=JointBundle)

    folders = sorted(folder.name for folder in (tmp_path / "work/policy/calibration").iterdir())
    assert folders == ["0_obs", "1_h_in"]
    assert "bpu" in bundle.contract.model.artifacts


def test_command_ends_with_a_status_of_its_own_where_the_rest_is_for_another_machine(
    few_rows: Path, tmp_path: Path
) -> None:
    source, work = make_bundle(tmp_path / "source"), tmp_path / "work"
    command = [*COMMAND, "--bundle", source, "--rows", few_rows, "--output", tmp_path / "made"]

    assert tool(*command) == 4
    assert tool(*command, "--option", f"workspace={work}") == 3
    assert not (tmp_path / "made").exists()
    (work / "bpu_output" / "policy.hbm").write_text(ELSEWHERE, "utf-8")
    assert tool(*command, "--option", f"compiled={work}") == 0
    assert "bpu" in load_bundle(tmp_path / "made", kind=JointBundle).contract.model.artifacts


def test_interrupted_command_ends_the_tool_and_leaves_nothing(
    few_rows: Path, put_on_path: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo, source = tmp_path / "fifo", make_bundle(tmp_path / "source")
    os.mkfifo(fifo)
    put_on_path(
        "hb_compile",
        f'[ "$1" = --version ] || {{ exec 3> "{fifo}"; echo works >&3; exec sleep 600; }}',
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    given = ("--bundle", source, "--rows", few_rows, "--output", tmp_path / "made")
    command = subprocess.Popen([sys.executable, "-m", "model_tools", *COMMAND, *given])

    with fifo.open() as tool:
        assert tool.readline() == "works\n"
        command.terminate()
        assert tool.read() == ""  # no process holds the other end any more

    assert command.wait(30) == 143
    assert not (tmp_path / "made").exists()
