# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A comparison kept with the models that were compared."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from model_tools.bundle_reports import keep_report
from model_tools.comparison.compare import Compared
from model_tools.comparison.html import write_html
from model_tools.comparison.report import write_json
from model_tools.errors import ToolError
from model_tools.files import new_file
from policy_inference.bundle.load import REPORT_FOLDER


def record(found: Sequence[Compared], *, force: bool) -> list[Path]:
    """Keep figures and page in the bundle of every artifact but the reference.

    Returns:
        The files with the figures.

    Raises:
        ToolError: There is a report about one of the models already, and `force` is not given; or
            a back end built its model from another's artifact.
        OSError: A file cannot be written.
    """
    kept = []
    for one in (compared.candidate for compared in found[1:]):
        if one.backend not in one.bundle.contract.model.artifacts:
            raise ToolError(f"{one.bundle.path}: expected an artifact for {one.backend}, with "
                            "which the report is kept, found none; compile it first")
    for compared in found[1:]:
        bundle, backend = compared.candidate.bundle.path, compared.candidate.backend
        name = f"comparison_{backend}"
        with new_file(bundle / REPORT_FOLDER / f"{name}.html", force=force) as growing:
            write_html(found, growing)
            kept.append(keep_report(bundle, backend, f"{name}.json", partial(write_json, found),
                                    sha256=compared.candidate.entry.sha256, force=force))
    return kept
