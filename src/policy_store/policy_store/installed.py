# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The installed bundles: their folders, their records, and checks of their integrity."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from policy_core.bundle.bundle import Bundle, hosted_file
from policy_core.bundle.contract import NAME
from policy_core.bundle.load import load_bundle
from policy_core.bundle.set_contract import HostedContract
from policy_core.bundle.signature import TrustedKeys
from policy_core.bundle.store import (
    ALGORITHM,
    CURRENT,
    RECORD_FILE,
    REMEDY,
    installed_versions,
    require_recorded,
)
from policy_core.bundle.verified import sha256_file
from policy_core.errors import BundleError, PolicyError, Problem
from policy_store.durable import is_hidden, is_locked


def models_in(root: Path) -> list[Path]:
    """Return the folders of all bundles installed below a root, in order.

    This includes a bundle of which only the `current` link is left.
    """
    if not root.is_dir():
        return []
    return sorted(
        folder
        for folder in root.iterdir()
        if re.fullmatch(NAME, folder.name)
        and (installed_versions(folder) or os.path.lexists(folder / CURRENT))
    )


def model_folder(root: Path, name: str) -> Path:
    """Return the folder of an installed bundle."""
    known = [folder.name for folder in models_in(root)]
    if name not in known:
        is_folder = Path(name).is_dir()
        checked = f"; `model_tools inspect {name}` checks a folder" if is_folder else ""
        raise PolicyError(
            f"{root}: expected an installed bundle ({', '.join(known) or 'none'}), "
            f"found {name!r}; install it with `policy_store install`, or name another "
            f"--root{checked}"
        )
    return root / name


def version_folder(model: Path, version: str) -> Path:
    """Return the folder of an installed version."""
    known = installed_versions(model)
    if version not in known:
        raise PolicyError(
            f"{model}: expected an installed version ({', '.join(known)}), found "
            f"{version!r}; install it with `policy_store install`"
        )
    return model / version


def check_version(folder: Path, trusted: TrustedKeys | None) -> Bundle:
    """Verify all files of an installed version: contract, signature, every hash, the record.

    If it was installed for some back ends only, exactly their models must be present.
    """
    bundle = load_bundle(folder, trusted, kind=Bundle)
    record = require_recorded(folder, bundle.contract, bundle.sha256)
    changed = changed_files(bundle, record, hash_files(folder))
    if changed:
        raise BundleError(*changed)
    bundle.verify(record.get("backends"))
    return bundle


def hash_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of all files in an installed version, by name, except for its record."""
    files = {
        file.relative_to(folder).as_posix(): file
        for file in folder.rglob("*")
        if file.is_symlink() or not file.is_dir()
    }
    return {name: sha256_file(file) for name, file in files.items() if name != RECORD_FILE}


def leftovers(model: Path) -> list[Path]:
    """Return the leftovers of killed installers, and the temporary files of a running one.

    Files of a running pull are not included: it locks its own folder, because it may take hours.
    """
    return sorted(
        entry
        for entry in model.iterdir()
        if is_hidden(entry.name) and not (entry.is_dir() and is_locked(entry))
    )


def make_record(
    bundle: Bundle,
    files: Mapping[str, str],
    *,
    source: str,
    modified_s: float,
    backends: Collection[str] | None,
) -> dict[str, Any]:
    """Return the record of a bundle that is installed now.

    Args:
        bundle: The bundle.
        files: SHA-256 of each of its files, by name.
        source: Source of the installation.
        backends: Back ends whose models are installed; None for all.
        modified_s: When its model was last changed, in seconds since 1970; used if the contract has
            no export date.
    """
    contract = bundle.contract
    calibrated = [
        entry.calibration
        for model in contract.models.values()
        for entry in model.artifacts.values()
        if entry.calibration
    ]
    return {
        "model": contract.name,
        "version": contract.version,
        "onnx_hash": None,
        "rknn_hash": None,
        **_model_hashes(contract, backends),
        "quant_dataset": calibrated[0].source if calibrated else None,
        "export_time": _export_time(contract, modified_s),
        "policy_hash": ALGORITHM + bundle.sha256,
        "files": {name: ALGORITHM + sha256 for name, sha256 in sorted(files.items())},
        "installed_time": _utc(datetime.now(timezone.utc)),
        "installed_from": source,
        "tool": f"policy_store {metadata.version('policy-store')}",
        "signed_by": bundle.signed_by,
        **({} if backends is None else {"backends": sorted(backends)}),
    }


def changed_files(
    bundle: Bundle, record: Mapping[str, Any], hashes: Mapping[str, str]
) -> list[Problem]:
    """Return the differences between the record and the files.

    Args:
        bundle: The version.
        record: Its record.
        hashes: SHA-256 of each file, by name, except for the record's own.
    """
    stated = {**record["files"], hosted_file(bundle.contract): record.get("policy_hash")}
    found = {name: ALGORITHM + sha256 for name, sha256 in hashes.items()}
    return [
        Problem(
            file=str(bundle.path / name),
            found=found.get(name, "nothing"),
            remedy=REMEDY,
            expected=stated.get(name, "nothing, since it was not installed"),
        )
        for name in sorted(stated.keys() | found.keys())
        if stated.get(name) != found.get(name)
    ]


def _model_hashes(
    contract: HostedContract, backends: Collection[str] | None
) -> dict[str, str | dict[str, str]]:
    """Return the hash of the model for each back end; for several graphs, by their names."""
    hashes = dict[str, dict[str, str]]()
    for key, model in contract.models.items():
        for backend, entry in model.artifacts.items():
            if backends is not None and backend not in backends:
                continue
            graph = key.removeprefix("graphs.")
            hashes.setdefault(f"{backend}_hash", {})[graph] = ALGORITHM + entry.sha256
    return {name: of if len(of) > 1 else next(iter(of.values())) for name, of in hashes.items()}


def _export_time(contract: HostedContract, modified_s: float) -> str:
    """Return ISO 8601 in UTC; a date without a time of day stays a date."""
    stated = contract.provenance.date if contract.provenance else None
    if stated is None:
        return _utc(datetime.fromtimestamp(modified_s, timezone.utc))
    if "T" not in stated:
        return stated
    try:
        time = datetime.fromisoformat(stated.replace("Z", "+00:00"))  # Python 3.10 does not know Z
    except ValueError:
        return stated
    return _utc(time if time.tzinfo else time.replace(tzinfo=timezone.utc))


def _utc(time: datetime) -> str:
    return time.astimezone(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
