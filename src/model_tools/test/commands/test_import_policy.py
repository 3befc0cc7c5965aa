# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import argparse
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from model_tools.commands import import_policy
from policy_inference.bundle.load import read_contract

from ..importers.conftest import ANSWERS
from ..importers.small_models import save_policy
from ..importers.small_runs import DEPLOY, DEPLOY_WIDTH


def run(*args: str) -> int:
    parser = argparse.ArgumentParser()
    import_policy.add_arguments(parser)
    return import_policy.run(parser.parse_args(args))


@pytest.fixture
def args(tmp_path: Path) -> list[str]:
    source = tmp_path / "deploy.yaml"
    source.write_text(yaml.safe_dump(DEPLOY, sort_keys=False), encoding="utf-8")
    model = save_policy(tmp_path / "policy.onnx", DEPLOY_WIDTH, 2)
    return [str(source), "--model", str(model), "--output", str(tmp_path / "bundle"),
            "--joints", "hip,knee"]


def test_open_questions_are_listed_and_are_no_failure(
    args: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="model_tools")
    assert run(*args) == 0
    assert "TODO provenance.licence: SPDX identifier" in caplog.text
    assert "15 questions are open, so that the bundle does not load" in caplog.text


def test_answers_of_the_command_line_make_the_contract_hold(
    args: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="model_tools")
    given = [arg for answer in ANSWERS for arg in ("--set", answer)]
    assert run(*args, *given, "--version", "2.0.0", "--licence", "O'Reilly") == 0
    contract = read_contract(tmp_path / "bundle" / "policy.yaml")
    assert contract.version == "1.0.0"
    assert contract.provenance.licence == "MIT"
    assert "the contract holds" in caplog.text


def test_the_verbs_load_nothing_heavy_before_they_run() -> None:
    heavy = ("torch", "onnx", "mujoco", "matplotlib", "rich", "numpy", "yaml")
    code = ("import sys; import model_tools.commands.import_policy, model_tools.commands.inspect; "
            f"print([name for name in {heavy} if name in sys.modules])")
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"
