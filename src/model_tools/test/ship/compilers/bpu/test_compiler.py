# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The compiler `bpu`: with the vendor's tool a bundle, without it a workspace and the way on."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model_tools.errors import ToolError
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from testkit.store import tool
from testkit.wording import check_wording, refusal

from ....tiny_bundle import make_bundle, observations

Compile = Callable[..., JointBundle]
Tool = Callable[..., None]
ELSEWHERE = "\0made elsewhere"
COMMAND = ("compile", "bpu", "--precision", "int8", "--target", "nash-e")


def test_result_of_the_vendors_tool_is_the_artifact(
    compile_bpu: Compile, put_on_path: Tool
) -> None:
    put_on_path("hb_compile")

    entry, file = compile_bpu("nash-p", "int16").artifact("bpu")

    assert file.name == "policy.int16.hbm"
    assert file.read_text("utf-8").startswith("\0made by hb_compile")
    assert (entry.precision, entry.target) == ("int16", "nash-p")
    check_wording(entry.tool)
    assert entry.made is not None
    check_wording(entry.made)


@pytest.mark.parametrize("content", [b"version https://git-lfs", b""], ids=["pointer", "nothing"])
def test_what_is_no_compiled_model_is_refused(
    compile_bpu: Compile, begun_work: Path, content: bytes
) -> None:
    (begun_work / "bpu_output" / "policy.hbm").write_bytes(content)

    with refusal(ToolError):
        compile_bpu(compiled=begun_work)


@pytest.mark.parametrize(
    ("target", "precision", "options"),
    [("nash-m", "int8", {}), ("nash-e", "int8", {"calibration": "kl"})],
    ids=["march", "calibration"],
)
def test_workspace_of_another_model_or_order_is_not_taken(
    compile_bpu: Compile, begun_work: Path, target: str, precision: str, options: dict[str, str]
) -> None:
    with refusal(ToolError):
        compile_bpu(target, precision, compiled=begun_work, **options)


def test_workspace_of_other_samples_is_not_taken(
    compile_bpu: Compile, begun_work: Path, few_rows: Path
) -> None:
    (begun_work / "bpu_output" / "policy.hbm").write_text(ELSEWHERE, "utf-8")
    np.savez(few_rows, obs=observations(64, seed=9))

    with refusal(ToolError):
        compile_bpu(compiled=begun_work)


def test_folder_with_files_of_the_user_is_neither_taken_nor_replaced(
    compile_bpu: Compile, begun_work: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for file in (begun_work / "note", other / "thesis.tex"):
        file.touch()
        with refusal(ToolError):
            compile_bpu(workspace=file.parent, force=True)
        assert file.exists()
    with refusal(ToolError):
        compile_bpu(compiled=other)


def test_failures_of_the_tool_are_reported(
    compile_bpu: Compile, put_on_path: Tool, tmp_path: Path
) -> None:
    for script in (
        "echo 'ERROR: node Elu is not supported' >&2; exit 3",
        "mkdir -p model_output; touch model_output/policy.hbm",
    ):
        put_on_path("hb_compile", script)
        with refusal(ToolError):
            compile_bpu()
        assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("nash-e", "optimize_level=O3"),
        ("nash-e", "jobs=0"),
        ("nash-e", "workspace=a compiled=b"),
        ("nash-e", "fast=yes"),
        ("nash-e", ""),
    ],
)
def test_what_the_tools_do_not_have_is_refused(
    compile_bpu: Compile, target: str, options: str
) -> None:
    with refusal(ToolError):
        compile_bpu(target, **dict(one.split("=") for one in options.split()))


def test_command_ends_with_a_status_of_its_own_where_the_rest_is_for_another_machine(
    few_rows: Path, tmp_path: Path
) -> None:
    source, begun_work = make_bundle(tmp_path / "source"), tmp_path / "work"
    command = [*COMMAND, "--bundle", source, "--rows", few_rows, "--output", tmp_path / "made"]

    assert tool(*command) == 4
    assert tool(*command, "--option", f"workspace={begun_work}") == 3
    assert not (tmp_path / "made").exists()
    (begun_work / "bpu_output" / "policy.hbm").write_text(ELSEWHERE, "utf-8")
    assert tool(*command, "--option", f"compiled={begun_work}") == 0
    assert "bpu" in load_bundle(tmp_path / "made", kind=JointBundle).contract.model.artifacts


@pytest.mark.slow
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
