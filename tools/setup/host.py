# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The machine: checks for missing tools and runs commands."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from pathlib import Path


class SetupError(Exception):
    """Raised if the workspace cannot be set up; the message states the remedy."""


def check_toolchain() -> None:
    """Raise a SetupError that names each missing tool and its Debian package, if there are any."""
    missing = _missing_tools()
    if missing:
        raise SetupError(
            f"missing: {', '.join(missing)}; "
            f"on Debian and Ubuntu: sudo apt install {' '.join(missing.values())}"
        )


def _missing_tools() -> dict[str, str]:
    """Return the missing tools, each with its Debian package."""
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    header = Path(sysconfig.get_path("include"), "Python.h")
    has_venv = all(importlib.util.find_spec(name) for name in ("venv", "ensurepip"))
    found = [
        ("a C++ compiler", "g++", any(shutil.which(name) for name in ("c++", "g++", "clang++"))),
        ("make", "make", shutil.which("make") is not None),
        ("Python's venv module", f"{python}-venv", has_venv),
        (f"Python's headers ({header})", f"{python}-dev", header.is_file()),
    ]
    return {tool: package for tool, package, present in found if not present}


def run(
    command: Iterable[str | Path], env: Mapping[str, str] | None = None, folder: Path | None = None
) -> None:
    """Run `command` to completion, by default with the caller's environment and folder."""
    words = [str(word) for word in command]
    result = subprocess.run(words, env=env, cwd=folder, check=False)
    if result.returncode != 0:
        raise SetupError(f"`{shlex.join(words)}` failed with status {result.returncode}")


def query(python: Path, expression: str) -> str:
    """Evaluate `expression` in another interpreter, with sysconfig and numpy imported."""
    code = f"import numpy, sysconfig; print({expression})"
    result = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise SetupError(f"`{python} -c '{code}'` failed: {result.stderr.strip()}")
    return result.stdout.strip()
