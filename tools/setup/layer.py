# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Environments on top of `.venv`, for packages that are too heavy for everybody."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from tools.setup import stamp
from tools.setup.environment import FOLDER
from tools.setup.host import SetupError, run

_BASE_PTH = "workspace-base.pth"

_log = logging.getLogger(__name__)


def ensure_layer(venv: Path, base: Path, name: str) -> None:
    """Make or refresh `venv`: what is in `base`, and `requirements/<name>.in`.

    Raises:
        SetupError: A foreign folder is in the way, or pip failed.
    """
    requirements = FOLDER / "requirements" / f"{name}.in"
    base_site = next((base / "lib").glob("python3.*/site-packages"))
    config = (base / "pyvenv.cfg").read_text(encoding="utf-8")
    key = stamp.digest([requirements, Path(__file__)], extra=f"{base_site}\0{config}")
    if stamp.matches(venv, key):
        return
    if venv.exists() and not _is_ours(venv):
        raise SetupError(f"{venv} was not made by this command; move it away and try again")
    shutil.rmtree(venv, ignore_errors=True)
    _log.info("setup: making %s with %s (some minutes on first use)", venv, requirements.name)
    shared = "include-system-site-packages = true" in config
    site = ["--system-site-packages"] if shared else []
    run([(base / "bin/python").resolve(), "-m", "venv", *site, venv])
    # Not a line with the path alone: the .pth files in that folder count too.
    pth = next((venv / "lib").glob("python3.*/site-packages")) / _BASE_PTH
    pth.write_text(f"import site; site.addsitedir({str(base_site)!r})\n", encoding="utf-8")
    pip = [str(venv / "bin/python"), "-m", "pip", "--disable-pip-version-check"]
    run([*pip, "install", "--quiet", "-r", str(requirements)])
    stamp.write(venv, key)


def _is_ours(venv: Path) -> bool:
    return any((venv / "lib").glob(f"python3.*/site-packages/{_BASE_PTH}"))
