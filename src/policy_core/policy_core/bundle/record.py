# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`model_version.json`, which `policy_store install` writes; without it a folder is no version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policy_core.bundle.bundle import hosted_file
from policy_core.errors import BundleError, Problem
from policy_core.safe_files import read_at_most

if TYPE_CHECKING:
    from policy_core.bundle.set_contract import HostedContract

RECORD_FILE = "model_version.json"
REMEDY = "activate or install another version, and remove this one"
ALGORITHM = "sha256:"
"""Before a hash."""
_LARGEST_BYTES = 1 << 24


def read_record(folder: Path) -> dict[str, Any]:
    """Return the record of an installed version.

    Raises:
        BundleError: There is none, or it is none of ours.
    """
    file = folder / RECORD_FILE
    found = ""
    try:
        record = json.loads(read_at_most(file, _LARGEST_BYTES))
        if (
            not isinstance(record["files"], dict)
            or not isinstance(record["installed_time"], str)
            or not _are_backends(record.get("backends"))
        ):
            found = "a record with values of other types"
    except FileNotFoundError:
        found = "nothing"
    except OSError as error:
        found = error.strerror or str(error)
    except (ValueError, TypeError, KeyError, RecursionError):
        found = "content that is no such record"
    if found:
        raise BundleError(
            Problem(
                file=str(file),
                expected="the record of its installation",
                found=found,
                remedy=REMEDY,
            )
        )
    return dict(record)


def require_recorded(folder: Path, contract: HostedContract, sha256: str) -> dict[str, Any]:
    """Return the record of a version that is what its folder `NAME/VERSION` and its record say.

    Args:
        folder: Of the version.
        contract: As it was read there.
        sha256: Of the `policy.yaml` or `set.yaml` that was read.

    Raises:
        BundleError: It is another bundle or version, or was not installed.
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
    """Return whether this names the back ends whose models were installed; null for all."""
    return value is None or (isinstance(value, list) and all(isinstance(n, str) for n in value))
