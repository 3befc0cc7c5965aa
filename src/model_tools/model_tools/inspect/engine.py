# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A TensorRT engine: nothing inside can be read without the TensorRT that built it."""

from __future__ import annotations

from pathlib import Path

from model_tools.errors import ToolError
from model_tools.inspect.report import Report
from model_tools.inspect.signature import suffix_of
from policy_inference.bundle.verified import sha256_of

KIND = "TensorRT engine"
_SUFFIXES = (".engine", ".plan", ".trt")
_HEAD = 16


def recognise(path: Path) -> bool:
    """Return whether it is named as an engine; what one begins with is documented nowhere."""
    return suffix_of(path) in _SUFFIXES


def inspect(path: Path) -> Report:
    """Return what can be told from outside.

    Raises:
        ToolError: It is a text.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        raise ToolError(f"{path}: expected a TensorRT engine, found a text")
    report = Report(kind=KIND, path=path)
    report.row("size", f"{path.stat().st_size:,} bytes")
    report.row("sha256", sha256_of(path))
    report.row("begins with", head)
    report.suspect("an engine runs only with the TensorRT version and the GPU type that built it, "
                   "and says neither to others; keep its ONNX model beside it, and build it where "
                   "it runs")
    return report
