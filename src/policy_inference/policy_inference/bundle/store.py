# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Where versions of bundles are installed, and which is in use: `ROOT/NAME/VERSION/`.

`model_tools install`, `activate` and `rollback` write this; a version's folder never changes once
it is there, and the link `ROOT/NAME/current` is switched from one to the other.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePath

from policy_inference.errors import PolicyError

ROOT_VARIABLE = "POLICY_INFERENCE_MODELS"
"""Environment variable: the root, where it is not the default one."""
DEFAULT_ROOT = Path("/opt/models")
CURRENT = "current"
_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+([-+].*)?")
"""Folders with other names are somebody else's."""


def store_root() -> Path:
    """Return the folder with all installed bundles, whether it is there or not."""
    return Path(os.environ.get(ROOT_VARIABLE) or DEFAULT_ROOT).expanduser()


def versions_of(model: Path) -> list[str]:
    """Return the installed versions of a bundle, in the order of their numbers.

    Args:
        model: The folder `ROOT/NAME`; none where it is not there.
    """
    if not model.is_dir():
        return []
    names = [entry.name for entry in model.iterdir()
             if _VERSION.fullmatch(entry.name) and entry.is_dir() and not entry.is_symlink()]
    return sorted(names, key=_numbers)


def current_version(model: Path) -> str | None:
    """Return the version in use of the bundle in the folder `ROOT/NAME`; None where there is none.

    Raises:
        PolicyError: What is there is no link to an installed version.
    """
    link = model / CURRENT
    if not os.path.lexists(link):
        return None
    target = str(link.readlink()) if link.is_symlink() else ""
    # Relative, so that it means the same where the disk of a robot is mounted on a PC.
    if not target or target != PurePath(target).name or not (model / target).is_dir():
        found = f"a link to {target}" if target else "something else"
        raise PolicyError(f"{link}: expected a link to one of the versions beside it "
                          f"({', '.join(versions_of(model)) or 'none'}), found {found}; remove it "
                          "and choose one with `model_tools activate`")
    return target


def installed_folder(name: str, version: str = "") -> Path | None:
    """Return the folder of an installed version.

    Args:
        name: Of the bundle.
        version: Of the bundle; "" for the one in use.

    Returns:
        The version's own folder, which stays what it is when another one is activated; None where
        no version is in use.

    Raises:
        PolicyError: That version is not installed, or `current` is broken.
    """
    model = store_root() / name
    if not version:
        current = current_version(model)
        return None if current is None else model / current
    if version not in versions_of(model):
        raise PolicyError(f"bundle: expected an installed version of {name} "
                          f"({', '.join(versions_of(model)) or f'none in {model}'}), found "
                          f"{version!r}; install it with `model_tools install`")
    return model / version


def _numbers(version: str) -> tuple[tuple[int, ...], bool, str]:
    """Order 1.10.0 after 1.9.0, and 1.0.0-rc1 before 1.0.0."""
    release, dash, _ = version.partition("-")
    parts = release.partition("+")[0].split(".")
    numbers = tuple(int(part) for part in parts if part.isdecimal())
    return numbers, not dash, version
