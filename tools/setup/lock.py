# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Makes the locks anew: `python3 -m tools.setup.lock` (needs a network, takes a minute).

Versions are resolved by `uv pip compile` for x86-64 Linux, each Python apart. uv lives in a
throw-away environment for as long as that takes.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.setup.environment import FOLDER, REQUIREMENTS, lock_file
from tools.setup.ros import WHEEL_DISTROS

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
VERIFIED = {("jazzy", "3.11"), ("kilted", "3.11")}

_HEADER = """\
# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
# Made by `python3 -m tools.setup.lock`; do not edit.
# {distro} on Python {python}: {state}.
"""

_log = logging.getLogger(__name__)


def write_locks(uv: Path) -> None:
    """Resolve and write every lock.

    Args:
        uv: The program that resolves.

    Raises:
        subprocess.CalledProcessError: A combination has no solution; uv has said why.
    """
    for distro in WHEEL_DISTROS:
        for python in PYTHONS:
            _log.info("lock: %s, Python %s", distro, python)
            lock_file(distro, python).write_text(
                _header(distro, python) + _resolve(uv, distro, python), encoding="utf-8"
            )


def _header(distro: str, python: str) -> str:
    verified = (distro, python) in VERIFIED
    state = "built and tested" if verified else "resolved, not verified by a full run of the tests"
    return _HEADER.format(distro=distro.capitalize(), python=python, state=state)


def _resolve(uv: Path, distro: str, python: str) -> str:
    names = (*REQUIREMENTS, f"ros-{distro}")
    files = [str(FOLDER / "requirements" / f"{name}.in") for name in names]
    options = ["--no-header", "--no-annotate", "--no-config", "--quiet", "--upgrade"]
    platform = ["--python-version", python, "--python-platform", "x86_64-manylinux_2_28"]
    command = [str(uv), "pip", "compile", *options, *platform, *files]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    """Install uv into a temporary environment and write the locks with it."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [f"{folder}/bin/python", "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "uv"], check=True)
        write_locks(Path(folder, "bin", "uv"))


if __name__ == "__main__":
    main()
