# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Installed bundles: folders, records, and integrity checks."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from policy_core.bundle.bundle import Bundle
from policy_core.bundle.contract import NAME
from policy_core.bundle.load import load_bundle
from policy_core.bundle.set_contract import HostedContract
from policy_core.bundle.signature import TrustedKeys, signature_path
from policy_core.bundle.store import (
    ALGORITHM,
    CURRENT,
    installed_versions,
    read_record,
    require_recorded,
)
from policy_core.bundle.verified import sha256_file
from policy_core.errors import BundleError, PolicyError
from policy_store.durable import is_hidden, is_locked


def models_in(root: Path) -> list[Path]:
    """Return the folders of all bundles installed below a root, sorted by name.

    They include bundles of which only the `current` link is left.
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
    """Return the folder of an installed bundle, or raise PolicyError."""
    known = [folder.name for folder in models_in(root)]
    if name not in known:
        is_folder = Path(name).is_dir()
        checked = f"; `model_tools inspect {name}` checks a folder" if is_folder else ""
        raise PolicyError(
            f"{root}: expected an installed bundle ({', '.join(known) or 'none'}), "
            f"found {name!r}; install it with `policy_store install`, or choose another "
            f"--root{checked}"
        )
    return root / name


def version_folder(model: Path, version: str) -> Path:
    """Return the folder of an installed version, or raise PolicyError."""
    known = installed_versions(model)
    if version not in known:
        raise PolicyError(
            f"{model}: expected an installed version ({', '.join(known)}), found "
            f"{version!r}; install it with `policy_store install`"
        )
    return model / version


def check_version(folder: Path, trusted: TrustedKeys | None) -> Bundle:
    """Verify an installed version, and return its bundle.

    This checks contract, signature, record, and every hash in the contract. If the version was
    installed only for some back ends, only their models must be present.
    """
    bundle = load_bundle(folder, trusted, kind=Bundle)
    record = require_recorded(folder, bundle.contract, bundle.sha256)
    bundle.verify(record.get("backends"))
    return bundle


def is_installed(
    folder: Path,
    content: bytes,
    backends: Collection[str] | None,
) -> bool:
    """Return True if a version is installed and intact; False if it is missing or damaged.

    A version without a readable record counts as damaged, and no node runs it.

    Args:
        folder: The version's folder.
        content: Content of the version's contract.
        backends: Back ends whose models are required; None for all.

    Raises:
        PolicyError: The version was installed with a different contract, or for other back ends.
    """
    if not folder.exists():
        return False
    try:
        recorded = read_record(folder).get("policy_hash")
    except BundleError:
        return False
    if recorded != ALGORITHM + hashlib.sha256(content).hexdigest():
        raise PolicyError(
            f"{folder}: expected the same contract, since an installed version never changes, "
            "found a different contract; give the bundle a new version"
        )
    try:
        bundle = check_version(folder, None)
    except PolicyError:
        return False
    bundle.verify(backends)
    return True


def has_signature(contract_file: Path, sha256: str | None) -> bool:
    """Return True if a contract has the signature with this hash; None accepts any, and none."""
    signature = signature_path(contract_file)
    return sha256 is None or (signature.exists() and sha256_file(signature) == sha256)


def leftovers(model: Path) -> list[Path]:
    """Return the leftovers of killed installers, and the temporary files of a running installer.

    Files of a running pull are not included, since a pull, which may take hours, locks a separate
    folder.
    """
    return sorted(
        entry
        for entry in model.iterdir()
        if is_hidden(entry.name) and not (entry.is_dir() and is_locked(entry))
    )


def make_record(bundle: Bundle, source: str, backends: Collection[str] | None) -> dict[str, Any]:
    """Return the installation record of a bundle that is being installed.

    Args:
        bundle: The bundle.
        source: Where the bundle came from.
        backends: Back ends whose models are installed; None for all.
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
        "export_time": _export_time(contract),
        "policy_hash": ALGORITHM + bundle.sha256,
        "installed_time": _utc(datetime.now(timezone.utc)),
        "installed_from": source,
        "tool": f"policy_store {metadata.version('policy-store')}",
        "signed_by": bundle.signed_by,
        **({} if backends is None else {"backends": sorted(backends)}),
    }


def _model_hashes(
    contract: HostedContract, backends: Collection[str] | None
) -> dict[str, str | dict[str, str]]:
    """Return each back end's model hash, as BACKEND_hash; a map by graph if there are several."""
    hashes = dict[str, dict[str, str]]()
    for key, model in contract.models.items():
        for backend, entry in model.artifacts.items():
            if backends is not None and backend not in backends:
                continue
            graph = key.removeprefix("graphs.")
            hashes.setdefault(f"{backend}_hash", {})[graph] = ALGORITHM + entry.sha256
    return {name: of if len(of) > 1 else next(iter(of.values())) for name, of in hashes.items()}


def _export_time(contract: HostedContract) -> str | None:
    """Return the contract's date in ISO 8601: UTC if it has a time of day; None if not stated."""
    stated = contract.provenance.date if contract.provenance else None
    if stated is None or "T" not in stated:
        return stated
    try:
        time = datetime.fromisoformat(stated.replace("Z", "+00:00"))  # Python 3.10 does not know Z
    except ValueError:
        return stated
    return _utc(time if time.tzinfo else time.replace(tzinfo=timezone.utc))


def _utc(time: datetime) -> str:
    return time.astimezone(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
