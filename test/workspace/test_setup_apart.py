# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`make setup-lerobot`, `make setup-rknn`: Pythons, what is installed, what is left alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from testkit.wording import refusal
from tools.setup import apart, environment, lerobot, rknn
from tools.setup.host import SetupError
from tools.setup.lerobot import ensure_lerobot
from tools.setup.rknn import ensure_toolkit
from tools.setup.ros import Ros

WHEELS, SOURCED = Ros(distro="jazzy", prefix=None), Ros(distro="humble", prefix=Path("/opt/ros"))
Commands = list[list[str]]
Version = tuple[int, int]
Ensure = Callable[[Path, Version], object]
HASHED = {"--no-deps", "--require-hashes"}


def lerobot_beside_ros(venv: Path, python: Version) -> None:
    ensure_lerobot(venv, python, SOURCED)


@pytest.fixture
def noted_commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Note the commands in the place of running them; making an environment makes its folders."""
    noted: Commands = []

    def note(command: list[object]) -> None:
        words = [str(word) for word in command]
        noted.append(words)
        if "venv" in words:
            (Path(words[-1]) / "lib/python3.11/site-packages").mkdir(parents=True)

    for module in (lerobot, environment, apart):
        monkeypatch.setattr(module, "run", note)
    for module in (lerobot, rknn):
        monkeypatch.setattr(module, "install_torch", lambda pip, _: note([*pip, "PyTorch"]))
    return noted


@pytest.mark.parametrize(
    ("ensure", "python"),
    [(lerobot_beside_ros, (3, 9)), (ensure_toolkit, (3, 9)), (ensure_toolkit, (3, 13))],
)
def test_a_python_without_a_lock_is_refused_with_those_that_have_one(
    tmp_path: Path, noted_commands: Commands, ensure: Ensure, python: Version
) -> None:
    with refusal(SetupError):
        ensure(tmp_path / "venv", python)
    assert not noted_commands


@pytest.mark.parametrize("ensure", [lerobot_beside_ros, ensure_toolkit])
def test_a_foreign_folder_is_left_alone(
    tmp_path: Path, noted_commands: Commands, ensure: Ensure
) -> None:
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "precious").touch()

    with refusal(SetupError):
        ensure(tmp_path / "venv", (3, 11))
    assert (tmp_path / "venv" / "precious").exists()
    assert not noted_commands


def test_ros_comes_along_with_lerobot_where_it_comes_from_wheels(
    tmp_path: Path, noted_commands: Commands
) -> None:
    ensure_lerobot(tmp_path / "venv", (3, 11), WHEELS)

    assert set(noted_commands[4]) >= HASHED
    entries = Path(noted_commands[4][-1]).read_text().splitlines()
    names = {entry.split("==")[0] for entry in entries}
    assert {"ros-jazzy-rclpy", "ros-jazzy-sensor-msgs"} <= names
    assert all(entry.startswith("ros-") and "--hash=sha256:" in entry for entry in entries)
