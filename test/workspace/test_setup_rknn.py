# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`make setup-rknn`: which Python it takes, what it leaves alone, when it does nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from testkit.wording import refusal
from tools.setup import apart, environment, rknn
from tools.setup.environment import lock_file
from tools.setup.host import SetupError
from tools.setup.rknn import ensure_toolkit

Commands = list[list[str]]


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Note the commands in the place of running them; making an environment makes its folder."""
    noted: Commands = []

    def note(command: list[object]) -> None:
        words = [str(word) for word in command]
        noted.append(words)
        if "venv" in words:
            Path(words[-1]).mkdir()

    for module in (environment, apart):
        monkeypatch.setattr(module, "run", note)
    monkeypatch.setattr(rknn, "install_torch", lambda pip, _: note([*pip, "PyTorch"]))
    return noted


@pytest.mark.parametrize("version", [(3, 9), (3, 13)])
def test_a_python_without_a_toolkit_is_refused_with_those_that_have_one(
    tmp_path: Path, commands: Commands, version: tuple[int, int]
) -> None:
    with refusal(SetupError):
        ensure_toolkit(tmp_path / "venv", version)
    assert not commands


def test_the_toolkit_is_installed_once_behind_what_it_needs(
    tmp_path: Path, commands: Commands
) -> None:
    for _ in range(2):
        ensure_toolkit(tmp_path / "venv", (3, 12))

    installed = [words[-1] for words in commands]
    locks = [str(lock_file(name, "3.12")) for name in ("builder", "rknn")]
    assert installed == [str(tmp_path / "venv"), "PyTorch", *locks]
    assert all({"--no-deps", "--require-hashes"} <= set(words) for words in commands[2:])


def test_another_python_makes_it_again(tmp_path: Path, commands: Commands) -> None:
    ensure_toolkit(tmp_path / "venv", (3, 11))
    (tmp_path / "venv" / "old").touch()

    ensure_toolkit(tmp_path / "venv", (3, 12))

    assert not (tmp_path / "venv" / "old").exists()


def test_a_foreign_folder_is_left_alone(tmp_path: Path, commands: Commands) -> None:
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "precious").touch()

    with refusal(SetupError):
        ensure_toolkit(tmp_path / "venv", (3, 12))
    assert (tmp_path / "venv" / "precious").exists()
    assert not commands
