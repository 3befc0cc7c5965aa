# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The verbs `export` and `import`: what they print, need and ask."""

import argparse
import pickle
import shlex
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from model_tools import cli
from model_tools.cli import main
from model_tools.commands import export
from model_tools.errors import ToolError
from model_tools.make.act.graphs import POLICY, VISION
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.load import load_bundle
from testkit.wording import check_wording, lines_with, refusal

from ..files.lerobot.small_dataset import HEIGHT, WIDTH, write_dataset
from ..make.act.exports import small_arm
from ..make.act.small_checkpoints import config_of, write_checkpoint
from ..make.importers.conftest import ANSWERS
from ..make.importers.small_runs import DEPLOY, DEPLOY_WIDTH, save_policy


@pytest.fixture
def asked(tmp_path: Path) -> list[str]:
    config = config_of(
        cameras={"laptop": (HEIGHT, WIDTH), "phone": (HEIGHT, WIDTH)}, state=3, action=3
    )
    checkpoint = write_checkpoint(tmp_path / "checkpoint", config)
    return (
        f"export act --act-path {checkpoint} --export-path {tmp_path / 'arm'} "
        f"--units degrees --robot {small_arm(tmp_path)} "
        f"--dataset {write_dataset(tmp_path / 'data')}"
    ).split()


@pytest.mark.slow
def test_the_command_it_prints_takes_what_the_container_made(
    asked: list[str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level("INFO")
    assert main([*asked, "--type", "nash-e"]) == 0
    check_wording(*lines_with(caplog.messages, "observations"))
    (printed,) = (line for line in capsys.readouterr().out.splitlines() if "compile bpu" in line)
    for graph in (VISION, POLICY):
        (tmp_path / "arm/bpu_output" / f"{graph}.hbm").write_bytes(b"\0compiled elsewhere")

    program, *words = shlex.split(printed)

    assert program == "model_tools"
    assert main(words) == 0
    made = load_bundle(tmp_path / "arm_nash-e", kind=ChunkBundle).contract
    assert made.graphs[POLICY].artifacts["bpu"].target == "nash-e"


@pytest.mark.slow
def test_images_of_another_size_are_stretched_where_that_is_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = config_of(cameras={"laptop": (HEIGHT // 2, WIDTH)}, state=3, action=3)
    words = (
        "export act "
        f"--act-path {write_checkpoint(tmp_path / 'checkpoint', config)} "
        f"--export-path {tmp_path / 'arm'} --units degrees "
        f"--robot {small_arm(tmp_path)} "
        f"--dataset {write_dataset(tmp_path / 'data')}"
    ).split()

    assert main(words) == 4
    check_wording(caplog.messages[-1])
    assert main([*words, "--resize"]) == 0

    bundle = load_bundle(tmp_path / "arm", kind=ChunkBundle)
    assert bundle.contract.cameras["laptop"].resize
    assert bundle.golden()["cameras.laptop"].shape[1:3] == (HEIGHT // 2, WIDTH)


@pytest.mark.parametrize("source", ["policy.pt", "policy.onnx"])
def test_without_pytorch_or_a_need_for_it_other_ways_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    parser = argparse.ArgumentParser()
    export.add_arguments(parser)
    given = parser.parse_args([source, "--config", "c.yaml", "--output", str(tmp_path / "p")])
    with refusal(ToolError):
        export.run(given)
    with pytest.raises(SystemExit):
        parser.parse_args([source, "--config", "c", "--output", "o", "--opset", "9"])


def run_import(*args: str) -> int:
    return cli.main(["import", *args])


@pytest.fixture
def args(tmp_path: Path) -> list[str]:
    source = tmp_path / "deploy.yaml"
    source.write_text(yaml.safe_dump(DEPLOY, sort_keys=False), encoding="utf-8")
    model = save_policy(tmp_path / "policy.onnx", DEPLOY_WIDTH, 2)
    return (f"{source} --model {model} --output {tmp_path / 'bundle'} --joints hip,knee").split()


def test_open_questions_are_listed_with_the_file_in_which_they_can_be_answered(
    args: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_import(*args) == 1
    first = capsys.readouterr().out
    answers = tmp_path / "answers.yaml"
    answers.write_text("version: 1.0.0\n", "utf-8")
    assert run_import(*args, "--answers", str(answers), "--force") == 1
    again = lines_with(capsys.readouterr().out, "import again")
    check_wording(*lines_with(first, "licence"), *lines_with(first, "open"), *again)


def test_answers_of_the_command_line_make_the_contract_hold(
    args: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [arg for answer in ANSWERS for arg in ("--set", answer)]
    assert run_import(*args, *given, "--version", "2.0.0", "--licence", "O'Reilly") == 0
    contract = load_bundle(tmp_path / "bundle", kind=JointBundle).contract
    assert (contract.version, contract.provenance.licence) == ("1.0.0", "MIT")
    lines_with(capsys.readouterr().out, "valid")


@pytest.mark.parametrize("members", [("data.pkl", "data/0"), ("code/actor.py", "data.pkl"), ()])
@pytest.mark.parametrize("place", ["--model", "SOURCE"])
def test_a_checkpoint_is_answered_with_the_command_that_exports_it(
    args: list[str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    members: tuple[str, ...],
    place: str,
) -> None:
    file = tmp_path / "policy.pt"
    file.write_bytes(pickle.dumps({"weights": [1.0]}))
    if members:
        with zipfile.ZipFile(file, "w") as archive:
            for name in members:
                archive.writestr(f"policy/{name}", b"content")
    args[0 if place == "SOURCE" else args.index("--model") + 1] = str(file)
    assert run_import(*args) == 4
    check_wording(caplog.messages[-1])
