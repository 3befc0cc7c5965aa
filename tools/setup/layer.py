# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Environments on top of `.venv`, for packages that only some users need."""

from __future__ import annotations

import logging
import shutil
import sys
from pathlib import Path

from tools.setup import stamp
from tools.setup.apart import FOR_CPU, install_torch
from tools.setup.environment import FOLDER, install_into, install_locks, known_lock
from tools.setup.host import SetupError, run
from tools.setup.reuse import packages_key, reuse_or_make

_BASE_PTH, _OURS = "workspace-base.pth", ".made-by-setup"

_log = logging.getLogger(__name__)


def ensure_layer(venv: Path, base: Path, name: str) -> None:
    """Create or refresh `venv`, with the packages of `base` and of the lock `name`.

    The layer `torch` also contains PyTorch.
    """
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    lock = known_lock(name, python)
    base_site = next((base / "lib").glob("python3.*/site-packages"))
    config = (base / "pyvenv.cfg").read_text(encoding="utf-8")
    base_python = (base / "bin/python").resolve()
    shared = "include-system-site-packages = true" in config
    torch_locks = [known_lock("pytorch", python), FOR_CPU] if name == "torch" else []
    locks = [known_lock("builder", python), *torch_locks, lock]
    key = stamp.digest([*locks, *FOLDER.glob("*.py")], extra=f"{base_site}\0{config}")
    if stamp.matches(venv, key):
        return
    if venv.exists() and not _is_ours(venv):
        raise SetupError(f"{venv} was not made by this command; move it away and try again")
    shutil.rmtree(venv, ignore_errors=True)
    venv.mkdir()
    (venv / _OURS).touch()
    _log.info("setup: making %s (a few minutes on first use)", venv)

    def make() -> None:
        site = ["--system-site-packages"] if shared else []
        run([base_python, "-m", "venv", *site, venv])
        pip = install_into(venv)
        if name == "torch":
            install_torch(pip, python)
        install_locks(pip, python, lock)

    reuse_or_make(venv, packages_key(locks, extra=f"{base_python}\0{shared}"), make)
    # not a line with only the path: the .pth files in that folder must be read, too
    pth = next((venv / "lib").glob("python3.*/site-packages")) / _BASE_PTH
    pth.write_text(f"import site; site.addsitedir({str(base_site)!r})\n", encoding="utf-8")
    stamp.write(venv, key)


def _is_ours(venv: Path) -> bool:
    return (venv / _OURS).exists()
