# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A checkpoint of a training, read as data; the one kind that needs torch."""

from __future__ import annotations

from pathlib import Path

from model_tools.checkpoints import require_torch
from model_tools.inspect.report import Report
from model_tools.inspect.signature import suffix_of
from policy_inference.bundle.verified import sha256_of

KIND = "training checkpoint"
_SUFFIXES = (".pt", ".pth", ".ckpt")


def recognise(path: Path) -> bool:
    """Return whether torch.save wrote it, or it is named so."""
    return suffix_of(path) in _SUFFIXES


def inspect(path: Path) -> Report:
    """Return its layout, what could be the actor, and its tensors.

    Raises:
        ToolError: It is no checkpoint, is cut short, needs more than reading data; or no torch.
    """
    require_torch()
    from model_tools.checkpoints.contents import read_contents

    found, report = read_contents(path), Report(kind=KIND, path=path)
    report.row("sha256", sha256_of(path))
    report.row("layout", found.format)
    report.row("values", f"{found.count:,}")
    for stack in found.actors:
        report.row("could be the actor", stack)
    for network in found.recurrent:
        report.row("recurrent", network)
    for name in found.statistics:
        report.row("running statistics", f"{name}; export needs `normaliser`: bake, keep or none")
    for key, value in found.beside.items():
        report.row(f"beside: {key}", value)
    for tensor in found.tensors:
        report.row("tensor", tensor)
    for name in found.not_finite:
        report.suspect(f"{name} holds NaN or infinite values; the training diverged")
    for name, smallest in found.statistics.items():
        if smallest <= 0.0:
            report.suspect(f"{name}: a spread of {smallest:g}; that value never changed")
    return report
