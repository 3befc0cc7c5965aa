# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Keep a comparison in the bundles that it is about."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from model_tools.bundle_reports import keep_report
from model_tools.chunk_comparison.compare import ComparedChunks
from model_tools.chunk_comparison.html import write_html
from model_tools.chunk_comparison.report import write_json
from model_tools.errors import ToolError
from model_tools.files import new_file
from policy_inference.bundle.load import REPORT_FOLDER, model_sha256


def record(found: Sequence[ComparedChunks], *, force: bool) -> list[Path]:
    """Keep figures and page in the bundle of every artifact but the reference.

    Returns:
        The files with the figures.

    Raises:
        ToolError: There is a report about one of the artifacts already, and `force` is not given;
            or a back end built its models from another's artifacts.
        OSError: A file cannot be written.
    """
    others = [one.candidate for one in found[1:]]
    for one in others:
        if model_sha256(one.bundle.contract, one.backend) is None:
            raise ToolError(f"{one.bundle.path}: expected artifacts for {one.backend}, with which "
                            "the report is kept, found none; compile them first")
    kept = []
    for one in others:
        folder, name = one.bundle.path, f"comparison_{one.backend}"
        with new_file(folder / REPORT_FOLDER / f"{name}.html", force=force) as growing:
            write_html(found, growing)
            kept.append(keep_report(folder, one.backend, f"{name}.json",
                                    partial(write_json, found), sha256=one.sha256, force=force))
    return kept
