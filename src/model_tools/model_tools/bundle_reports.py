# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Reports that are kept with a model: a file in the bundle, and its hash in the contract."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from model_tools.contract_text import set_section
from model_tools.errors import ToolError
from model_tools.files import new_file
from policy_inference.bundle.load import (
    CONTRACT_FILE,
    REPORT_FOLDER,
    file_entry,
    load_any_bundle,
    model_sha256,
)


def models_of(report: Path) -> set[str]:
    """Return the SHA-256 of the models that a report in JSON is about; empty for another file."""
    try:
        content = json.loads(report.read_text("utf-8"))
        stated = [content, *content.get("artifacts", [])]
        return {str(entry[key]) for entry in stated for key in ("model_sha256", "sha256")
                if key in entry}
    except (OSError, ValueError, AttributeError, TypeError):
        return set()


def keep_report(
    bundle: Path, backend: str, name: str, write: Callable[[Path], None], *, sha256: str,
    force: bool,
) -> Path:  # fmt: skip
    """Write a report about a back end's model into the bundle; reports about others stay.

    Args:
        bundle: Folder of the bundle.
        backend: The back end whose model it is about.
        name: Name of the file in the folder `reports`.
        write: Writes it to a path.
        sha256: Of the model that it is about, as `bundle.load.model_sha256`.
        force: Whether a report about this model may be replaced.

    Returns:
        The file.

    Raises:
        ToolError: There is a report about this model already, or the bundle has another model by
            now.
        BundleError: The bundle does not load, or its model is not the one that it states.
        OSError: It cannot be written.
    """
    loaded = load_any_bundle(bundle)
    models = [model.artifact(backend)[1] for model in loaded.models]
    there = model_sha256(loaded.contract, backend)
    if there != sha256:
        raise ToolError(f"{models[0]}: expected the model that the report is about, sha256 "
                        f"{sha256}, found {there}; the bundle was changed meanwhile, begin again")
    reports = loaded.contract.reports
    file, contract = bundle / REPORT_FOLDER / name, bundle / CONTRACT_FILE
    if backend in reports and not force:
        raise ToolError(f"{bundle}: expected no report about {backend} yet, found "
                        f"{reports[backend].file}; --force replaces it")
    with new_file(file, force=force) as growing:
        write(growing)
    entries = {**reports, backend: file_entry(file, bundle)}
    text = set_section(contract.read_text("utf-8"), "reports", entries)
    with new_file(contract, force=True) as growing:
        growing.write_text(text, "utf-8")
    return file
