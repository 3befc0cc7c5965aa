# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`make setup`: which ROS 2 it chooses, what it refuses, when it does a step again."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from testkit.wording import refusal
from tools.setup.apart import FOR_CPU, install_torch
from tools.setup.environment import FOLDER, ensure_environment, lock_file
from tools.setup.host import SetupError
from tools.setup.lock import LOCKS, PYTHONS, Lock
from tools.setup.reuse import VARIABLE, reuse_or_make
from tools.setup.ros import Ros, find_ros
from tools.setup.wheels import repair_cmake_files

ROOT = Path(__file__).resolve().parents[2]


def ros_installation(folder: Path) -> Path:
    marker = folder / "share/ament_index/resource_index/packages/rclpy"
    marker.parent.mkdir(parents=True)
    marker.touch()
    return folder


@pytest.mark.parametrize(
    ("environment", "kept", "expected"),
    [
        ({}, None, Ros(distro="jazzy", prefix=None)),
        ({"ROS_DISTRO": "kilted"}, "jazzy", Ros(distro="kilted", prefix=None)),
        ({}, "kilted", Ros(distro="kilted", prefix=None)),
        ({"ROS_DISTRO": "humble"}, None, None),
    ],
    ids=["nothing", "asked for", "kept", "without wheels"],
)
def test_without_ros_wheels_of_the_distribution_are_chosen_where_there_are_any(
    tmp_path: Path, environment: dict[str, str], kept: str | None, expected: Ros | None
) -> None:
    if expected is None:
        with refusal(SetupError):
            find_ros(environment, tmp_path, kept)
    else:
        assert find_ros(environment, tmp_path, kept) == expected


def test_a_sourced_ros_is_preferred_unless_it_is_this_or_another_checkout(tmp_path: Path) -> None:
    sourced, own, other = (
        ros_installation(tmp_path / place) for place in ("opt/ros", "checkout/.venv", "other/.venv")
    )
    (other / "pyvenv.cfg").touch()

    def found(prefix: Path) -> Ros:
        given = {"ROS_DISTRO": "jazzy", "AMENT_PREFIX_PATH": f"/nowhere:{prefix}"}
        return find_ros(given, tmp_path / "checkout", None)

    assert found(sourced) == Ros(distro="jazzy", prefix=sourced)
    assert found(own).prefix is None
    with refusal(SetupError):
        found(other)


def test_a_foreign_environment_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with refusal(SetupError):
        ensure_environment(tmp_path, Ros(distro="jazzy", prefix=None))
    assert (tmp_path / "precious").exists()


class Checkouts:
    """Checkouts that keep their environments in one folder; `made` lists those that were made."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.made = folder, list[str]()

    def set_up(self, checkout: str, key: str = "a" * 64) -> Path:
        """Make or reuse the environment of a checkout, with a script and a module."""
        venv = self.folder / checkout / ".venv-tools"

        def make() -> None:
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
            (site,) = venv.glob("lib/python3.*/site-packages")
            (site / "module.py").write_text("import sys\nprefix = sys.prefix\n")
            (venv / "bin" / "tell").write_text(
                f"#!{venv}/bin/python\nimport module\nprint(module.prefix)\n"
            )
            (venv / "bin" / "tell").chmod(0o755)
            (venv / "bin" / "__pycache__").mkdir()
            self.made.append(checkout)

        venv.mkdir(parents=True)
        (venv / "ours").touch()
        reuse_or_make(venv, key, make)
        return venv


@pytest.fixture
def checkouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkouts:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "kept"))
    return Checkouts(tmp_path)


def told_by(venv: Path) -> str:
    return subprocess.run(
        [venv / "bin" / "tell"], check=True, capture_output=True, text=True
    ).stdout


def test_a_second_checkout_uses_the_environment_of_the_first(checkouts: Checkouts) -> None:
    first, second = checkouts.set_up("first"), checkouts.set_up("second")
    assert checkouts.made == ["first"]
    assert [told_by(venv) for venv in (first, second)] == [f"{first}\n", f"{second}\n"]
    shutil.rmtree(first)
    shutil.rmtree(checkouts.folder / "kept")
    assert told_by(second) == f"{second}\n"


def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_made(
    checkouts: Checkouts,
) -> None:
    (checkouts.folder / "kept").touch()
    with refusal(SetupError):
        checkouts.set_up("first")
    assert not checkouts.made


def test_other_packages_need_an_environment_of_their_own(checkouts: Checkouts) -> None:
    checkouts.set_up("first")
    checkouts.set_up("second", key="b" * 64)
    assert checkouts.made == ["first", "second"]


def test_without_the_variable_each_checkout_makes_its_own(
    checkouts: Checkouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE)
    checkouts.set_up("first")
    checkouts.set_up("second")
    assert checkouts.made == ["first", "second"]
    assert not (checkouts.folder / "kept").exists()


KILLED = """
import os, pathlib, signal, sys
from tools.setup.reuse import reuse_or_make

def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

venv = pathlib.Path(sys.argv[1])
venv.mkdir(parents=True)
if sys.argv[2] == "link":
    os.link = kill
else:
    pathlib.Path.rename = kill
reuse_or_make(venv, "a" * 64, lambda: (venv / "half").touch())
"""


@pytest.mark.parametrize("step", ["link", "rename"])
def test_an_environment_that_is_kept_by_half_is_never_used(checkouts: Checkouts, step: str) -> None:
    command = [sys.executable, "-c", KILLED, str(checkouts.folder / "first" / ".venv-tools"), step]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    assert any((checkouts.folder / "kept").iterdir())
    told_by(checkouts.set_up("second"))
    assert checkouts.made == ["second"]


def test_repairing_an_environment_does_not_change_the_one_that_is_kept(tmp_path: Path) -> None:
    kept, linked = tmp_path / "kept.cmake", tmp_path / "venv" / "share" / "one.cmake"
    linked.parent.mkdir(parents=True)
    kept.write_text('"/opt/python/include/python3.11"\n')
    os.link(kept, linked)
    (tmp_path / "venv" / "bin").mkdir()
    (tmp_path / "venv" / "bin" / "python").symlink_to(sys.executable)
    assert repair_cmake_files(tmp_path / "venv") == 1
    assert kept.read_text() == '"/opt/python/include/python3.11"\n'
    assert "/opt/python" not in linked.read_text()


def every_lock() -> list[object]:
    return [
        pytest.param(lock, python, id=f"{lock.name}-{python}")
        for lock in LOCKS
        for python in lock.pythons
    ]


@pytest.mark.parametrize(("lock", "python"), every_lock())
def test_a_lock_pins_every_requirement_by_version_and_hash(lock: Lock, python: str) -> None:
    text = lock_file(lock.name, python).read_text()
    assert "://" not in text
    assert f"on Python {python}" in text
    entries = [line for line in text.replace(" \\\n", " ").splitlines() if line[0] != "#"]
    pinned = {name: rest for name, _, rest in (entry.partition("==") for entry in entries)}
    assert required_packages(lock, python) <= set(pinned)
    assert [
        name
        for name, rest in pinned.items()
        if not re.fullmatch(r"[\w.+!]+( +--hash=sha256:[0-9a-f]{64})+", rest)
    ] == []


ENVIRONMENTS = {
    ".venv": ["jazzy", "kilted", "sourced"],
    ".venv-torch": ["torch"],
    ".venv-docs": ["docs"],
    ".venv-ray": ["ray"],
    ".venv-rknn": ["rknn"],
    ".venv-lerobot": ["lerobot", "jazzy", "kilted"],
}
"""And the locks that what is in them may come from, besides those for all."""
OURS = {"pip", "lerobot-robot-ros2", "lerobot-teleoperator-ros2"}
"""pip comes with Python."""


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_holds_what_the_locks_name_and_nothing_else(name: str) -> None:
    venv = ROOT / name
    if not venv.is_dir():
        pytest.skip(f"no {name} here")
    (site,) = (venv / "lib").glob("python3.*/site-packages")
    python = site.parent.name.removeprefix("python")
    locks = [lock_file(lock, python) for lock in ("builder", "pytorch", *ENVIRONMENTS[name])]
    known = [pin for lock in (*locks, FOR_CPU) if lock.is_file() for pin in pins(lock)]
    # What pip made; wheels of ROS 2 bring egg-info of their parts along.
    installed = [info.stem.rpartition("-") for info in site.glob("*.dist-info")]
    found = {(re.sub(r"[-_.]+", "-", each).lower(), version) for each, _, version in installed}
    assert [one for one in sorted(found - set(known)) if one[0] not in OURS] == []


def pins(lock: Path) -> list[tuple[str, str]]:
    found = re.findall(r"^([a-z0-9-]+)==(\S+)", lock.read_text(), re.MULTILINE)
    return [(str(name), str(version)) for name, version in found]


def test_what_people_and_workflows_install_is_pinned() -> None:
    pages = [*ROOT.glob("docs/*.md"), *ROOT.glob("*.md"), *ROOT.glob("src/*/README.md")]
    unlocked = [
        f"{page.name}: {line.strip()}"
        for page in pages
        for line in page.read_text("utf-8").replace("\\\n", " ").splitlines()
        if re.search(r"pip (install|download)\b.*(-r |--requirement)", line)
        and ("--require-hashes" not in line or "/locks/" not in line)
    ]
    assert unlocked == []
    uses = [
        line.split("uses:")[1]
        for workflow in ROOT.glob(".github/workflows/*")
        for line in workflow.read_text("utf-8").splitlines()
        if "uses:" in line
    ]
    pinned = re.compile(r" [\w./-]+@[0-9a-f]{40}  # v[\d.]+")
    assert uses
    assert [use for use in uses if not pinned.fullmatch(use)] == []


def wheel(folder: Path, name: str, version: str) -> None:
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        file.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")


def pip_from(folder: Path, target: Path) -> list[str]:
    """Return the command that installs what lies in a folder, and nothing else."""
    pip = [sys.executable, "-m", "pip", "--isolated", "install", "--no-index"]
    return [*pip, "--find-links", str(folder), "--target", str(target)]


@pytest.mark.slow
def test_another_pytorch_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in the place of the one for CPUs nor of that for CUDA."""
    for version in ("2.13.0", "2.13.0+cpu"):
        wheel(tmp_path, "torch", version)
    tried = list[list[str]]()

    def note(command: list[str], **options: object) -> subprocess.CompletedProcess[bytes]:
        tried.append([*command])
        done: subprocess.CompletedProcess[bytes] = run_now(command, **options)
        return done

    run_now: Any = subprocess.run
    monkeypatch.setattr("tools.setup.apart.subprocess.run", note)
    monkeypatch.setattr("tools.setup.apart.CPU_INDEX", tmp_path.as_uri())
    with refusal(SetupError):
        install_torch(pip_from(tmp_path, tmp_path / "target"), "3.11")
    assert len(tried) >= 2
    assert not (tmp_path / "target").exists()


def test_pytorch_for_cpus_is_pinned_as_the_other_one_is() -> None:
    text = FOR_CPU.read_text().replace(" \\\n", " ")
    (entry,) = [line for line in text.splitlines() if line[0] != "#"]
    assert re.fullmatch(r"torch==[\d.]+\+cpu( +--hash=sha256:[0-9a-f]{64})+", entry)
    version = entry.partition("+")[0]
    assert all(f"{version} " in lock_file("pytorch", python).read_text() for python in PYTHONS)


def required_packages(lock: Lock, python: str) -> set[str]:
    names = [*lock.requirements, *([lock.alone] if lock.alone else [])]
    lines = [
        line.partition(" #")[0]
        for name in names
        for line in (FOLDER / "requirements" / f"{name}.in").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    return {
        canonicalize_name(one.name)
        for one in map(Requirement, lines)
        if one.marker is None or one.marker.evaluate({"python_version": python})
    }
