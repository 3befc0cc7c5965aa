# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import argparse
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from model_tools import cli
from model_tools.commands import import_policy
from model_tools.make.importers.joints import ORDERS
from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.load import load_bundle

from ..make.importers.conftest import ANSWERS
from ..make.importers.small_models import save_policy
from ..make.importers.small_runs import DEPLOY, DEPLOY_WIDTH


def run(*args: str) -> int:
    return cli.main(["import", *args])


@pytest.fixture
def args(tmp_path: Path) -> list[str]:
    source = tmp_path / "deploy.yaml"
    source.write_text(yaml.safe_dump(DEPLOY, sort_keys=False), encoding="utf-8")
    model = save_policy(tmp_path / "policy.onnx", DEPLOY_WIDTH, 2)
    return [
        str(source),
        "--model",
        str(model),
        "--output",
        str(tmp_path / "bundle"),
        "--joints",
        "hip,knee",
    ]


def test_open_questions_are_listed_and_end_with_one(
    args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*args) == 1
    shown = capsys.readouterr().out
    assert "TODO provenance.licence: SPDX identifier" in shown
    assert "15 questions are open, so that the bundle does not load" in shown


def test_the_file_of_answers_is_where_open_questions_can_be_answered(
    args: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = tmp_path / "answers.yaml"
    answers.write_text("version: 1.0.0\n", "utf-8")
    assert run(*args, "--answers", str(answers)) == 1
    again = f"answer them in {answers} and import again with --force, or in its policy.yaml, "
    assert again in capsys.readouterr().out


def test_answers_of_the_command_line_make_the_contract_hold(
    args: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [arg for answer in ANSWERS for arg in ("--set", answer)]
    assert run(*args, *given, "--version", "2.0.0", "--licence", "O'Reilly") == 0
    contract = load_bundle(tmp_path / "bundle", kind=JointBundle).contract
    assert contract.version == "1.0.0"
    assert contract.provenance.licence == "MIT"
    assert "the contract holds" in capsys.readouterr().out


def test_the_verbs_load_nothing_heavy_before_they_run() -> None:
    heavy = ("torch", "onnx", "mujoco", "matplotlib", "rich", "numpy", "yaml")
    code = (
        "import sys; import model_tools.commands.import_policy, model_tools.commands.inspect; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"


def torch_archive(file: Path, *members: str) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for name in members:
            archive.writestr(f"policy/{name}", b"content")
    return file


@pytest.mark.parametrize(
    ("members", "said"),
    [
        (("data.pkl", "data/0"), "found a checkpoint of PyTorch"),
        (("code/actor.py", "data.pkl"), "found a TorchScript program"),
        ((), "found a checkpoint of PyTorch"),
    ],
)
@pytest.mark.parametrize("place", ["--model", "SOURCE"])
def test_a_checkpoint_is_answered_with_the_command_that_exports_it(
    args: list[str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    members: tuple[str, ...],
    said: str,
    place: str,
) -> None:
    file = tmp_path / "policy.pt"
    if members:
        torch_archive(file, *members)
    else:
        file.write_bytes(pickle.dumps({"weights": [1.0]}))
    args[0 if place == "SOURCE" else args.index("--model") + 1] = str(file)
    assert run(*args) == 4
    assert said in caplog.text
    trust = " --trust-code" if "Script" in said else ""
    assert caplog.messages[-1].endswith(
        f"model_tools export {file} --config network.yaml --output policy.onnx{trust}"
    )


def test_the_orders_of_the_command_are_those_that_are_known() -> None:
    parser = argparse.ArgumentParser()
    import_policy.add_arguments(parser)
    for order in ORDERS:
        known = parser.parse_args(["s", "--output", "o", "--joint-order", order])
        assert known.joint_order == order
