# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One grammar for all commands: help with an example, --version, --json, no abbreviations, Tab."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import lerobot_bridge.cli
import model_tools.cli
import policy_inference.commands.main
import policy_store.commands.main

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {path.name for path in (ROOT / "src").iterdir() if (path / "setup.py").is_file()}
MAINS: dict[str, Callable[[Sequence[str]], int]] = {
    "model_tools": model_tools.cli.main,
    "policy_inference": policy_inference.commands.main.main,
    "policy_store": policy_store.commands.main.main,
    "lerobot_bridge": lerobot_bridge.cli.main,
}
VERBS = [
    *(("policy_store", verb) for verb in policy_store.commands.main.COMMANDS),
    *(
        ("model_tools", verb)
        for verb, does in model_tools.cli.COMMANDS.items()
        if does not in policy_store.commands.main.COMMANDS.values()
    ),
    *(("policy_inference", verb) for verb in policy_inference.commands.main.COMMANDS),
    *(("lerobot_bridge", verb) for verb in lerobot_bridge.cli.COMMANDS),
]
UNTIL_STOPPED = [("policy_inference", "act"), ("policy_inference", "serve")]
SCRIPTS = sorted(
    script.name
    for script in entry_points(group="console_scripts")
    if script.dist is not None and script.dist.name.replace("-", "_") in PACKAGES
)
WALK = ROOT / "config/bundles/lite3_walk"


def test_every_verb_has_one_grammar(capsys: pytest.CaptureFixture[str]) -> None:
    """Of all verbs in one test, since `make test` runs the first case of those with parameters."""
    for command, verb in VERBS:
        with pytest.raises(SystemExit, match="0"):
            MAINS[command]([*verb.split(), "--help"])
        shown = capsys.readouterr().out
        assert f"    {command} {verb} " in shown, f"an example of {command} {verb}"
        assert ("--json" in shown) == ((command, verb) not in UNTIL_STOPPED), (command, verb)
        with pytest.raises(SystemExit, match="2"):
            MAINS[command]([*verb.split(), "--hel"])
        assert "mean --help?" in capsys.readouterr().err


def run_program(*words: str | Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which(str(words[0]))
    assert program is not None
    return subprocess.run(
        [program, *words[1:]],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "200"},
    )


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_every_command_has_one_grammar(script: str) -> None:
    assert run_program(script, "--version").stdout == f"{script} 0.1.0\n"
    shown = run_program(script, "--help")
    assert shown.returncode == 0
    assert f"    {script} " in shown.stdout or script in MAINS, "an example"
    abbreviated = run_program(script, "--versio")
    assert (abbreviated.returncode, abbreviated.stdout) == (2, "")


@pytest.mark.parametrize(
    ("command", "words", "status", "keys"),
    [
        ("model_tools", ["install", WALK, "--root", "models"], 0, {"name", "version", "current"}),
        ("model_tools", ["verify", "--root", "models"], 4, set()),
        ("model_tools", ["list", "--root", "models"], 0, {"root", "models"}),
        ("model_tools", ["inspect", WALK], 0, {"kind", "path", "rows", "tables", "suspicions"}),
        ("model_tools", ["compare", WALK, WALK, "--output", "report"], 4, set()),
        (
            "policy_inference",
            ["self-test", "--backend", "onnx"],
            0,
            {"nothing_missing", "findings"},
        ),
        ("lerobot_bridge", ["check", "--mapping", "so101"], 0, {"mapping", "problems"}),
    ],
)
def test_json_is_all_that_standard_output_gets(
    command: str,
    words: Sequence[str | Path],
    status: int,
    keys: set[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert MAINS[command]([*map(str, words), "--json"]) == status
    printed = capfd.readouterr().out
    assert keys <= json.loads(printed).keys() if keys else printed == ""
