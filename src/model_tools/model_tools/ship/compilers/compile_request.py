# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A user's compile request, and the checks that are possible before any work starts."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from model_tools.errors import ToolError
from model_tools.files.onnx_model import read_onnx
from model_tools.ship.compilers.compiler import Compiler
from policy_core.bundle.bundle import ModelFiles
from policy_core.onnx_file import LARGEST_BYTES, require_whole
from policy_core.safe_files import read_at_most

REFERENCE, REFERENCE_PRECISION = "onnx", "fp32"
_log = logging.getLogger("model_tools")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileRequest:
    """Options for a compilation.

    Attributes:
        compiler: Name of a registered compiler.
        bundle: Folder of the bundle with the reference model.
        precision, target: Precision and target, from the values that the compiler supports.
        options: Values of the compiler's options, by name.
        rows: Calibration rows in a format of `model_tools.files.row_files.read_rows`; for a chunk
            policy a LeRobot dataset or rosbag2 recording. Unused for a precision without
            calibration.
        topics: Recorded topics, by input, for inputs whose topics were renamed.
        samples: Number of rows to take; None for the usual number.
        output: Folder of the new bundle.
        force: Replace an existing bundle.
        allow_poor: Use the rows even if they fail the quality check of `calibrate`.
    """

    compiler: str
    bundle: Path
    precision: str
    target: str | None
    rows: Path | None
    samples: int | None
    output: Path
    force: bool = False
    allow_poor: bool = False
    topics: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)


def check(request: CompileRequest, compiler: Compiler) -> None:
    """Raise unless the compiler supports the request and is given any rows that it needs."""
    if request.precision not in compiler.precisions:
        now = getattr(compiler, "former_precisions", {}).get(request.precision)
        raise ToolError(
            f"{request.compiler}: expected one of the precisions {', '.join(compiler.precisions)}, "
            f"found {request.precision!r}" + (f", which is called {now} now" if now else "")
        )
    if request.target not in (compiler.targets or (None,)):
        offered = ", ".join(compiler.targets) or "none: its files run on any machine"
        raise ToolError(
            f"{request.compiler}: expected one of the compiler's targets ({offered}), found "
            f"{request.target or 'none'}"
        )
    unknown = ", ".join(sorted(set(request.options) - set(compiler.options)))
    if unknown:
        known = ", ".join(compiler.options)
        expected = f"only options from [{known}]" if known else "no options"
        raise ToolError(f"{request.compiler}: expected {expected}, found {unknown}")
    if compiler.precisions[request.precision] and request.rows is None:
        raise ToolError(
            f"{request.compiler}: {request.precision}: expected calibration rows (--rows, or "
            "--dataset for a chunk policy), found none"
        )
    if request.output.resolve().is_relative_to(request.bundle.resolve()):
        raise ToolError(
            f"{request.output}: expected a folder outside the source bundle, found one in "
            f"{request.bundle}"
        )


def calibrating(request: CompileRequest, compiler: Compiler) -> Path | None:
    """Return the path of the rows if the precision is calibrated; else warn about unused rows."""
    if compiler.precisions[request.precision]:
        return request.rows
    if request.rows is not None:
        _log.warning("%s needs no calibration: %s is ignored", request.precision, request.rows)
    return None


def reference(model: ModelFiles) -> Path:
    """Verify that a reference model is complete, with finite weights; return its path."""
    entry, file = model.artifact(REFERENCE)
    if entry.precision != REFERENCE_PRECISION:
        raise ToolError(
            f"{model.folder}: expected the artifact {REFERENCE} in "
            f"{REFERENCE_PRECISION}, found {entry.precision}; compile from the bundle "
            "with the reference model"
        )
    require_whole(file, read_at_most(file, LARGEST_BYTES))
    read_onnx(file).require_finite()
    return file
