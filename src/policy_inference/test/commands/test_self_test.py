# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The verb `self-test` where it examines only, on this machine."""

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy_core.bundle.contract import Artifact
from policy_core.errors import BackendError
from policy_inference.backends.registry import available, loaded
from policy_inference.backends.rknn.backend import RknnBackend
from policy_inference.backends.rknn_sim import RknnSimBackend
from policy_inference.commands.main import main
from policy_inference.machine.machine import Finding, Machine, Severity
from policy_inference.self_test.examination import CANNOT_RUN, NOTHING_MISSING, examine
from policy_inference.testing.bundles import write_contract
from policy_inference.testing.models import save_linear
from testkit.chunk_bundles import write_chunk_bundle
from testkit.wording import check_wording, lines_with

from ..self_test.bundles import two_joint_bundle

BUNDLES = Path(__file__).parents[4] / "config" / "bundles"
WALK = str(BUNDLES / "lite3_walk")


@pytest.fixture(autouse=True)
def on_no_board(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a board or with a toolkit, too, these cannot run here."""
    missing = [Finding.error("board", "none", "buy one")]
    for name, entry in available().items():
        if name != "onnx":
            cls = loaded(entry, BackendError)
            monkeypatch.setattr(cls, "examine", lambda machine, artifact: missing)


@pytest.fixture
def builders() -> list[str]:
    """Back ends that build from an ONNX model, in the order in which they are examined."""
    classes = {name: loaded(entry, BackendError) for name, entry in available().items()}
    return sorted(name for name, cls in classes.items() if cls.builds_from == "onnx")


def examined(words: list[str]) -> int:
    return main(["self-test", *words, "--seconds", "0"])


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines that were printed, each without its layout."""
    text = re.sub("[\u2500-\u257f]", " ", capsys.readouterr().out)  # frames of tables
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def test_bundle_that_ships_can_run_here(
    builders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert examined([WALK]) == 0
    found = printed(capsys)
    header = "result what found"
    groups = [title for title, below in itertools.pairwise(found) if below == header]
    assert groups == ["system", "ROS", "onnx", *builders]
    assert found[-1] == f"nothing missing: onnx; cannot run: {', '.join(builders)}"
    check_wording(*lines_with(found, "ok bundle"))
    assert "CPUExecutionProvider" in lines_with(found, "ok onnxruntime")[0]


@pytest.mark.parametrize(
    ("bundle", "backend"),
    [
        (None, "rknn"),  # a machine that can run none of them
        (WALK, "rknn"),  # for which the bundle has nothing
        (str(BUNDLES / "lite3_deeprobotics"), "onnx"),  # whose model is published elsewhere
        ("BPU", "rknn_sim"),  # a simulator without a model
    ],
    ids=["no board", "no model", "published model", "simulator"],
)
def test_what_cannot_run_is_reported_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bundle: str | None, backend: str
) -> None:
    if bundle == "BPU":
        bundle = str(write_contract(save_linear(tmp_path / "policy.onnx", 2, 1), "bpu", "int8"))
    given = [] if bundle is None else [bundle]
    assert examined([*given, "--backend", backend]) == 1
    text = " ".join(printed(capsys))
    check_wording(text[text.index(f" {backend} result what found") :])


def test_one_of_several_back_ends_is_enough(capsys: pytest.CaptureFixture[str]) -> None:
    assert examined([WALK, "--backend", "rknn,onnx"]) == 0
    check_wording(printed(capsys)[-1])
    assert examined([]) == 0  # without a bundle, all are looked at
    assert {"bpu", "onnx", "rknn", "rknn_sim", "tensorrt"} <= set(printed(capsys))


def test_chunk_policy_can_run_where_all_its_graphs_can(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_chunk_bundle(tmp_path / "arm")
    assert examined([str(folder)]) == 0
    shown = printed(capsys)
    graphs = [line for line in lines_with(shown, "ok bundle") if line.endswith("fp32")]
    check_wording(*graphs)
    assert len(lines_with(shown, "ok onnxruntime")) == 1
    (model,) = folder.glob("*TransformerLayers/*.onnx")
    model.write_bytes(b"")
    assert examined([str(folder), "--backend", "onnx"]) == 1
    shown = printed(capsys)
    check_wording(*lines_with(shown, "-> copy"), shown[-1])


def test_back_end_whose_examination_fails_is_an_error_and_the_others_are_looked_at(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(machine: Machine, artifact: Artifact | None) -> list[Finding]:
        raise RuntimeError("of somebody's package")

    monkeypatch.setattr(RknnBackend, "examine", fail)
    assert examined([WALK, "--backend", "rknn,onnx"]) == 0
    shown = printed(capsys)
    check_wording(*lines_with(shown, "ERROR examination"), shown[-1])


@pytest.mark.parametrize("python", ["starts", "lacks NumPy", "is gone"])
def test_a_back_end_with_its_own_python_is_started_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: str
) -> None:
    other = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", other.parents[1]], check=True)
    if python == "starts":
        (site,) = other.parents[1].glob("lib/python3.*/site-packages")
        for name in ("numpy", "numpy.libs"):
            (site / name).symlink_to(Path(np.__file__).parents[1] / name)
    if python == "is gone":
        other.unlink()
    complete = [Finding(name="toolkit", found="there")]
    monkeypatch.setattr(RknnSimBackend, "examine", lambda machine, artifact: complete)
    monkeypatch.setattr(RknnSimBackend, "interpreter", lambda: str(other))
    found = examine(Machine(), None, "rknn_sim")
    errors = [one.name for one in found.findings["rknn_sim"] if one.severity is Severity.ERROR]
    assert errors == ([] if python == "starts" else ["process"])
    assert found.results[NOTHING_MISSING if python == "starts" else CANNOT_RUN] == ["rknn_sim"]


@pytest.fixture
def two_joints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of a bundle, in the present folder."""
    monkeypatch.chdir(tmp_path)
    two_joint_bundle(tmp_path / "two_joints")
    return Path("two_joints")


def run_self_test(two_joints: Path, *more: str, backend: str = "onnx") -> int:
    return main(["self-test", str(two_joints), "--backend", backend, "--seconds", "1", *more])


def read(file: str) -> Any:
    return json.loads(Path(file).read_text("utf-8"))


def test_the_report_is_named_after_bundle_and_back_end(
    two_joints: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = run_self_test(two_joints)
    told = read("self_test_two_joints_onnx.json")
    assert (told["kind"], told["schema_version"]) == ("self_test", 3)
    assert told["bundle"]["version"] == "1.2.3"
    assert told["system"]["python"]
    assert list(told["findings"]) == ["system", "ROS", "onnx"]
    assert told["nothing_missing"] == ["onnx"]
    assert status == (0 if told["holds"] else 1)
    assert told["error"] is None
    shown = capsys.readouterr().out.splitlines()
    check_wording(next(line for line in shown if " on onnx " in line), shown[-1])


@pytest.mark.parametrize(
    "words",
    [
        ["--backend", "onx"],
        ["--backend-option", "rknn.core_mask=0"],
        ["--output", "nowhere/mine.json"],
        ["--bundle", "no_such_bundle"],
    ],
    ids=["back end", "option", "folder", "bundle"],
)
def test_what_cannot_be_is_refused_before_anything_is_measured_or_written(
    two_joints: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
) -> None:
    if words[0] == "--bundle":
        two_joints, words = Path(words[1]), []
    assert run_self_test(two_joints, *words) == 4
    check_wording(caplog.messages[-1])
    assert not capsys.readouterr().out
    assert not list(Path().glob("*.json"))


@pytest.mark.parametrize("words", [[], ["--backend", "onnx,rknn"]], ids=["none", "two"])
def test_a_bundle_is_run_on_one_named_back_end_alone(
    two_joints: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["self-test", str(two_joints), *words])
    check_wording(capsys.readouterr().out.splitlines()[-1])
    assert not list(Path().glob("*.json"))


def test_a_time_that_is_none_is_refused(
    two_joints: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run_self_test(two_joints, "--seconds", "0.9")
    check_wording(*lines_with(capsys.readouterr().err, "error"))
