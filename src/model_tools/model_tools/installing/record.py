# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`model_version.json`: what was installed, from where, and of which hashes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from policy_inference.bundle.load import CONTRACT_FILE, AnyContract, BundleFolder
from policy_inference.bundle.record import ALGORITHM, REMEDY
from policy_inference.errors import Problem
from policy_inference.machine.packages import installed_version


def record_of(
    bundle: BundleFolder, files: Mapping[str, str], *, source: Path, modified_s: float
) -> dict[str, Any]:
    """Return the record of a bundle that is installed now.

    Args:
        bundle: The bundle.
        files: SHA-256 of each of its files, by name.
        source: What it is installed from.
        modified_s: When its model was changed last, in seconds since 1970; counts where the
            contract does not say when it was exported.
    """
    contract = bundle.contract
    calibrated = [entry.calibration for model in contract.models.values()
                  for entry in model.artifacts.values() if entry.calibration]
    return {
        "model": contract.name,
        "version": contract.version,
        "onnx_hash": None,
        "rknn_hash": None,
        **_model_hashes(contract),
        "quant_dataset": calibrated[0].source if calibrated else None,
        "export_time": _export_time(contract, modified_s),
        "policy_hash": ALGORITHM + bundle.sha256,
        "files": {name: ALGORITHM + sha256 for name, sha256 in sorted(files.items())},
        "installed_time": _utc(datetime.now(timezone.utc)),
        "installed_from": str(source.resolve()),
        "tool": f"model_tools {installed_version('model_tools') or 'of a checkout'}",
        "signed_by": bundle.signed_by,
    }


def changed_files(
    folder: Path, record: Mapping[str, Any], hashes: Mapping[str, str]
) -> list[Problem]:
    """Return what differs between the record and the files that are there.

    Args:
        folder: Of the version.
        record: Its record.
        hashes: SHA-256 of each file that is there, by name, less the record's own.
    """
    stated = {**record["files"], CONTRACT_FILE: record.get("policy_hash")}
    found = {name: ALGORITHM + sha256 for name, sha256 in hashes.items()}
    return [
        Problem(file=str(folder / name), found=found.get(name, "nothing"), remedy=REMEDY,
                expected=stated.get(name, "nothing, since it was not installed"))
        for name in sorted(stated.keys() | found.keys()) if stated.get(name) != found.get(name)
    ]  # fmt: skip


def _model_hashes(contract: AnyContract) -> dict[str, str | dict[str, str]]:
    """Return the hash of the model for each back end; of several graphs, by their names."""
    hashes = dict[str, dict[str, str]]()
    for key, model in contract.models.items():
        for backend, entry in model.artifacts.items():
            graph = key.removeprefix("graphs.")
            hashes.setdefault(f"{backend}_hash", {})[graph] = ALGORITHM + entry.sha256
    return {name: of if len(of) > 1 else next(iter(of.values())) for name, of in hashes.items()}


def _export_time(contract: AnyContract, modified_s: float) -> str:
    """Return ISO 8601 in UTC; a date without a time of day stays a date."""
    stated = contract.provenance.date
    if stated is None:
        return _utc(datetime.fromtimestamp(modified_s, timezone.utc))
    if "T" not in stated:
        return stated
    try:
        time = datetime.fromisoformat(stated.replace("Z", "+00:00"))  # Python 3.10 knows no Z
    except ValueError:
        return stated
    return _utc(time if time.tzinfo else time.replace(tzinfo=timezone.utc))


def _utc(time: datetime) -> str:
    return time.astimezone(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
