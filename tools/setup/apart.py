# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Separate environments next to `.venv`, for packages whose versions conflict with it."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.setup.environment import (
    FOLDER,
    install_into,
    install_locks,
    known_lock,
    locked,
)
from tools.setup.host import SetupError, run
from tools.setup.reuse import packages_key, reuse_or_make

FOR_CPU = FOLDER / "requirements" / "pytorch-cpu.txt"
_MORE = "more.txt"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"

_log = logging.getLogger(__name__)


def require_python(
    version: tuple[int, int], offered: Sequence[tuple[int, int]], what: str, remedy: str
) -> str:
    """Return a version as text, such as `3.11`; raise SetupError if `what` does not support it."""
    if version not in offered:
        names = ", ".join(f"{major}.{minor}" for major, minor in offered)
        raise SetupError(
            f"expected Python {names} for {what}, found {version[0]}.{version[1]} at "
            f"{sys.executable}; choose one with `{remedy}`"
        )
    return f"{version[0]}.{version[1]}"


def make_apart(venv: Path, mark: str, python: str, lock: Path, more: str = "") -> None:
    """Create an environment with PyTorch and a lock's packages; replace any made earlier.

    Args:
        venv: Folder of the environment.
        mark: Name of the file that marks environments made by this command.
        python: Version of this Python, such as `3.11`.
        lock: Lock file of the packages.
        more: Further lines of a lock, with packages that are installed last.
    """
    if venv.is_symlink():
        raise SetupError(
            f"{venv} is a link to {venv.resolve()}, which may be needed unchanged elsewhere; "
            "remove the link and try again"
        )
    if venv.exists() and not (venv / mark).exists():
        raise SetupError(f"{venv} was not made by this command; move it away and try again")
    shutil.rmtree(venv, ignore_errors=True)
    venv.mkdir()
    (venv / mark).touch()
    base_python = Path(sys.executable).resolve()

    def make() -> None:
        run([base_python, "-m", "venv", venv])
        pip = install_into(venv)
        install_torch(pip, python)
        install_locks(pip, python, lock)
        if more:
            (venv / _MORE).write_text(more, encoding="utf-8")
            run([*pip, *locked(venv / _MORE)])

    locks = [known_lock("builder", python), known_lock("pytorch", python), FOR_CPU, lock]
    reuse_or_make(venv, packages_key(locks, extra=f"{base_python}\0{more}"), make)


def install_torch(pip: list[str], python: str) -> None:
    """Install PyTorch: the CPU build if it is available, otherwise the CUDA build.

    CPU builds have their own index, which not every machine can reach.

    Args:
        pip: Command that `install_into` returns.
        python: Python version, such as `3.11`.
    """
    for source in ([], ["--index-url", CPU_INDEX]):
        command = [*pip, "--retries", "1", *locked(FOR_CPU), *source]
        if subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0:
            return
    _log.warning("setup: found no CPU build of PyTorch for %s; using the CUDA build", FOR_CPU)
    run([*pip, *locked(known_lock("pytorch", python))])
