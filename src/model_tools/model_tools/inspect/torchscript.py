# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A TorchScript program: the members of its archive; it is not loaded, for that can run code."""

from __future__ import annotations

from pathlib import Path

from model_tools.checkpoints.archive import members
from model_tools.inspect.report import Report
from model_tools.inspect.signature import PROGRAM, suffix_of
from policy_inference.bundle.verified import sha256_of

KIND = "TorchScript program"


def recognise(path: Path) -> bool:
    """Return whether it is an archive with code."""
    return suffix_of(path) == PROGRAM


def inspect(path: Path) -> Report:
    """Return what is in the archive."""
    report = Report(kind=KIND, path=path)
    report.row("sha256", sha256_of(path))
    # Every member lies below one folder, which is named after the file that was first written.
    found = {member.filename.partition("/")[2]: member.file_size for member in members(path)}
    tensors = [size for name, size in found.items() if name.startswith(("data/", "constants/"))]
    report.row("tensors", f"{len(tensors)}, {sum(tensors):,} bytes")
    for name, size in found.items():
        if name.startswith("code/") and name.endswith(".py"):
            report.row("code", f"{name.removeprefix('code/')}, {size:,} bytes")
        elif name.startswith("extra/"):
            report.row("extra file", f"{name.removeprefix('extra/')}, {size:,} bytes")
    report.suspect("a program, which can do anything where it is loaded; it was not loaded here, "
                   "and export loads it only with --trust-code")
    return report
