# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`make setup-lerobot`, `make setup-rknn`: Pythons, what is installed, what is left alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from testkit.wording import refusal
from tools.setup import apart, environment, lerobot, rknn
from tools.setup.environment import lock_file
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


def test_lerobot_is_installed_once_alone_behind_pytorch_and_what_it_imports(
    tmp_path: Path, noted_commands: Commands
) -> None:
    for _ in range(2):
        ensure_lerobot(tmp_path / "venv", (3, 11), SOURCED)

    assert [words[-1] for words in noted_commands] == [
        str(tmp_path / "venv"),
        "PyTorch",
        str(lock_file("builder", "3.11")),
        str(lock_file("lerobot", "3.11")),
        *map(str, lerobot.PLUGINS),
    ]
    assert set(noted_commands[3]) >= HASHED
    hooks = list((tmp_path / "venv").rglob("torchvision_beside_cpu.*"))
    assert sorted(hook.suffix for hook in hooks) == [".pth", ".py"]


def test_ros_comes_along_with_lerobot_where_it_comes_from_wheels(
    tmp_path: Path, noted_commands: Commands
) -> None:
    ensure_lerobot(tmp_path / "venv", (3, 11), WHEELS)

    assert set(noted_commands[4]) >= HASHED
    entries = Path(noted_commands[4][-1]).read_text().splitlines()
    names = {entry.split("==")[0] for entry in entries}
    assert {"ros-jazzy-rclpy", "ros-jazzy-sensor-msgs"} <= names
    assert all(entry.startswith("ros-") and "--hash=sha256:" in entry for entry in entries)


def test_the_toolkit_is_installed_once_behind_what_it_needs_and_again_for_another_python(
    tmp_path: Path, noted_commands: Commands
) -> None:
    for _ in range(2):
        ensure_toolkit(tmp_path / "venv", (3, 12))

    installed = [words[-1] for words in noted_commands]
    locks = [str(lock_file(name, "3.12")) for name in ("builder", "rknn")]
    assert installed == [str(tmp_path / "venv"), "PyTorch", *locks]
    assert all(set(words) >= HASHED for words in noted_commands[2:])

    (tmp_path / "venv" / "old").touch()
    ensure_toolkit(tmp_path / "venv", (3, 11))
    assert not (tmp_path / "venv" / "old").exists()
