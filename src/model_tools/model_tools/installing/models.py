# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The installed bundles: their folders, what lies in them, and whether it is whole."""

from __future__ import annotations

import os
import re
from pathlib import Path

from model_tools.errors import ToolError
from model_tools.installing.durable import is_hidden
from model_tools.installing.record import changed_files
from policy_inference.bundle.contract import NAME
from policy_inference.bundle.load import BundleFolder, load_any_bundle
from policy_inference.bundle.record import RECORD_FILE, require_recorded
from policy_inference.bundle.signature import TrustedKeys
from policy_inference.bundle.store import CURRENT, versions_of
from policy_inference.bundle.verified import sha256_of
from policy_inference.errors import BundleError


def models_in(root: Path) -> list[Path]:
    """Return the folders of all bundles that are installed below a root, in order.

    One of which only the link `current` is left is among them.
    """
    if not root.is_dir():
        return []
    return sorted(folder for folder in root.iterdir() if re.fullmatch(NAME, folder.name)
                  and (versions_of(folder) or os.path.lexists(folder / CURRENT)))  # fmt: skip


def model_folder(root: Path, name: str) -> Path:
    """Return the folder of an installed bundle.

    Raises:
        ToolError: No version of it is installed.
    """
    known = [folder.name for folder in models_in(root)]
    if name not in known:
        raise ToolError(f"{root}: expected an installed bundle ({', '.join(known) or 'none'}), "
                        f"found {name!r}; install it with `model_tools install`, or name another "
                        "--root")
    return root / name


def version_folder(model: Path, version: str) -> Path:
    """Return the folder of an installed version.

    Raises:
        ToolError: It is not installed.
    """
    known = versions_of(model)
    if version not in known:
        raise ToolError(f"{model}: expected an installed version ({', '.join(known)}), found "
                        f"{version!r}; install it with `model_tools install`")
    return model / version


def check_version(folder: Path, trusted: TrustedKeys | None) -> BundleFolder:
    """Verify all files of an installed version: contract, signature, every hash, the record.

    Raises:
        BundleError: With everything that is wrong.
        OSError: A file cannot be read.
    """
    bundle = load_any_bundle(folder, trusted)
    record = require_recorded(folder, bundle.contract, bundle.sha256)
    changed = changed_files(folder, record, hashes_of(folder))
    if changed:
        raise BundleError(changed)
    bundle.verify()
    return bundle


def hashes_of(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of all files of an installed version, by name, less its record."""
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*")
             if file.is_symlink() or not file.is_dir()}
    return {name: sha256_of(file) for name, file in files.items() if name != RECORD_FILE}


def leftovers(model: Path) -> list[Path]:
    """Return what killed installers left, and what one that is at work has in the making."""
    return sorted(entry for entry in model.iterdir() if is_hidden(entry.name))
