# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The commands of `tools` read their arguments: `--help` never installs or writes anything."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = [
    file
    for file in sorted((ROOT / "tools").rglob("*.py"))
    if 'if __name__ == "__main__":' in file.read_text("utf-8")
]
PARSERS = {"ArgumentParser", "refuse_arguments"}


def run_module(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_every_command_of_the_tools_parses_its_arguments() -> None:
    assert len(COMMANDS) > 10
    for file in COMMANDS:
        tree = ast.parse(file.read_text("utf-8"))
        calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        names = {getattr(call, "attr", getattr(call, "id", "")) for call in calls}
        assert names & PARSERS, file.relative_to(ROOT)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["tools.setup.lock", "--help"], 0),
        (["tools.setup", "--help"], 0),
        (["tools.setup", "toch"], 2),
        (["tools.write_schema", "policy"], 2),
    ],
    ids=["lock help", "setup help", "wrong layer", "wrong file"],
)
def test_help_and_wrong_arguments_start_nothing(words: list[str], status: int) -> None:
    done = run_module(*words)
    assert done.returncode == status
    assert "usage: python" in (done.stderr if status else done.stdout)
