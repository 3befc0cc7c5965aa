# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The verb `self-test` where it examines only, on this machine."""

import itertools
import re
import shutil
from pathlib import Path

import pytest

from policy_core.bundle.contract import Artifact
from policy_core.errors import BackendError
from policy_inference.backends.registry import available, loaded
from policy_inference.backends.rknn.backend import RknnBackend
from policy_inference.backends.rknn_sim import RknnSimBackend
from policy_inference.commands.main import main
from policy_inference.machine.machine import Finding, Machine
from policy_inference.testing.bundles import write_contract
from policy_inference.testing.models import save_linear
from testkit.chunk_bundles import write_chunk_bundle
from testkit.wording import check_wording, lines_with

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
    assert found[-1] == f"can run: onnx; cannot run: {', '.join(builders)}"
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


def test_model_file_that_is_not_the_one_meant_cannot_run(
    builders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(WALK, tmp_path / "walk")
    with (tmp_path / "walk/policy.onnx").open("ab") as file:
        file.write(b"more")
    assert examined([str(tmp_path / "walk")]) == 1
    remedies = lines_with(printed(capsys), "-> copy")
    assert len(remedies) == len(["onnx", *builders])
    check_wording(*remedies)


def test_back_end_whose_examination_fails_is_an_error_and_the_others_are_looked_at(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(machine: Machine, artifact: Artifact | None) -> list[Finding]:
        raise RuntimeError("of somebody's package")

    monkeypatch.setattr(RknnBackend, "examine", fail)
    assert examined([WALK, "--backend", "rknn,onnx"]) == 0
    shown = printed(capsys)
    check_wording(*lines_with(shown, "ERROR examination"), shown[-1])


def test_back_end_that_says_nothing_of_itself_is_not_said_to_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(RknnSimBackend, "examine", lambda machine, artifact: ())
    assert examined([WALK, "--backend", "rknn_sim"]) == 1
    shown = printed(capsys)
    check_wording(*lines_with(shown, "self-test"), shown[-1])
