# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Environments that checkouts share: made once for each set of locks, then linked file by file.

The variable POLICY_ENVIRONMENTS names the folder that keeps them; without it, each checkout makes
its own. The folder may be deleted at any time, since a checkout's environment consists of hard
links, or of copies on another file system.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tools.setup import stamp
from tools.setup.host import SetupError

VARIABLE = "POLICY_ENVIRONMENTS"
_INSTALLERS = ("apart.py", "environment.py", "layer.py", "reuse.py")
"""Modules of this folder that decide how packages are installed."""
_ORIGIN = ".made-at"
"""File in a kept environment with the path at which it was made, which its scripts contain."""

_log = logging.getLogger(__name__)


def packages_key(locks: Sequence[Path], extra: str) -> str:
    """Return a hash of all that the packages of an environment depend on.

    Args:
        locks: Lock files that are installed.
        extra: What else the content depends on.
    """
    installers = [Path(__file__).with_name(name) for name in _INSTALLERS]
    return stamp.digest([*locks, *installers], extra=f"{sys.version}\0{extra}")


def reuse_or_make(venv: Path, key: str, make: Callable[[], None]) -> None:
    """Make an environment, or take the one that was kept under the same key.

    Args:
        venv: Folder of the environment. It contains nothing but the file that marks it as made by
            this command, so that the remains of an interruption are recognized.
        key: Hash of `packages_key`.
        make: Creates the environment in the folder, with all packages that do not depend on the
            checkout.
    """
    folder = os.environ.get(VARIABLE)
    if not folder:
        make()
        return
    kept = _require_folder(folder) / f"{venv.name.lstrip('.')}-{key[:32]}"
    if kept.is_dir():
        _log.info("setup: taking %s from %s", venv, kept)
        _link_tree(kept, venv)
        _move_scripts(venv, (venv / _ORIGIN).read_text(encoding="utf-8"))
        return
    make()
    _keep(venv, kept)


def _require_folder(name: str) -> Path:
    folder = Path(name).expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"{VARIABLE}: expected a folder, found: {error}") from error
    return folder


def _keep(venv: Path, kept: Path) -> None:
    """Keep an environment; it appears under its name only when it is complete."""
    with tempfile.TemporaryDirectory(prefix="unfinished-", dir=kept.parent) as folder:
        unfinished = Path(folder, "venv")
        _link_tree(venv, unfinished)
        (unfinished / _ORIGIN).write_text(str(venv), encoding="utf-8")
        if not kept.exists():  # another checkout may have kept the same meanwhile
            unfinished.rename(kept)


def _link_tree(source: Path, target: Path) -> None:
    shutil.copytree(source, target, symlinks=True, copy_function=_link, dirs_exist_ok=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # on another file system; or the file that marks an environment
        shutil.copy2(source, target)


def _move_scripts(venv: Path, old: str) -> None:
    """Let the scripts of an environment that was made elsewhere start its own Python."""
    for file in [venv / "pyvenv.cfg", *(venv / "bin").iterdir()]:
        content = b"" if file.is_symlink() or file.is_dir() else file.read_bytes()
        if old.encode() in content:
            mode = file.stat().st_mode
            file.unlink()  # other environments have the same file
            file.write_bytes(content.replace(old.encode(), str(venv).encode()))
            file.chmod(mode)
