# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Bundles by name: what `model_tools install` put here, and what comes with this package."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from policy_inference.bundle.contract import NAME
from policy_inference.bundle.load import (
    CONTRACT_FILE,
    Bundle,
    ChunkBundle,
    load_any_bundle,
    of_kind,
    parse_any_contract,
)
from policy_inference.bundle.record import require_recorded
from policy_inference.bundle.schema import read_bytes
from policy_inference.bundle.store import CURRENT, installed_folder, store_root
from policy_inference.errors import PolicyError

if TYPE_CHECKING:  # as in `bundle.load`
    from policy_inference.bundle.signature import TrustedKeys

_SHARE = Path("share", "policy_inference", "config", "bundles")


def bundle_folder(name_or_path: str) -> Path:
    """Return the folder of a bundle given by path, or by name where it is installed.

    `NAME@VERSION` is an installed version; `NAME` the one that is in use, else, where none is
    installed, the bundle that comes with this package, in the first prefix of AMENT_PREFIX_PATH
    that has it.

    Raises:
        PolicyError: It is none of these, or what is in use cannot be told, or was not installed
            as this bundle and version.
    """
    folder, is_installed = _found(name_or_path)
    if is_installed:
        file = folder / CONTRACT_FILE
        content = read_bytes(file)
        require_recorded(folder, parse_any_contract(content, file),
                         hashlib.sha256(content).hexdigest())
    return folder


def open_bundle(
    name_or_path: str, trusted: TrustedKeys | None = None, *, sha256: str | None = None
) -> Bundle:
    """Load a joint policy's bundle given as to `bundle_folder`, as `open_any_bundle`."""
    return of_kind(open_any_bundle(name_or_path, trusted, sha256=sha256), Bundle)


def open_chunk_bundle(name_or_path: str, trusted: TrustedKeys | None = None) -> ChunkBundle:
    """Load a chunk policy's bundle given as to `bundle_folder`, as `open_any_bundle`."""
    return of_kind(open_any_bundle(name_or_path, trusted), ChunkBundle)


def open_any_bundle(
    name_or_path: str, trusted: TrustedKeys | None = None, *, sha256: str | None = None
) -> Bundle | ChunkBundle:
    """Load a bundle given as to `bundle_folder`; what is checked is what was loaded.

    Raises:
        PolicyError: As `bundle_folder`.
        BundleError: As `load_any_bundle`.
    """
    folder, is_installed = _found(name_or_path)
    bundle = load_any_bundle(folder, trusted, sha256=sha256)
    if is_installed:
        require_recorded(folder, bundle.contract, bundle.sha256)
    return bundle


def _found(name_or_path: str) -> tuple[Path, bool]:
    """Return the folder, and whether it is said to be an installed version."""
    folder = Path(name_or_path).expanduser()
    if os.sep in name_or_path or folder.exists():
        return folder, False
    name, at, version = name_or_path.partition("@")
    if bool(at) == bool(version) and (at or re.fullmatch(NAME, name)):
        installed = installed_folder(name, version)
        if installed is not None:
            return installed, True
    prefixes = [prefix for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(":") if prefix]
    shipped = next((path for prefix in prefixes if (path := Path(prefix, _SHARE)).is_dir()), None)
    if shipped and (shipped / name_or_path).is_dir():
        return shipped / name_or_path, False
    names = {entry.name for entry in shipped.iterdir() if entry.is_dir()} if shipped else set()
    listed = sorted(names | _in_use()) or ["none; source the workspace"]
    raise PolicyError(f"bundle: expected a bundle folder or one of the installed bundles "
                      f"({', '.join(listed)}), found {name_or_path!r}, which is not in "
                      f"{Path.cwd()} either")


def _in_use() -> set[str]:
    return {link.parent.name for link in store_root().glob(f"*/{CURRENT}")}
