# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import pytest
import yaml

from model_tools import cli
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from testkit.wording import check_wording, lines_with

from ..make.importers.conftest import ANSWERS
from ..make.importers.small_models import save_policy
from ..make.importers.small_runs import DEPLOY, DEPLOY_WIDTH


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
    lines_with(capsys.readouterr().out, "holds")


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
