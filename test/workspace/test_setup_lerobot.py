# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`make setup-lerobot`: which Python it takes, in which order it installs, what it leaves alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from testkit.wording import refusal
from tools.setup import apart, environment, lerobot
from tools.setup.environment import lock_file
from tools.setup.host import SetupError
from tools.setup.lerobot import ensure_lerobot
from tools.setup.ros import Ros

WHEELS, SOURCED = Ros(distro="jazzy", prefix=None), Ros(distro="humble", prefix=Path("/opt/ros"))
Commands = list[list[str]]


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Note the commands in the place of running them; making an environment makes its folders."""
    noted: Commands = []

    def note(command: list[object]) -> None:
        words = [str(word) for word in command]
        noted.append(words)
        if "venv" in words:
            (Path(words[-1]) / "lib/python3.11/site-packages").mkdir(parents=True)

    for module in (lerobot, environment, apart):
        monkeypatch.setattr(module, "run", note)
    monkeypatch.setattr(lerobot, "install_torch", lambda pip, _: note([*pip, "PyTorch"]))
    return noted


def test_lerobot_is_installed_once_alone_behind_pytorch_and_what_it_imports(
    tmp_path: Path, commands: Commands
) -> None:
    for _ in range(2):
        ensure_lerobot(tmp_path / "venv", (3, 11), SOURCED)

    assert [words[-1] for words in commands] == [
        str(tmp_path / "venv"),
        "PyTorch",
        str(lock_file("builder", "3.11")),
        str(lock_file("lerobot", "3.11")),
        *map(str, lerobot.PLUGINS),
    ]
    assert {"--no-deps", "--require-hashes"} <= set(commands[3])
    hooks = list((tmp_path / "venv").rglob("torchvision_beside_cpu.*"))
    assert sorted(hook.suffix for hook in hooks) == [".pth", ".py"]


def test_ros_comes_along_where_it_comes_from_wheels(tmp_path: Path, commands: Commands) -> None:
    ensure_lerobot(tmp_path / "venv", (3, 11), WHEELS)

    assert {"--no-deps", "--require-hashes"} <= set(commands[4])
    entries = Path(commands[4][-1]).read_text().splitlines()
    names = {entry.split("==")[0] for entry in entries}
    assert {"ros-jazzy-rclpy", "ros-jazzy-sensor-msgs"} <= names
    assert all(entry.startswith("ros-") and "--hash=sha256:" in entry for entry in entries)


def test_an_older_python_is_refused_with_those_that_do(tmp_path: Path, commands: Commands) -> None:
    with refusal(SetupError):
        ensure_lerobot(tmp_path / "venv", (3, 9), WHEELS)
    assert not commands


def test_a_foreign_folder_is_left_alone(tmp_path: Path, commands: Commands) -> None:
    (tmp_path / "venv").mkdir()

    with refusal(SetupError):
        ensure_lerobot(tmp_path / "venv", (3, 11), WHEELS)
    assert not commands


def test_an_environment_with_the_plugins_of_another_checkout_is_made_again(
    tmp_path: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_lerobot(tmp_path / "venv", (3, 11), SOURCED)
    moved = tuple(
        Path(shutil.copytree(plugin, tmp_path / plugin.name)) for plugin in lerobot.PLUGINS
    )
    monkeypatch.setattr(lerobot, "PLUGINS", moved)
    commands.clear()

    ensure_lerobot(tmp_path / "venv", (3, 11), SOURCED)

    assert [words[-1] for words in commands[-2:]] == [str(plugin) for plugin in moved]


def test_another_checkouts_environment_behind_a_link_is_left_alone(
    tmp_path: Path, commands: Commands
) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / ".made-by-setup-lerobot").touch()
    (tmp_path / "venv").symlink_to(tmp_path / "theirs")

    with refusal(SetupError):
        ensure_lerobot(tmp_path / "venv", (3, 11), SOURCED)
    assert not commands
