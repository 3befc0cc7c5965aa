# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A wrong command of a page fails, however it is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from testkit.pages.__main__ import main as write_table
from testkit.pages.commands import PageCommand
from testkit.pages.options import RunOptions
from testkit.pages.running import CommandResult, run_page


def run(folder: Path, *texts: str, **options: str | float) -> list[str]:
    commands = [
        PageCommand(
            page="page.md",
            line=line,
            section=0,
            text=text,
            options=RunOptions(**options),  # type: ignore[arg-type]  # each of its own type
        )
        for line, text in enumerate(texts, 1)
    ]
    return [result.result for result in run_page(commands, folder)]


@pytest.mark.parametrize(
    "text",
    [
        "no_such_program",
        "no_such_program | cat",
        "cat /no/such/file | cat",
        "no_such_program; true",
        "false; true",
        "false && true",
        "no_such_program || true",
        "echo $(no_such_program)",
        "no_such_program &",
        "ls /no/such/file &",
        "for file in a b; do no_such_program $file || break; done",
        "ls \\\n  /no/such/file",
        "cat /no/such/file > copy << EOF\ntext\nEOF",
        "ls “src”",
    ],
)
def test_a_wrong_command_fails(text: str, tmp_path: Path) -> None:
    assert run(tmp_path, text) == ["failed"]


def test_a_command_that_hangs_fails(tmp_path: Path) -> None:
    assert run(tmp_path, "sleep 60", limit_s=0.5) == ["failed"]


def test_a_command_that_ends_is_not_one_that_runs_until_ctrl_c(tmp_path: Path) -> None:
    assert run(tmp_path, "echo usage; exit 2", ready=".") == ["failed"]


@pytest.mark.parametrize(
    "text",
    [
        "yes | head -1",
        "true && true",
        "false || [ $? = 1 ]",
        "if false; then true; fi",
        pytest.param("sleep 60 &", marks=pytest.mark.slow),
        "cat > copy << EOF\n# text\nEOF",
        "for file in src docs; do ls $file || break; done",
    ],
)
def test_a_right_command_passes(text: str, tmp_path: Path) -> None:
    assert run(tmp_path, text) == ["passed"]


def test_variables_and_the_folder_last_until_the_next_command(tmp_path: Path) -> None:
    texts = ("mkdir made && cd made", "KEPT=a", '[ $KEPT = a ] && [ "$(basename "$PWD")" = made ]')
    assert run(tmp_path, *texts) == ["passed"] * 3


def test_the_expected_status_is_the_one_that_passes(tmp_path: Path) -> None:
    assert run(tmp_path, "(exit 3)", status=3) == ["passed"]


@pytest.mark.parametrize(
    ("results", "status"),
    [([], 1), (["failed"], 1), (["passed", "skipped"], 0)],
)
def test_the_table_tells_whether_pages_ran_and_passed(
    results: list[str], status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, result in enumerate(results):
        row = CommandResult(page="page.md", line=number, command="ls", result=result).to_json()
        (tmp_path / f"{number}.json").write_text(json.dumps([row]), "utf-8")
    monkeypatch.setattr("sys.argv", ["testkit.pages", str(tmp_path)])
    assert write_table() == status
