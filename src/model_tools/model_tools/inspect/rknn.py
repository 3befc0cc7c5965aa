# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A model compiled for Rockchip's NPU: what its file says, without the vendor's runtime."""

from __future__ import annotations

from pathlib import Path

from model_tools.inspect.report import Report
from model_tools.inspect.signature import suffix_of
from policy_inference.backends.rknn_file import read_rknn
from policy_inference.bundle.verified import sha256_of

KIND = "RKNN model"
_KNOWN_FORMAT = 6


def recognise(path: Path) -> bool:
    """Return whether it begins as one, or is named as one."""
    return suffix_of(path) == ".rknn"


def inspect(path: Path) -> Report:
    """Return what its header says.

    Raises:
        BackendError: It is another kind of file, or cut off.
    """
    model, report = read_rknn(path), Report(kind=KIND, path=path)
    report.row("sha256", sha256_of(path))
    report.row("target", ", ".join(model.targets))
    report.row("made by", f"RKNN Toolkit2 {model.toolkit} from {model.source or 'what is unknown'}")
    report.row("format version", model.format_version)
    for kind, tensors in (("input", model.inputs), ("output", model.outputs)):
        for name, tensor in tensors.items():
            report.row(kind, f"{name} {tensor.precision}{list(tensor.shape)}")
    if model.format_version != _KNOWN_FORMAT:
        report.suspect(f"format version {model.format_version}; only {_KNOWN_FORMAT} was tried")
    if not model.inputs or not model.outputs:
        report.suspect("it names no inputs or no outputs")
    return report
