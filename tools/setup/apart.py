# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Environments apart from `.venv`, for packages that need versions which nothing else should."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from pathlib import Path

from tools.setup.environment import install_into
from tools.setup.host import SetupError, run

TORCH = "torch==2.13.0"
_CPU_INDEX = "https://download.pytorch.org/whl/cpu"

_log = logging.getLogger(__name__)


def make_anew(venv: Path, mark: str) -> list[str]:
    """Make an empty environment of this Python in the place of an older one of ours.

    Args:
        venv: Where.
        mark: Name of the file by which it is known as ours.

    Returns:
        The command to install into it, without what.

    Raises:
        SetupError: A foreign folder, or a link to one, is in the way.
    """
    if venv.is_symlink():
        raise SetupError(f"{venv} leads to {venv.resolve()}, whose owner may need it as it is; "
                         "remove the link and try again")
    if venv.exists() and not (venv / mark).exists():
        raise SetupError(f"{venv} was not made by this command; move it away and try again")
    shutil.rmtree(venv, ignore_errors=True)
    run([Path(sys.executable).resolve(), "-m", "venv", venv])
    (venv / mark).touch()
    return install_into(venv)


def install_torch(pip: list[str]) -> None:
    """Install PyTorch: a build for CPUs, alone, where there is such a build.

    It is in no lock: builds for CPUs are on an index of their own, and neither that nor which one
    a machine gets is known before. Nothing that runs on a robot needs it.
    """
    for source in ([], ["--index-url", _CPU_INDEX]):
        command = [*pip, "--no-deps", "--retries", "1", f"{TORCH}+cpu", *source]
        if subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0:
            return
    _log.warning("setup: no %s for CPUs was found; taking the one for CUDA", TORCH)
    run([*pip, TORCH])
