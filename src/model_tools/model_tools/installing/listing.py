# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is installed, as plain values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model_tools.installing.activations import way_back
from model_tools.installing.models import models_in
from policy_inference.bundle.load import SIGNATURE_FILE
from policy_inference.bundle.record import read_record
from policy_inference.bundle.store import current_version, versions_of
from policy_inference.errors import BundleError, PolicyError


def listing(root: Path) -> list[dict[str, Any]]:
    """Return the bundles below a root, each with its versions; reads no model."""
    return [_model(folder) for folder in models_in(root)]


def _model(folder: Path) -> dict[str, Any]:
    current, back, problem = None, list[str](), None
    try:
        current = current_version(folder)
        back = way_back(folder)
    except PolicyError as error:
        problem = str(error)
    versions = [_version(folder / version) for version in versions_of(folder)]
    return {"name": folder.name, "current": current, "way_back": back, "problem": problem,
            "versions": versions}  # fmt: skip


def _version(folder: Path) -> dict[str, Any]:
    try:
        record, problem = read_record(folder), None
    except BundleError as error:
        record, problem = {}, str(error)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return {
        "version": folder.name,
        "folder": str(folder),
        "size_bytes": size,
        "is_signed": (folder / SIGNATURE_FILE).is_file(),
        "signed_by": record.get("signed_by"),
        "installed_time": record.get("installed_time"),
        "installed_from": record.get("installed_from"),
        "problem": problem,
    }
