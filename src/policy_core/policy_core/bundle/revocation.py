# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whether an installed version is revoked, by the statement that `policy_store pull` has kept."""

from __future__ import annotations

from pathlib import Path

from policy_core.bundle.bundle import Bundle
from policy_core.errors import PolicyError

FOLDER = "statements"
"""Beside the versions of a bundle: what a robot has accepted."""
REVOKED_TAG = "revoked"


def revocation_of(bundle: Bundle) -> str:
    """Return that the installed version that a bundle is, or a member of a set, is revoked.

    Returns:
        In words, with the reason; empty where none is, or the bundle is not installed.

    Raises:
        PolicyError: The statement that this robot has kept is damaged.
    """
    for one in (bundle, *bundle.members.values()):
        name, version = one.contract.name, one.contract.version
        folder = one.path.resolve()
        if (folder.parent.name, folder.name) != (name, version):
            continue
        if not kept_file(folder.parent, REVOKED_TAG).exists():
            continue
        from policy_core.bundle.statements import revoked_versions

        reason = revoked_versions(folder.parent).get(version)
        if reason is not None:
            return (
                f"{folder}: this version is revoked: {reason}; put another one into use with "
                f"`policy_store activate {name} VERSION`"
            )
    return ""


class RevocationWatch:
    """Looks whether a bundle that runs was revoked; reads the statement when its file changes."""

    def __init__(self, bundle: Bundle) -> None:
        """Tie to the bundle; its folder is that of the version, whatever link led to it."""
        self._bundle = bundle
        folders = [one.path.resolve().parent for one in (bundle, *bundle.members.values())]
        self._files = [kept_file(folder, REVOKED_TAG) for folder in folders]
        self._seen: list[tuple[int, int] | None] = [None for _ in self._files]
        self._found = ""

    def look(self) -> str:
        """Return that it is revoked, in words, or that this cannot be known; empty if it is not."""
        seen = [_stamp(file) for file in self._files]
        if seen != self._seen:
            self._seen = seen
            try:
                self._found = revocation_of(self._bundle)
            except PolicyError as error:
                self._found = str(error)
        return self._found


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def kept_file(model: Path, tag: str) -> Path:
    """Return where a robot keeps the newest statement with a tag."""
    return model / FOLDER / f"{tag}.yaml"
