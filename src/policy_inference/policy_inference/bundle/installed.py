# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Bundles by name: those that are installed with the package."""

from __future__ import annotations

import os
from pathlib import Path

from policy_inference.errors import PolicyError

_BUNDLES = Path("share", "policy_inference", "config", "bundles")


def bundle_folder(name_or_path: str) -> Path:
    """Return the folder of a bundle given by path, or by name where it is installed.

    Raises:
        PolicyError: There is neither.
    """
    folder = Path(name_or_path).expanduser()
    if os.sep in name_or_path or folder.exists():
        return folder
    installed = {entry.name: entry for entry in _installed()}
    if name_or_path in installed:
        return installed[name_or_path]
    names = ", ".join(sorted(installed)) or "none; source the workspace"
    raise PolicyError(f"bundle: expected a bundle folder or one of the installed bundles ({names}),"
                      f" found {name_or_path!r}, which is not in {Path.cwd()} either")


def _installed() -> list[Path]:
    """Return the folders of all installed bundles, those of the workspace sourced last at the end.

    The prefixes are where ROS 2 looks for what packages share (ament_index_python).
    """
    prefixes = filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep))
    folders = [Path(prefix) / _BUNDLES for prefix in prefixes]
    return [entry for folder in reversed(folders) if folder.is_dir()
            for entry in folder.iterdir() if entry.is_dir()]
