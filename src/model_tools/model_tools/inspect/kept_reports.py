# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Reports that are kept in a bundle: what they say, and whether they are about its models."""

from __future__ import annotations

from pathlib import Path

from model_tools.errors import ToolError
from model_tools.inspect.json_file import read_json
from model_tools.inspect.report import Report
from model_tools.node import Node
from policy_inference.bundle.load import AnyContract, model_sha256


def describe_reports(contract: AnyContract, path: Path, report: Report) -> None:
    """Add a row with the verdict of each report; note those that fail or are about another model.

    Args:
        contract: Names the reports and the models.
        path: Folder of the bundle.
        report: What the rows are added to.
    """
    for backend, entry in contract.reports.items():
        file = path / entry.file
        if not file.is_file():
            continue  # which is noted with the other files
        try:
            verdict, failed = _verdict(read_json(file), model_sha256(contract, backend) or "")
        except ToolError as error:
            report.suspect(str(error))
            continue
        report.row(f"report {backend}", f"{entry.file}: {verdict}")
        if failed:
            report.suspect(f"{entry.file}: {verdict}")


def _verdict(content: Node, sha256: str) -> tuple[str, bool]:
    """Return what a report says of the model with this hash, and whether that is no good."""
    if content.get("artifacts") is not None:
        return _of_comparison(content, sha256)
    if content.get("outcomes") is not None:
        return _of_acceptance(content, sha256)
    return "a report of a kind that is not known here", False


def _of_comparison(content: Node, sha256: str) -> tuple[str, bool]:
    about = [one for one in content.section("artifacts") if one["sha256"].text() == sha256]
    if not about:
        return _ABOUT_ANOTHER, True
    against = content["reference"].text()
    holds = all(one.flag("holds") for one in about)
    return f"compared with {against}: limits {'hold' if holds else 'fail'}", not holds


def _of_acceptance(content: Node, sha256: str) -> tuple[str, bool]:
    if content["model_sha256"].text() != sha256:
        return _ABOUT_ANOTHER, True
    judged = [one for one in content.section("outcomes") if one.get("passed") is not None]
    failed = [one["name"].text() for one in judged if not one.flag("passed")]
    words = f"{len(judged) - len(failed)} of {len(judged)} cases passed"
    return f"{words}; failed: {', '.join(failed)}" if failed else words, bool(failed)


_ABOUT_ANOTHER = "about another model than the bundle has"
