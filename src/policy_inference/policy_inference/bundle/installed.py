# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Bundles by name: those that are installed with this package."""

from __future__ import annotations

import os
from pathlib import Path

from policy_inference.errors import PolicyError

_SHARE = Path("share", "policy_inference", "config", "bundles")


def bundle_folder(name_or_path: str) -> Path:
    """Return the folder of a bundle given by path, or by name where it is installed.

    Installed ones are in the first prefix of AMENT_PREFIX_PATH that has this package.

    Raises:
        PolicyError: It is neither.
    """
    folder = Path(name_or_path).expanduser()
    if os.sep in name_or_path or folder.exists():
        return folder
    prefixes = [prefix for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(":") if prefix]
    installed = next((path for prefix in prefixes if (path := Path(prefix, _SHARE)).is_dir()), None)
    if installed and (installed / name_or_path).is_dir():
        return installed / name_or_path
    listed = sorted(entry.name for entry in installed.iterdir() if entry.is_dir()) if installed \
        else ["none; source the workspace"]
    raise PolicyError(f"bundle: expected a bundle folder or one of the installed bundles "
                      f"({', '.join(listed)}), found {name_or_path!r}, which is not in "
                      f"{Path.cwd()} either")
