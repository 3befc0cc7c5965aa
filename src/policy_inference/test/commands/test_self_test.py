# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command line of the self-test: the file that is sent back, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from policy_inference.commands.main import main
from testkit.wording import check_wording, lines_with

from ..self_test.bundles import two_joint_bundle


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
    assert (told["kind"], told["schema_version"]) == ("self_test", 2)
    assert told["bundle"]["version"] == "1.2.3"
    assert told["system"]["python"]
    assert list(told["findings"]) == ["system", "ROS", "onnx"]
    assert told["can_run"] == ["onnx"]
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
        ["--output", "n" * 999],
        ["--bundle", "no_such_bundle"],
        ["--bundle", "no/such/bundle"],
        ["--bundle", "."],
    ],
    ids=["back end", "option", "folder", "name", "bundle", "no folder", "folder of no bundle"],
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


@pytest.mark.parametrize("seconds", ["-1", "0.9", "3601", "nan", "inf", "1e400", "long"])
def test_a_time_that_is_none_is_refused(
    two_joints: Path, seconds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run_self_test(two_joints, "--seconds", seconds)
    check_wording(*lines_with(capsys.readouterr().err, "error"))
