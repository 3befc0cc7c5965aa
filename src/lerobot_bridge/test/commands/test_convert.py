# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command `lerobot_bridge convert` where LeRobot is not: what is said before any work."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from lerobot_bridge.cli import main
from lerobot_bridge.commands.convert import require_lerobot
from model_tools.errors import ToolError

from ..bags import joints, times, write_bag


def converted(tmp_path: Path, *more: str) -> int:
    return main(
        ["convert", str(tmp_path), "--mapping", "so101", "--output", str(tmp_path / "out"), *more]
    )


def test_without_lerobot_it_says_how_to_get_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)

    assert converted(tmp_path) == 4
    assert "expected LeRobot, which writes datasets, found none" in caplog.text
    assert "make setup-lerobot" in caplog.text
    assert "pip install lerobot==0.4.4" in caplog.text


@pytest.mark.parametrize(
    ("version", "fits"),
    [
        ("0.3.3", False),
        ("0.4.3", False),
        ("0.4.4", True),
        ("0.4.4.post1", True),
        ("0.4.5", False),
        ("0.5.0rc1", False),
        ("0.6.0", False),
        ("0.6.1", True),
        ("0.6.2", False),
    ],
)
def test_a_lerobot_whose_writer_is_unknown_is_refused_by_its_version(
    version: str, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    if fits:
        require_lerobot()
        return
    with pytest.raises(ToolError, match=rf"LeRobot 0\.4\.4 or 0\.6\.1, .*found {version};"):
        require_lerobot()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--processes", "0"], "--processes: expected at least 1, found 0"),
        (["--report", "report.pdf"], "--report: expected a file .json or .html, found report.pdf"),
        ([], "expected a rosbag2 recording, or a folder of recordings, found none"),
    ],
)
def test_wrong_arguments_are_named(
    words: list[str],
    said: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.4.4")

    assert converted(tmp_path, *words) == 4
    assert said in caplog.text


@pytest.mark.parametrize(
    ("report", "said"),
    [
        ("old.json", "old.json: expected nothing there yet, found a file; --force replaces it"),
        ("old.json/new.json", "old.json: expected a folder that can be written, found: "),
        ("out/new.json", "--report: expected a file outside of the dataset"),
    ],
)
def test_a_report_that_cannot_be_written_is_said_before_the_work(
    report: str,
    said: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.4.4")
    tt = times(10, 1000)
    write_bag(tmp_path / "wave", [*joints(tt), *joints(tt, "/leader/joint_states")])
    (tmp_path / "old.json").write_text("{}")

    assert converted(tmp_path, "--task", "wave", "--report", str(tmp_path / report)) == 4
    assert said in caplog.text
    assert sorted(each.name for each in tmp_path.iterdir()) == ["old.json", "wave"]


@pytest.mark.parametrize("length", ["often", "1e-9", "0", "nan", "inf"])
def test_a_length_of_episodes_is_a_number(
    length: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        converted(tmp_path, "--episodes", length)
    assert (
        f"expected bag, marks, or a length of at least 0.1 s, found {length!r}"
    ) in capsys.readouterr().err
