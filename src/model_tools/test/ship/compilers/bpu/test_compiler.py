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

from model_tools import cli
from model_tools.errors import ToolError, UnfinishedError
from model_tools.ship.compilers.compile_request import CompileRequest
from model_tools.ship.compilers.compiled_bundle import compile_bundle
from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.load import load_bundle

from ....tiny_bundle import make_bundle, observations

Compile = Callable[..., JointBundle]
Tool = Callable[..., None]
ELSEWHERE = "\0made elsewhere"


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
    compiled: Compile, put_on_path: Tool, target: str, tool: str, suffix: str
) -> None:
    put_on_path(tool)

    entry, file = compiled(target, "int16").artifact("bpu")

    assert file.name == f"policy.int16{suffix}"
    assert file.read_text("utf-8").startswith(f"\0made by {tool}")
    assert (entry.precision, entry.target) == ("int16", target)
    assert entry.tool == f"{tool}, version 1.2.3"
    assert entry.made is not None
    assert "every node int16" in entry.made
    assert "over 32 rows of rollout.npz" in entry.made


def test_nothing_stays_behind_without_a_folder_for_it(
    compiled: Compile, put_on_path: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on_path("hb_compile")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))

    bundle = compiled()

    assert not list(scratch.iterdir())
    assert sorted(file.name for file in bundle.path.iterdir()) == [
        "golden.npz",
        "policy.int8.hbm",
        "policy.onnx",
        "policy.yaml",
    ]


def test_workspace_stays_where_the_user_wants_it(
    compiled: Compile, put_on_path: Tool, tmp_path: Path
) -> None:
    put_on_path("hb_compile")
    folder = tmp_path / "work"

    compiled(workspace=folder)

    assert (folder / "policy" / "hb_compile.log").exists()
    assert (folder / "bpu_output" / "policy.hbm").exists()


def test_without_the_tool_the_workspace_is_there_and_no_bundle(
    compiled: Compile, tmp_path: Path
) -> None:
    folder = tmp_path / "work"

    with pytest.raises(UnfinishedError) as caught:
        compiled("bayes-e", workspace=folder)

    assert (folder / "build_all.sh").exists()
    assert not (tmp_path / "made").exists()
    message = str(caught.value)
    assert "hb_mapper is not on this machine, so no bundle was made" in message
    assert f"docker run --rm --shm-size=15g -v {folder}:/workspace" in message
    assert "ubuntu_20_x5_cpu" in message
    assert f"--option compiled={folder}" in message


def test_container_is_the_one_that_the_user_names(compiled: Compile, tmp_path: Path) -> None:
    with pytest.raises(UnfinishedError, match="-w /workspace mine:v2 bash"):
        compiled(workspace=tmp_path / "work", image="mine:v2")


def test_what_was_compiled_elsewhere_is_taken(compiled: Compile, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    with pytest.raises(UnfinishedError):
        compiled("bayes-e", workspace=folder)
    (folder / "bpu_output" / "policy.bin").write_text(ELSEWHERE, "utf-8")

    entry, file = compiled("bayes-e", compiled=folder).artifact("bpu")

    assert (file.name, file.read_text("utf-8")) == ("policy.int8.bin", ELSEWHERE)
    assert entry.tool == "hb_mapper, run elsewhere"


def _with_result(compiled: Compile, tmp_path: Path, content: bytes | None) -> Path:
    """Make a workspace; return it with this content, else the ONNX model, as what the tool made."""
    folder = tmp_path / "work"
    with pytest.raises(UnfinishedError):
        compiled(workspace=folder)
    model = (tmp_path / "tiny" / "policy.onnx").read_bytes()
    (folder / "bpu_output" / "policy.hbm").write_bytes(content or model)
    return folder


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"version https://git-lfs", "found a text"),
        (
            np.random.default_rng(0).bytes(5000),
            "found 5000 bytes without a header and without the names of its tensors, obs, actions",
        ),
        (None, "found the ONNX model"),
    ],
    ids=["pointer", "random", "reference"],
)
def test_what_is_no_compiled_model_is_refused(
    compiled: Compile, tmp_path: Path, content: bytes | None, found: str
) -> None:
    folder = _with_result(compiled, tmp_path, content)

    with pytest.raises(ToolError, match=rf"policy\.hbm: expected a compiled model, {found}; copy"):
        compiled(compiled=folder)


def test_random_weights_behind_the_names_of_the_tensors_are_a_model(
    compiled: Compile, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = np.random.default_rng(0).bytes(5000)

    compiled(compiled=_with_result(compiled, tmp_path, weights + b"obs actions"))

    assert "names of its tensors" not in caplog.text


def test_model_without_the_names_of_its_tensors_is_doubted(
    compiled: Compile, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    compiled(compiled=_with_result(compiled, tmp_path, ELSEWHERE.encode()))

    assert "the names of its tensors (obs, actions) are not found in it" in caplog.text


def test_what_was_not_compiled_yet_is_not_taken(compiled: Compile, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    with pytest.raises(UnfinishedError):
        compiled(workspace=folder)

    with pytest.raises(ToolError, match=r"policy.hbm: expected what hb_compile made, found noth"):
        compiled(compiled=folder)


@pytest.mark.parametrize(
    ("target", "precision", "options", "differ"),
    [
        ("nash-m", "int8", {}, "march nash-e instead of nash-m"),
        ("nash-e", "int16", {}, "precision int8 instead of int16"),
        ("nash-e", "int8", {"calibration": "kl"}, "calibration default instead of kl"),
    ],
)
def test_workspace_of_another_model_or_order_is_not_taken(
    compiled: Compile,
    tmp_path: Path,
    target: str,
    precision: str,
    options: dict[str, str],
    differ: str,
) -> None:
    folder = tmp_path / "work"
    with pytest.raises(UnfinishedError):
        compiled(workspace=folder)

    with pytest.raises(ToolError, match=rf"of this model.* found {differ}; give"):
        compiled(target, precision, compiled=folder, **options)


def test_workspace_of_other_samples_is_not_taken(
    compiled: Compile, tmp_path: Path, rows: Path
) -> None:
    folder = tmp_path / "work"
    with pytest.raises(UnfinishedError):
        compiled(workspace=folder)
    (folder / "bpu_output" / "policy.hbm").write_text(ELSEWHERE, "utf-8")
    np.savez(rows, obs=observations(64, seed=9))

    with pytest.raises(ToolError, match=r"found graphs\.policy\.samples_sha256 \w+ instead of"):
        compiled(compiled=folder)


def test_workspace_that_more_processes_compiled_is_taken(compiled: Compile, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    with pytest.raises(UnfinishedError):
        compiled(workspace=folder, jobs=6)
    (folder / "bpu_output" / "policy.hbm").write_bytes(b"\0compiled elsewhere")

    compiled(compiled=folder)


def test_folder_that_is_no_workspace_is_not_taken(compiled: Compile, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"expected a workspace with workspace.json, found"):
        compiled(compiled=tmp_path)


def test_workspace_that_is_there_is_replaced_only_by_force(
    compiled: Compile, tmp_path: Path
) -> None:
    folder = tmp_path / "work"
    with pytest.raises(UnfinishedError):
        compiled(workspace=folder)
    (folder / "policy/model_output").mkdir()
    (folder / "policy/model_output/compiler.log").touch()

    with pytest.raises(ToolError, match=r"work: expected nothing there yet.*--force replaces it"):
        compiled(workspace=folder)
    assert (folder / "policy/model_output/compiler.log").exists()
    with pytest.raises(UnfinishedError):
        compiled(workspace=folder, force=True)
    assert not (folder / "policy/model_output").exists()


def test_workspace_with_a_file_of_the_user_is_not_replaced_even_by_force(
    compiled: Compile, tmp_path: Path
) -> None:
    folder = tmp_path / "work"
    with pytest.raises(UnfinishedError):
        compiled(workspace=folder)
    (folder / "note").touch()

    with pytest.raises(ToolError, match=r"expected only files of this command .*, found note;"):
        compiled(workspace=folder, force=True)
    assert (folder / "note").exists()


def test_folder_of_another_kind_is_not_replaced_even_by_force(
    compiled: Compile, tmp_path: Path
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "thesis.tex").touch()

    with pytest.raises(ToolError, match="found something else, which --force does not touch"):
        compiled(workspace=folder, force=True)
    assert (folder / "thesis.tex").exists()


def test_without_tool_and_folder_both_are_named(compiled: Compile) -> None:
    with pytest.raises(
        ToolError,
        match=r"hb_compile on the PATH, or a folder .*workspace=FOLDER.*"
        r"in the container registry.d-robotics.cc",
    ):
        compiled()


def test_failure_of_the_tool_is_reported_with_its_last_words(
    compiled: Compile, put_on_path: Tool, tmp_path: Path
) -> None:
    put_on_path("hb_compile", "echo 'ERROR: node Elu is not supported' >&2; exit 3")

    with pytest.raises(
        ToolError,
        match=r"found status 3; --option workspace=FOLDER keeps (.|\n)*"
        "ERROR: node Elu is not supported",
    ):
        compiled()
    assert not (tmp_path / "made").exists()


def test_tool_that_makes_nothing_is_reported(compiled: Compile, put_on_path: Tool) -> None:
    put_on_path("hb_compile", "mkdir -p model_output; touch model_output/policy.hbm")

    with pytest.raises(ToolError, match="expected what hb_compile made, found nothing"):
        compiled()


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("nash-e", {"optimize_level": "O3"}, "one of O0, O1, O2 for nash-e, found 'O3'"),
        ("bayes-e", {"optimize_level": "3"}, "one of O0, O1, O2, O3 for bayes-e, found '3'"),
        (
            "nash-e",
            {"calibration": "skip"},
            "one of default, mix, kl, max for nash-e, found 'skip'",
        ),
        ("nash-e", {"jobs": "0"}, "one of 1 to 64 for nash-e, found '0'"),
        ("nash-e", {"workspace": "a", "compiled": "b"}, "workspace and compiled, found both"),
        ("nash-e", {"fast": "yes"}, "options among workspace, compiled, .* found fast"),
        ("bernoulli2", {}, "nash-e, nash-m, nash-p, bayes-e, bayes.*found bernoulli2"),
    ],
)
def test_what_the_tools_do_not_have_is_refused(
    compiled: Compile, target: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(ToolError, match=message):
        compiled(target, **options)


def test_fp16_is_refused_because_the_tools_do_not_have_it(compiled: Compile) -> None:
    with pytest.raises(ToolError, match="a precision among int8, int16, found 'fp16'"):
        compiled(precision="fp16")


def test_recurrent_states_are_calibrated_too(rows: Path, put_on_path: Tool, tmp_path: Path) -> None:
    put_on_path("hb_mapper")
    source = make_bundle(tmp_path / "recurrent", recurrent=True)

    request = CompileRequest(
        compiler="bpu",
        bundle=source,
        precision="int8",
        target="bayes-e",
        rows=rows,
        samples=512,
        output=tmp_path / "made",
        options={"workspace": str(tmp_path / "work")},
    )
    bundle = load_bundle(compile_bundle(request), kind=JointBundle)

    folders = sorted(folder.name for folder in (tmp_path / "work/policy/calibration").iterdir())
    assert folders == ["0_obs", "1_h_in"]
    assert "bpu" in bundle.contract.model.artifacts


def test_command_ends_with_a_status_of_its_own_where_the_rest_is_for_another_machine(
    rows: Path, tmp_path: Path
) -> None:
    source = make_bundle(tmp_path / "source")
    arguments = [
        "compile",
        "bpu",
        "--bundle",
        source,
        "--precision",
        "int8",
        "--target",
        "nash-e",
        "--rows",
        rows,
        "--output",
        tmp_path / "made",
    ]

    assert cli.main(list(map(str, arguments))) == 4
    arguments += ["--option", f"workspace={tmp_path / 'work'}"]
    assert cli.main(list(map(str, arguments))) == 3
    assert not (tmp_path / "made").exists()
    (tmp_path / "work" / "bpu_output" / "policy.hbm").write_text(ELSEWHERE, "utf-8")
    arguments[-1] = f"compiled={tmp_path / 'work'}"
    assert cli.main(list(map(str, arguments))) == 0
    assert "bpu" in load_bundle(tmp_path / "made", kind=JointBundle).contract.model.artifacts


def test_interrupted_command_ends_the_tool_and_leaves_nothing(
    rows: Path, put_on_path: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo, source = tmp_path / "fifo", make_bundle(tmp_path / "source")
    os.mkfifo(fifo)
    put_on_path(
        "hb_compile",
        f'[ "$1" = --version ] || {{ exec 3> "{fifo}"; echo works >&3; exec sleep 600; }}',
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    command = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "model_tools",
            "compile",
            "bpu",
            "--bundle",
            source,
            "--precision",
            "int8",
            "--target",
            "nash-e",
            "--rows",
            rows,
            "--output",
            tmp_path / "made",
        ]
    )

    with fifo.open() as tool:
        assert tool.readline() == "works\n"
        command.terminate()
        assert tool.read() == ""  # no process holds the other end any more

    assert command.wait(30) == 143
    assert not (tmp_path / "made").exists()
