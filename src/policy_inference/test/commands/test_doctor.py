# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The verb `doctor`, on this machine."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from policy_inference.backends.registry import available
from policy_inference.backends.rknn.backend import RknnBackend
from policy_inference.backends.rknn_sim import RknnSimBackend
from policy_inference.bundle.contract import Artifact
from policy_inference.commands.main import main
from policy_inference.entry_points import loaded
from policy_inference.errors import BackendError
from policy_inference.machine.finding import Finding
from policy_inference.machine.machine import Machine
from policy_inference.testing.bundles import write_contract
from policy_inference.testing.chunk_bundles import write_chunk_bundle
from policy_inference.testing.models import save_linear

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


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out.splitlines()[-1]


def test_bundle_that_ships_can_run_here(
    builders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", WALK]) == 0
    said = capsys.readouterr().out

    assert re.findall(r"^(\S.*)$", said, re.MULTILINE) == [
        "system",
        "ROS",
        "onnx",
        *builders,
        f"can run: onnx; cannot run: {', '.join(builders)}",
    ]
    assert re.search(r"ok +bundle +lite3_walk 0\.2\.1: policy\.onnx, fp32, made by torch", said)
    assert re.search(r"ok +bundle +lite3_walk 0\.2\.1: policy\.onnx, fp32, runs in fp16", said)
    assert re.search(r"ok +onnxruntime +\d+\.\d+.*CPUExecutionProvider", said)


def test_integers_that_saturate_on_this_processor_are_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Machine, "cpu_flags", lambda _: frozenset({"avx2"}))
    folder = write_contract(save_linear(tmp_path / "policy.onnx", 2, 1), "onnx", "int8")

    assert main(["doctor", str(folder), "--backend", "onnx"]) == 0

    assert re.search(r"warning +int8 +policy\.onnx: unstated integers", capsys.readouterr().out)


def test_one_of_several_back_ends_is_enough(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", WALK, "--backend", "rknn,onnx"]) == 0
    assert last_line(capsys) == "can run: onnx; cannot run: rknn"


def test_chunk_policy_can_run_where_all_its_graphs_can(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_chunk_bundle(tmp_path / "arm")
    assert main(["doctor", str(folder)]) == 0
    said = capsys.readouterr().out

    for name in ("VisionEncoder_16x24", "VisionEncoder_12x16", "TransformerLayers"):
        assert re.search(rf"ok +bundle +small_arm 1\.0\.0: BPU_ACTPolicy_{name}\.onnx, fp32", said)
    assert len(re.findall(r"ok +onnxruntime", said)) == 1


def test_chunk_policy_with_a_damaged_graph_cannot_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_chunk_bundle(tmp_path / "arm")
    (model,) = folder.glob("*TransformerLayers/*.onnx")
    model.write_bytes(b"")

    assert main(["doctor", str(folder), "--backend", "onnx"]) == 1
    said = capsys.readouterr().out
    assert re.search(r"-> copy the bundle again", said)
    assert said.splitlines()[-1] == "cannot run: onnx"


def test_machine_that_can_run_none_of_them_is_reported_with_what_to_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["doctor", "--backend", "rknn"]) == 1
    said = capsys.readouterr().out

    assert re.search(r"ERROR +board +none\n +-> buy one", said)
    assert said.splitlines()[-1] == "cannot run: rknn"


def test_without_bundle_all_back_ends_are_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    groups = re.findall(r"^\w+$", capsys.readouterr().out, re.MULTILINE)

    assert {"bpu", "onnx", "rknn", "rknn_sim", "tensorrt"} <= set(groups)


def test_back_end_for_which_the_bundle_has_nothing_cannot_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["doctor", WALK, "--backend", "rknn"]) == 1
    assert "model_tools compile rknn" in " ".join(capsys.readouterr().out.split())


def test_model_file_that_is_not_the_one_meant_cannot_run(
    builders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(WALK, tmp_path / "walk")
    with (tmp_path / "walk/policy.onnx").open("ab") as file:
        file.write(b"more")

    assert main(["doctor", str(tmp_path / "walk")]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("-> copy the bundle again") == len(["onnx", *builders])
    assert "model_tools compile" not in said


def test_simulator_without_a_model_names_the_compiler_of_its_device(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_contract(save_linear(tmp_path / "policy.onnx", 2, 1), "bpu", "int8")

    assert main(["doctor", str(folder), "--backend", "rknn_sim"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "-> model_tools compile rknn makes a bundle that has one" in said


def test_contract_without_its_published_model_says_how_to_make_a_bundle(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["doctor", str(BUNDLES / "lite3_deeprobotics"), "--backend", "onnx"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "get it from github.com/" in said
    assert "-> with the published file, `model_tools complete BUNDLE --model FILE" in said
    assert "copy the bundle again" not in said


def test_kind_of_the_integers_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_contract(save_linear(tmp_path / "policy.onnx", 2, 1), "onnx", "int8")
    contract = folder / "policy.yaml"
    contract.write_text(
        contract.read_text("utf-8").replace(
            "precision: int8", "precision: int8\n      integers: unsigned"
        ),
        "utf-8",
    )

    main(["doctor", str(folder), "--backend", "onnx"])
    assert "policy.onnx, int8 with unsigned integers" in " ".join(capsys.readouterr().out.split())


def test_back_end_whose_examination_fails_is_an_error_and_the_others_are_looked_at(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(machine: Machine, artifact: Artifact | None) -> list[Finding]:
        raise RuntimeError("of somebody's package")

    monkeypatch.setattr(RknnBackend, "examine", fail)

    assert main(["doctor", WALK, "--backend", "rknn,onnx"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"ERROR +examination +RuntimeError: of somebody's package", said)
    assert said.splitlines()[-1] == "can run: onnx; cannot run: rknn"


def test_back_end_that_says_nothing_of_itself_is_not_said_to_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(RknnSimBackend, "examine", lambda machine, artifact: ())

    assert main(["doctor", WALK, "--backend", "rknn_sim"]) == 1
    said = capsys.readouterr().out
    assert "self-test --backend rknn_sim" in said
    assert said.splitlines()[-1] == "not examined: rknn_sim"


def test_findings_are_written_to_a_file(tmp_path: Path) -> None:
    file = tmp_path / "doctor.json"

    assert main(["doctor", WALK, "--output", str(file)]) == 0
    found = json.loads(file.read_text("utf-8"))
    assert found["schema_version"] == 1
    assert found["can_run"] == ["onnx"]
    assert found["cannot_run"] == ["rknn_sim", "tensorrt"]
    assert found["bundle"]["name"] == "lite3_walk"
    assert [entry["severity"] for entry in found["findings"]["onnx"]] == ["ok", "ok"]


def test_file_does_not_tell_whose_home_it_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user's name is often that of the folder; here Python's own path is below it."""
    home = Path(sys.executable).parent
    monkeypatch.setenv("HOME", str(home))
    file = tmp_path / "doctor.json"
    main(["doctor", WALK, "--output", str(file)])

    assert str(home) not in file.read_text("utf-8")


def test_file_that_is_there_is_replaced_with_force_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "doctor.json"
    file.write_text("mine")

    assert main(["doctor", WALK, "--output", str(file)]) == 4
    assert (file.read_text(), "--force" in caplog.text) == ("mine", True)
    assert not capsys.readouterr().out  # said before anything is looked at
    assert main(["doctor", WALK, "--output", str(file), "--force"]) == 0
    assert json.loads(file.read_text("utf-8"))["can_run"] == ["onnx"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--backend", "onnx,rkn"], "expected names of installed back ends"),
        (["--backend", ""], "found nothing"),
        (["no/such/bundle"], "expected a bundle folder"),
    ],
)
def test_wrong_arguments_are_named(
    args: list[str], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["doctor", *args]) == 4
    assert said in caplog.text
