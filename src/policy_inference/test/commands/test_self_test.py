# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command line of the self-test: the file that is sent back, and what is refused."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from policy_inference.backends.onnx import OnnxBackend
from policy_inference.commands.main import main

from ..self_test.bundles import two_joint_bundle


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of a bundle, in the present folder."""
    monkeypatch.chdir(tmp_path)
    two_joint_bundle(tmp_path / "two_joints")
    return Path("two_joints")


def run(bundle: Path, *more: str, backend: str = "onnx") -> int:
    return main(["self-test", str(bundle), "--backend", backend, "--seconds", "1", *more])


def read(file: str) -> Any:
    return json.loads(Path(file).read_text("utf-8"))


def test_the_report_is_named_after_bundle_and_back_end(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = run(bundle)

    told = read("self_test_two_joints_onnx.json")
    assert told["kind"] == "self_test"
    assert status == (0 if told["holds"] else 1)
    assert told["error"] is None
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "two_joints 1.2.3 on onnx in fp32"
    assert shown[-1] == "self_test_two_joints_onnx.json: the report, to be sent back"


def test_a_back_end_that_is_not_there_leaves_no_report(
    bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert run(bundle, backend="onx") == 4

    assert "expected an installed back end (" in caplog.text
    assert "found 'onx'" in caplog.text
    assert list(Path().glob("self_test_*")) == []


def test_a_report_is_replaced_by_force_alone(
    bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = Path("mine.json")
    file.write_text("precious", "utf-8")

    assert run(bundle, "--output", "mine.json") == 4
    assert file.read_text("utf-8") == "precious"
    assert "mine.json: expected a file that is not there yet, found one" in caplog.text

    run(bundle, "--output", "mine.json", "--force")
    assert read("mine.json")["error"] is None
    assert sorted(path.name for path in Path().iterdir()) == ["mine.json", "two_joints"]


def test_a_folder_for_the_report_must_be_there(
    bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert run(bundle, "--output", "nowhere/mine.json") == 4

    assert "nowhere: expected a folder that can be written to, found: No such file" in caplog.text


def test_name_that_is_too_long_is_refused_before_anything_is_measured(
    bundle: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(bundle, "--output", "n" * 999) == 4

    assert "File name too long" in caplog.text
    assert not capsys.readouterr().out
    assert not list(Path().glob("*.json"))


def test_file_that_comes_meanwhile_is_kept_and_the_findings_are_shown(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, close = Path("mine.json"), OnnxBackend.close

    def write_and_close(backend: OnnxBackend) -> None:
        file.write_text("precious", "utf-8")
        close(backend)

    monkeypatch.setattr(OnnxBackend, "close", write_and_close)

    assert run(bundle, "--output", str(file)) == 4

    assert file.read_text("utf-8") == "precious"
    assert capsys.readouterr().out.splitlines()[-1].startswith("verdict")


def test_terminal_without_the_characters_of_a_message_shows_them_escaped(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    file = os.fsdecode(b"ven\xe9.json")

    run(bundle, "--output", file)

    terminal.seek(0)
    assert "ven\\udce9.json: the report" in terminal.read()


def test_options_of_another_back_end_are_refused(
    bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert run(bundle, "--backend-option", "rknn.core_mask=0") == 4

    assert "expected options of onnx, found options of rknn" in caplog.text
    assert not list(Path().glob("*.json"))


def test_a_bundle_that_is_nowhere_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    assert run(Path("no_such_bundle")) == 4

    assert "expected a bundle folder or one of the installed bundles" in caplog.text


@pytest.mark.parametrize("seconds", ["0", "-1", "0.9", "3601", "nan", "inf", "1e400", "long"])
def test_a_time_that_is_none_is_refused(
    bundle: Path, seconds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(bundle, "--seconds", seconds)

    assert "expected a number of seconds from 1 to 3600" in capsys.readouterr().err
