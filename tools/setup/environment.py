# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The virtual environment `.venv`: created once from a lock file; one made by others is refused."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.setup import stamp
from tools.setup.host import SetupError, run
from tools.setup.reuse import VARIABLE, packages_key, reuse_or_make
from tools.setup.ros import Ros
from tools.setup.wheels import repair_cmake_files, write_local_setup

FOLDER = Path(__file__).parent
REQUIREMENTS = ("run", "sim", "tools", "build", "dev")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Versions for which an environment was made; other versions need a new environment.

    Attributes:
        python: Python version, such as `3.11`.
        distro: ROS 2 distribution, such as `jazzy`.
        ros_prefix: Location of the sourced ROS 2; empty for wheels.
    """

    python: str
    distro: str
    ros_prefix: str


def needed_origin(ros: Ros) -> Origin:
    """Return the origin that an environment for this Python and `ros` must have."""
    return Origin(python=_python_version(), distro=ros.distro, ros_prefix=str(ros.prefix or ""))


def read_origin(venv: Path) -> Origin | None:
    """Return the origin of `venv`; None if it does not exist."""
    if not venv.exists():
        return None
    file = _origin_file(venv)
    if not file.is_file():
        raise SetupError(f"{venv} was not made by this command; move it away and try again")
    return Origin(**json.loads(file.read_text(encoding="utf-8")))


def ensure_environment(venv: Path, ros: Ros) -> str:
    """Create or refresh `venv` for `ros`; return a key that identifies its content."""
    lock = known_lock(ros.distro if ros.prefix is None else "sourced", _python_version())
    origin = needed_origin(ros)
    key = stamp.digest([*FOLDER.glob("*.py"), lock], extra=repr(origin))
    if stamp.matches(venv, key):
        return key
    _log.info("setup: making %s for %s (about a minute on first use)", venv, ros.label)
    _prepare(venv, origin)
    # the real file: this may be the python of the environment that is being replaced
    base_python = os.path.realpath(sys.executable)

    def make() -> None:
        if not (venv / "bin/pip").exists():
            site = ["--system-site-packages"] if origin.ros_prefix else []
            run([base_python, "-m", "venv", *site, venv])
        install_locks(install_into(venv), origin.python, lock)

    locks = [known_lock("builder", origin.python), lock]
    reuse_or_make(venv, packages_key(locks, extra=f"{base_python}\0{origin}"), make)
    if ros.prefix is None:
        repair_cmake_files(venv)
        write_local_setup(venv, ros.distro)
    stamp.write(venv, key)
    return key


def lock_file(name: str, python: str) -> Path:
    """Return the path of a lock file for a Python version such as `3.11`."""
    return FOLDER / "locks" / f"{name}-py{python.replace('.', '')}.txt"


def known_lock(name: str, python: str) -> Path:
    """Return the path of a lock file, which must exist."""
    lock = lock_file(name, python)
    if not lock.is_file():
        there = ", ".join(sorted(file.name for file in lock.parent.glob(f"{name}-*.txt")))
        raise SetupError(f"expected the lock file {lock}, found only {there}")
    return lock


def install_into(venv: Path) -> list[str]:
    """Return the command that installs packages into an environment; append their names."""
    return [
        str(venv / "bin/python"),
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
    ]


def install_locks(pip: list[str], python: str, *locks: Path) -> None:
    """Install the build tools for packages without a wheel, then the packages in the locks.

    Args:
        pip: Command that `install_into` returns.
        python: Python version, such as `3.11`.
        locks: Paths of the locks.
    """
    for lock in (known_lock("builder", python), *locks):
        run([*pip, *locked(lock)])


def locked(lock: Path) -> list[str]:
    """Return pip's arguments to install exactly the files in a lock, identified by their hashes.

    A package without a wheel is built in the environment; by default, pip would fetch the newest
    setuptools, which no lock covers.
    """
    return ["--no-deps", "--require-hashes", "--no-build-isolation", "-r", str(lock)]


def _python_version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _prepare(venv: Path, origin: Origin) -> None:
    """Make the folder of an environment; one from an older lock is kept, and pip updates it."""
    found = read_origin(venv)
    if found is not None and (found != origin or os.environ.get(VARIABLE)):
        _log.info("setup: replacing %s, which was made for %s", venv, found)
        shutil.rmtree(venv)
    # first, so that the remains of an interruption are recognized as ours
    venv.mkdir(exist_ok=True)
    _origin_file(venv).write_text(json.dumps(asdict(origin)), encoding="utf-8")


def _origin_file(venv: Path) -> Path:
    return venv / "workspace-origin.json"
