# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Bundles by name: what `model_tools install` put here, and what comes with this package."""

from __future__ import annotations

import os
from pathlib import Path

from policy_inference.bundle.store import CURRENT, installed_folder, store_root, versions_of
from policy_inference.errors import PolicyError

_SHARE = Path("share", "policy_inference", "config", "bundles")


def bundle_folder(name_or_path: str) -> Path:
    """Return the folder of a bundle given by path, or by name where it is installed.

    `NAME@VERSION` is an installed version; `NAME` the one that is in use, else the bundle that
    comes with this package, in the first prefix of AMENT_PREFIX_PATH that has it.

    Raises:
        PolicyError: It is none of these, or what is in use cannot be told.
    """
    folder = Path(name_or_path).expanduser()
    if os.sep in name_or_path or folder.exists():
        return folder
    name, _, version = name_or_path.partition("@")
    if name and (version or name == name_or_path):
        installed = installed_folder(name, version)
        if installed is not None:
            return installed
    prefixes = [prefix for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(":") if prefix]
    shipped = next((path for prefix in prefixes if (path := Path(prefix, _SHARE)).is_dir()), None)
    if shipped and (shipped / name_or_path).is_dir():
        return shipped / name_or_path
    names = {entry.name for entry in shipped.iterdir() if entry.is_dir()} if shipped else set()
    listed = sorted(names | _in_use()) or ["none; source the workspace"]
    idle = versions_of(store_root() / name)
    remedy = f"; {name} is installed, but no version is in use: " \
             f"`model_tools activate {name} {idle[-1]}`" if idle else ""  # fmt: skip
    raise PolicyError(f"bundle: expected a bundle folder or one of the installed bundles "
                      f"({', '.join(listed)}), found {name_or_path!r}, which is not in "
                      f"{Path.cwd()} either{remedy}")


def _in_use() -> set[str]:
    return {link.parent.name for link in store_root().glob(f"*/{CURRENT}")}
