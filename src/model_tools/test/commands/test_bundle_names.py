# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Commands that take the name of an installed bundle in the place of its folder."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from model_tools import cli

from ..tiny_bundle import make_bundle
from .test_run import ENVIRONMENT

SHARE = Path("share", "policy_inference", "config", "bundles")
COMMANDS = {
    "inspect": ["inspect", "NAME"],
    "run": ["run", "NAME", "--env", "our_env:Env", "--steps", "2", "--reference", "NAME"],
    "compile": ["compile", "onnx", "--bundle", "NAME", "--precision", "fp16", "--output", "half"],
    "compare": ["compare", "NAME", "tiny"],
    "calibrate": [
        "calibrate",
        "--bundle",
        "NAME",
        "--env",
        "our_env:Env",
        "--output",
        "rows.npz",
        "--allow-poor",
        "--samples",
        "16",
    ],
}


@pytest.fixture(autouse=True)
def installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, users_folder: Callable[[str], None]
) -> None:
    users_folder(ENVIRONMENT)
    make_bundle(tmp_path / "prefix" / SHARE / "named")
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path / "prefix"))


def words(command: str, name: str) -> list[str]:
    return [name if word == "NAME" else word for word in COMMANDS[command]]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_bundle_is_found_by_its_name(command: str, caplog: pytest.LogCaptureFixture) -> None:
    cli.main(words(command, "named"))
    assert "expected a bundle folder" not in caplog.text
    assert "expected a file or folder" not in caplog.text


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_name_lists_those_there_are(
    command: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert cli.main(words(command, "unnamed")) == 4
    assert "one of the installed bundles (named), found 'unnamed'" in caplog.text


def test_a_name_with_a_typing_error_gets_the_one_that_was_meant(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert cli.main(["inspect", "nmaed"]) == 4
    assert "did you mean named?" in caplog.text


def test_the_contract_stands_for_its_bundle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "prefix" / SHARE / "named"
    shown = []
    for path in (folder, folder / "policy.yaml"):
        assert cli.main(["inspect", str(path)]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]


def test_weights_are_not_imported_but_exported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = tmp_path / "agent.pt"
    with zipfile.ZipFile(checkpoint, "w") as file:
        file.writestr("agent/data.pkl", pickle.dumps({"model": 1}))
        file.writestr("agent/version", "3")
    assert cli.main(["import", str(checkpoint), "--output", str(tmp_path / "new")]) == 4
    assert "found a checkpoint of PyTorch; this makes one of it" in caplog.text
    assert f"model_tools export {checkpoint} --config network.yaml" in caplog.text
    assert not (tmp_path / "new").exists()
