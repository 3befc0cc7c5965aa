# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Installed bundles: version folders (`ROOT/NAME/VERSION/`), the version in use, and revocations.

`policy_store install`, `activate` and `rollback` write them. A version's folder never changes after
installation; the `ROOT/NAME/current` link is switched between versions.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policy_core.bundle.bundle import Bundle, hosted_file
from policy_core.bundle.contract import NAME, VERSION
from policy_core.errors import BundleError, PolicyError, Problem
from policy_core.safe_files import read_at_most

if TYPE_CHECKING:
    from policy_core.bundle.set_contract import HostedContract

ROOT_VARIABLE = "POLICY_INFERENCE_MODELS"
"""Environment variable that replaces the default root folder."""
DEFAULT_ROOT = Path("/opt/models")
CURRENT = "current"
TRIALS_FILE = "trials.jsonl"
"""Name of a bundle's trial record file, in `ROOT/NAME`."""
RECORD_FILE = "model_version.json"
"""Record that `policy_store install` writes into a version's folder; every version needs one."""
REMEDY = "install the same bundle again to replace it, or activate another version"
ALGORITHM = "sha256:"
"""Prefix of a hash in an installation record."""
_LARGEST_BYTES = 1 << 24
STATEMENTS = "statements"
"""Name of the folder with accepted statements, next to the versions of a bundle."""
REVOKED_TAG = "revoked"


def store_root() -> Path:
    """Return the root folder of all installed bundles; it may not exist."""
    return Path(os.environ.get(ROOT_VARIABLE) or DEFAULT_ROOT).expanduser()


def named_folder(bundle: str) -> Path | None:
    """Return the folder `ROOT/NAME` of an installed bundle; it may not exist.

    Args:
        bundle: NAME or NAME@VERSION; for a path, the result is None.
    """
    name = bundle.partition("@")[0]
    if os.sep in bundle or not re.fullmatch(NAME, name) or Path(bundle).exists():
        return None
    return store_root() / name


def installed_versions(model: Path) -> list[str]:
    """Return the installed versions of a bundle, in version order.

    Links, and folders whose names are not versions, are ignored.

    Args:
        model: The folder `ROOT/NAME`; the result is empty if it does not exist.
    """
    if not model.is_dir():
        return []
    names = [
        entry.name
        for entry in model.iterdir()
        if re.fullmatch(VERSION, entry.name) and entry.is_dir() and not entry.is_symlink()
    ]
    return sorted(names, key=lambda name: (version_order(name), name))


def current_version(model: Path) -> str | None:
    """Return the version in use for the bundle in the folder `ROOT/NAME`, or None.

    Raises:
        PolicyError: `current` is not a link to an installed version.
        OSError: The folder cannot be read.
    """
    link = model / CURRENT
    try:
        link.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    target = str(link.readlink()) if link.is_symlink() else ""
    # The link is relative, so it is also valid when a robot's disk is mounted on a PC.
    if target not in installed_versions(model):
        found = f"a link to {target}" if target else "something that is not a link"
        raise PolicyError(
            f"{link}: expected a link to one of the versions beside it "
            f"({', '.join(installed_versions(model)) or 'none'}), found {found}; remove "
            f"`{CURRENT}` and choose a version with `policy_store activate`"
        )
    return target


def installed_folder(name: str, version: str = "") -> Path | None:
    """Return the folder of an installed version, or of the version in use.

    Args:
        name: Name of the bundle.
        version: Version of the bundle; "" for the version in use.

    Returns:
        The version's own folder, which stays valid when a different version is activated; None if
            no version was requested and none is installed.

    Raises:
        PolicyError: The name is invalid, the version is not installed or none is in use, `current`
            is broken, or the folder cannot be read.
    """
    if not re.fullmatch(NAME, name):
        raise PolicyError(
            f"bundle: expected the name of an installed bundle (text that matches {NAME}), found "
            f"{name!r}; `policy_store list` shows the names"
        )
    model = store_root() / name
    try:
        there, current = installed_versions(model), None if version else current_version(model)
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
    # Never fall back to another bundle of that name: a robot whose link is missing must not move.
    if not version and there and current is None:
        raise PolicyError(
            f"{model / CURRENT}: expected a link to the version in use (installed: "
            f"{', '.join(there)}), found nothing; choose a version with `policy_store "
            f"activate {name} {there[-1]}`"
        )
    chosen = version or current
    return None if chosen is None else model / chosen


def version_order(version: str) -> tuple[Any, ...]:
    """Return a sort key that orders Semantic Versioning versions: rc.9 before rc.10 before rc.x."""
    released, _, _ = version.partition("+")
    numbers, _, pre_release = released.partition("-")
    parts = [
        (False, _number(part), "") if re.fullmatch("[0-9]+", part) else (True, _number(""), part)
        for part in pre_release.split(".")
    ]
    return [_number(number) for number in numbers.split(".")], not pre_release, parts


def _number(digits: str) -> tuple[int, str]:
    """Return a sort key for an integer as text; Python refuses to parse thousands of digits."""
    digits = digits.lstrip("0")
    return len(digits), digits


def read_record(folder: Path) -> dict[str, Any]:
    """Return the installation record of an installed version.

    Raises:
        BundleError: The record is missing or invalid.
    """
    file = folder / RECORD_FILE
    found = ""
    try:
        record = json.loads(read_at_most(file, _LARGEST_BYTES))
        if not isinstance(record["installed_time"], str) or not _are_backends(
            record.get("backends")
        ):
            found = "values of wrong types"
    except FileNotFoundError:
        found = "nothing"
    except OSError as error:
        found = error.strerror or str(error)
    except (ValueError, TypeError, KeyError, RecursionError):
        found = "an invalid record"
    if found:
        raise BundleError(
            Problem(
                file=str(file),
                expected="its installation record",
                found=found,
                remedy=REMEDY,
            )
        )
    return dict(record)


def require_recorded(folder: Path, contract: HostedContract, sha256: str) -> dict[str, Any]:
    """Return a version's installation record after comparing it with the folder's content.

    Name, version and hash must match the contract, and name and version the folder `NAME/VERSION`.

    Args:
        folder: Folder of the installed version.
        contract: Contract read from the folder.
        sha256: Hash of the `policy.yaml` or `set.yaml` that was read.

    Raises:
        BundleError: The bundle or the version does not match, or was not installed.
    """
    asked, file_read = (folder.parent.name, folder.name), hosted_file(contract)
    record = read_record(folder)
    recorded = (record.get("model"), record.get("version"), record.get("policy_hash"))
    checks = (
        (file_read, (contract.name, contract.version), asked),
        (RECORD_FILE, recorded[:2], asked),
        (file_read, (ALGORITHM + sha256,), recorded[2:]),
    )
    problems = [
        Problem(
            file=str(folder / file),
            expected=" ".join(map(str, expected)),
            found=" ".join(map(str, found)),
            remedy=REMEDY,
        )
        for file, found, expected in checks
        if found != expected
    ]
    if problems:
        raise BundleError(*problems)
    return record


def _are_backends(value: Any) -> bool:
    """Return True if a record's `backends` is a list of names, or null (all back ends)."""
    return value is None or (isinstance(value, list) and all(isinstance(n, str) for n in value))


def find_revocation(bundle: Bundle) -> str:
    """Return a message if a bundle, or a member of a set, is a revoked installed version.

    Returns:
        The message with the reason; empty if nothing is revoked or the bundle is not installed.

    Raises:
        PolicyError: The stored statement is damaged.
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
                f"{folder}: this version is revoked: {reason}; activate another version with "
                f"`policy_store activate {name} VERSION`"
            )
    return ""


class RevocationWatch:
    """Detects that a running bundle was revoked; rereads the statement when its file changes."""

    def __init__(self, bundle: Bundle) -> None:
        """Watch the bundle; its folder is resolved to the version's own folder."""
        self._bundle = bundle
        folders = [one.path.resolve().parent for one in (bundle, *bundle.members.values())]
        self._files = [kept_file(folder, REVOKED_TAG) for folder in folders]
        self._seen: list[tuple[int, int] | None] = [None for _ in self._files]
        self._found = ""

    def look(self) -> str:
        """Return a message if the bundle is revoked, or if that cannot be determined; else ""."""
        seen = [_stamp(file) for file in self._files]
        if seen != self._seen:
            self._seen = seen
            try:
                self._found = find_revocation(self._bundle)
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
    """Return the path at which a robot keeps the newest statement with a tag."""
    return model / STATEMENTS / f"{tag}.yaml"
