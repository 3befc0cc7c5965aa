# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Where versions of bundles are installed, and which is in use: `ROOT/NAME/VERSION/`.

`policy_store install`, `activate` and `rollback` write this; a version's folder never changes once
it is there, and the link `ROOT/NAME/current` is switched from one to the other.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from policy_core.bundle.contract import NAME, VERSION
from policy_core.errors import PolicyError

ROOT_VARIABLE = "POLICY_INFERENCE_MODELS"
"""Environment variable: the root, where it is not the default one."""
DEFAULT_ROOT = Path("/opt/models")
CURRENT = "current"
TRIALS_FILE = "trials.jsonl"
"""Name of the record of a bundle's trials, in `ROOT/NAME`."""


def store_root() -> Path:
    """Return the folder with all installed bundles, whether it is there or not."""
    return Path(os.environ.get(ROOT_VARIABLE) or DEFAULT_ROOT).expanduser()


def named_folder(bundle: str) -> Path | None:
    """Return the folder `ROOT/NAME` of an installed bundle, whether it is there or not.

    Args:
        bundle: NAME or NAME@VERSION. None is returned for a path.
    """
    name = bundle.partition("@")[0]
    if os.sep in bundle or not re.fullmatch(NAME, name) or Path(bundle).exists():
        return None
    return store_root() / name


def versions_of(model: Path) -> list[str]:
    """Return the installed versions of a bundle, in the order of their numbers.

    Folders with other names are no versions, and neither is what a link leads to.

    Args:
        model: The folder `ROOT/NAME`; none where it is not there.
    """
    if not model.is_dir():
        return []
    names = [
        entry.name
        for entry in model.iterdir()
        if re.fullmatch(VERSION, entry.name) and entry.is_dir() and not entry.is_symlink()
    ]
    return sorted(names, key=_numbers)


def current_version(model: Path) -> str | None:
    """Return the version in use of the bundle in the folder `ROOT/NAME`; None where there is none.

    Raises:
        PolicyError: What is there is no link to an installed version.
        OSError: The folder cannot be read.
    """
    link = model / CURRENT
    try:
        link.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    target = str(link.readlink()) if link.is_symlink() else ""
    # Relative, so that it means the same where the disk of a robot is mounted on a PC.
    if target not in versions_of(model):
        found = f"a link to {target}" if target else "something else"
        raise PolicyError(
            f"{link}: expected a link to one of the versions beside it "
            f"({', '.join(versions_of(model)) or 'none'}), found {found}; remove it "
            "and choose one with `policy_store activate`"
        )
    return target


def installed_folder(name: str, version: str = "") -> Path | None:
    """Return the folder of an installed version.

    Args:
        name: Of the bundle.
        version: Of the bundle; "" for the one in use.

    Returns:
        The version's own folder, which stays what it is when another one is activated; None where
        none is asked for and none is installed.

    Raises:
        PolicyError: It is no name, or that version is not installed, or none is in use, or
            `current` is broken, or the folder cannot be read.
    """
    if not re.fullmatch(NAME, name):
        raise PolicyError(
            f"bundle: expected the name of an installed bundle, text like {NAME}, "
            f"found {name!r}; `policy_store list` shows them"
        )
    model = store_root() / name
    try:
        there, current = versions_of(model), None if version else current_version(model)
    except OSError as error:
        raise PolicyError(
            f"{error.filename}: expected a folder that can be read, found: "
            f"{error.strerror}; let this user read it"
        ) from error
    if version and version not in there:
        raise PolicyError(
            f"bundle: expected an installed version of {name} "
            f"({', '.join(there) or f'none in {model}'}), found "
            f"{version!r}; install it with `policy_store install`"
        )
    # Never another bundle of that name: a robot that lost its link stays where it is.
    if not version and there and current is None:
        raise PolicyError(
            f"{model / CURRENT}: expected a link to the version in use, one of "
            f"{', '.join(there)}, found nothing; choose one with `policy_store "
            f"activate {name} {there[-1]}`"
        )
    chosen = version or current
    return None if chosen is None else model / chosen


def _numbers(version: str) -> tuple[tuple[int, ...], bool, str]:
    """Order 1.10.0 after 1.9.0, and 1.0.0-rc1 before 1.0.0."""
    release, dash, _ = version.partition("-")
    parts = release.partition("+")[0].split(".")
    numbers = tuple(int(part) for part in parts if part.isdecimal())
    return numbers, not dash, version
