# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Updates the locks: `python3 -m tools.setup.lock` (Python 3.11 or newer, a network, a minute).

A lock lists each package with its version and the hashes of its files, so that pip installs exactly
those files: Linux wheels for the lock's Python, or the source if there is no wheel. uv, in a
temporary environment, resolves the versions.
"""

from __future__ import annotations

import importlib
import logging
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.arguments import refuse_arguments
from tools.setup.environment import FOLDER, REQUIREMENTS, lock_file
from tools.setup.ros import WHEEL_DISTROS

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
VERIFIED = {
    (name, "3.11") for name in ("jazzy", "kilted", "torch", "docs", "ray", "rknn", "lerobot")
}
VERIFIED.add(("lerobot", "3.12"))

_HEADER = """\
# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
# Made by `python3 -m tools.setup.lock`; do not edit.
# {what}, on Python {python}: {state}.
"""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A group of packages that are resolved together.

    Attributes:
        name: First part of the names of the lock files.
        what: Description of the group.
        requirements: Names of requirements files.
        alone: Name of a requirements file whose packages are installed without their dependencies.
        beside_ros: True if the constraints of a sourced ROS 2 apply.
        with_torch: True if the lock includes PyTorch, instead of relying on a separate
            installation.
        pythons: Python versions, each of which has its own lock file.
        machines: Architectures.
    """

    name: str
    what: str
    requirements: tuple[str, ...]
    alone: str = ""
    beside_ros: bool = False
    with_torch: bool = False
    pythons: tuple[str, ...] = PYTHONS
    machines: tuple[str, ...] = ("x86_64",)


_EVERY_ROBOT = ("x86_64", "aarch64")
# the wheels of ROS 2, of MuJoCo and of the training environments exist for x86_64
LOCKS = (
    *(
        Lock(
            name=distro,
            what=f"The workspace with ROS 2 {distro.capitalize()} from wheels",
            requirements=(*REQUIREMENTS, "dds", f"ros-{distro}"),
        )
        for distro in WHEEL_DISTROS
    ),
    Lock(
        name="sourced",
        what="The workspace beside a ROS 2 that is sourced",
        requirements=REQUIREMENTS,
        beside_ros=True,
        pythons=("3.10", "3.12"),
        machines=_EVERY_ROBOT,
    ),
    Lock(
        name="robot",
        what="What runs on a robot",
        requirements=("run",),
        beside_ros=True,
        pythons=("3.10", "3.11", "3.12"),
        machines=_EVERY_ROBOT,
    ),
    Lock(
        name="robot-tools",
        what="What runs, simulates and compares on a robot's board",
        requirements=("run", "sim", "tools"),
        beside_ros=True,
        pythons=("3.10", "3.11", "3.12"),
        machines=_EVERY_ROBOT,
    ),
    Lock(
        name="build",
        what="What builds the workspace where colcon is not there",
        requirements=("build",),
        beside_ros=True,
        pythons=("3.10", "3.11", "3.12"),
        machines=_EVERY_ROBOT,
    ),
    Lock(
        name="builder",
        what="What pip builds packages with that have no wheel",
        requirements=("builder",),
    ),
    Lock(
        name="pytorch",
        what="PyTorch with CUDA, where none for CPUs can be had",
        requirements=("pytorch",),
        with_torch=True,
    ),
    Lock(
        name="torch",
        what="Training, beside PyTorch",
        requirements=("torch",),
        alone="torch-alone",
    ),
    Lock(
        name="ray",
        what="Ray, for `model_tools evaluate --ray`",
        requirements=("ray",),
        alone="ray-alone",
    ),
    Lock(name="docs", what="What builds the documentation", requirements=("docs",)),
    Lock(
        name="rknn",
        what="RKNN Toolkit2, beside PyTorch",
        requirements=("rknn",),
        alone="rknn-alone",
        pythons=("3.10", "3.11", "3.12"),
    ),
    Lock(
        name="lerobot",
        what="LeRobot, beside PyTorch",
        requirements=("lerobot",),
        alone="lerobot-alone",
    ),
)


def write_locks(uv: Path) -> None:
    """Resolve and write every lock.

    Args:
        uv: Path of the program uv.
    """
    for lock in LOCKS:
        for python in lock.pythons:
            _log.info("lock: %s, Python %s", lock.name, python)
            verified = (lock.name, python) in VERIFIED
            state = (
                "built and tested"
                if verified
                else "resolved, not verified by a full run of the tests"
            )
            header = _HEADER.format(what=lock.what, python=python, state=state)
            lock_file(lock.name, python).write_text(header + _resolve(uv, lock, python), "utf-8")


def _resolve(uv: Path, lock: Lock, python: str) -> str:
    """Return the text of a lock; the first architecture determines the versions."""
    options = [] if lock.with_torch else ["--override", str(_input("pytorch-apart.txt"))]
    if lock.beside_ros:
        options += ["-c", str(_input("sourced-constraints.txt"))]
    files = [str(_input(f"{name}.in")) for name in lock.requirements]
    alone = [str(_input(f"{lock.alone}.in"))] if lock.alone else []
    versions: dict[str, str] = {}
    hashes: dict[str, set[str]] = {}
    for machine in lock.machines:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as chosen:
            chosen.writelines(f"{name}=={version}\n" for name, version in versions.items())
            chosen.flush()
            where = [
                "--python-version",
                python,
                "--python-platform",
                f"{machine}-manylinux_2_28",
                "-c",
                chosen.name,
            ]
            found = _compile(uv, [*options, *where, *files])
            if alone:
                found += _compile(uv, ["--no-deps", *where, *alone])
        for package in found:
            versions[package["name"]] = package["version"]
            sources = package.get("wheels") or [package["sdist"]]
            hashes.setdefault(package["name"], set()).update(
                source["hashes"]["sha256"] for source in sources
            )
    return "".join(_entry(name, versions[name], sorted(hashes[name])) for name in sorted(versions))


def _input(name: str) -> Path:
    return FOLDER / "requirements" / name


def _compile(uv: Path, arguments: Sequence[str]) -> list[dict[str, Any]]:
    command = [
        str(uv),
        "pip",
        "compile",
        "--no-config",
        "--quiet",
        "--format",
        "pylock.toml",
        *arguments,
    ]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    # not in the standard library of Python 3.10, which the rest supports
    packages: list[dict[str, Any]] = importlib.import_module("tomllib").loads(text)["packages"]
    return packages


def _entry(name: str, version: str, hashes: Sequence[str]) -> str:
    words = [f"{name}=={version}", *(f"--hash=sha256:{one}" for one in hashes)]
    return " \\\n    ".join(words) + "\n"


def main() -> None:
    """Install uv into a temporary environment, and write the locks with it."""
    refuse_arguments("tools.setup.lock", __doc__)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [f"{folder}/bin/python", "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "uv"], check=True)
        write_locks(Path(folder, "bin", "uv"))


if __name__ == "__main__":
    main()
