# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command `lerobot_bridge convert` without LeRobot: its errors before any work."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from lerobot_bridge import cli
from lerobot_bridge.cli import main
from lerobot_bridge.commands.convert import require_lerobot
from model_tools.errors import ToolError
from testkit.wording import check_wording, lines_with, refusal


def run_convert(tmp_path: Path, *more: str) -> int:
    return main(
        ["convert", str(tmp_path), "--mapping", "so101", "--output", str(tmp_path / "out"), *more]
    )


def test_without_lerobot_it_says_how_to_get_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)

    assert run_convert(tmp_path) == 4
    check_wording(*caplog.messages)


@pytest.mark.parametrize(
    ("version", "fits"),
    [
        ("0.4.3", False),
        ("0.4.4.post1", True),
        ("0.4.10", True),
        ("0.5.0rc1", False),
        ("0.6.0", False),
        ("0.6.1", True),
        ("0.6.2", True),
        ("0.7.1", False),
    ],
)
def test_a_lerobot_whose_writer_is_unknown_is_refused_by_its_version(
    version: str, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    if fits:
        require_lerobot()
        return
    with refusal(ToolError):
        require_lerobot()


@pytest.mark.parametrize("words", [["--processes", "0"], []])
def test_wrong_arguments_are_named(
    words: list[str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.4.4")

    assert run_convert(tmp_path, *words) == 4
    check_wording(*caplog.messages)


@pytest.mark.parametrize("length", ["often", "1e-9"])
def test_a_length_of_episodes_is_a_number(
    length: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run_convert(tmp_path, "--episodes", length)
    check_wording(*lines_with(capsys.readouterr().err, "length"))


HEAVY = {
    "av",
    "cv2",
    "lerobot",
    "matplotlib",
    "numpy",
    "onnxruntime",
    "pandas",
    "pyarrow",
    "rich",
    "rosbags",
    "torch",
    "yaml",
}


@pytest.mark.parametrize("verb", cli.COMMANDS)
def test_help_loads_nothing_heavy(verb: str) -> None:
    code = (
        "import sys\nfrom lerobot_bridge import cli\n"
        f"try:\n    cli.main([{verb!r}, '--help'])\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        f"print('loaded', sorted({HEAVY} & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert f"usage: lerobot_bridge {verb}" in done.stdout
    assert done.stdout.splitlines()[-1] == "loaded []"
