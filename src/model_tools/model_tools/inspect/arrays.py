# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Arrays of numpy or safetensors: golden rows, recordings, statistics, or any others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from model_tools.array_files import read_arrays
from model_tools.calibration.provenance import PROVENANCE, kept_in
from model_tools.inspect.array_checks import suspect_rows, suspect_statistics, suspect_values
from model_tools.inspect.report import Report
from model_tools.inspect.safetensors_file import read_tensors
from model_tools.inspect.signature import suffix_of
from policy_inference.bundle.verified import sha256_of
from policy_inference.interfaces import Tensor

KIND = "arrays (npz, npy, safetensors)"
_SAFETENSORS = ".safetensors"
_ACTIONS = ("actions", "action")


def recognise(path: Path) -> bool:
    """Return whether it begins as one, or is named as one."""
    return suffix_of(path) in (".npz", ".npy", _SAFETENSORS)


def inspect(path: Path) -> Report:
    """Return shapes, types and ranges.

    Raises:
        ToolError: It is another kind of file, is cut off, or holds Python objects.
    """
    arrays = read_tensors(path) if suffix_of(path) == _SAFETENSORS else read_arrays(path)
    report = Report(kind=KIND, path=path)
    report.row("sha256", sha256_of(path))
    report.row("looks like", _looks_like(arrays))
    _add_verdict(arrays, report)
    for name, array in arrays.items():
        if name != PROVENANCE:
            report.row(name, _words(array))
        suspect_values(name, array, report)
    if {"mean", "std"} <= set(arrays):
        suspect_statistics(arrays["mean"], arrays["std"], report)
    if "obs" in arrays:
        actions = next((arrays[name] for name in _ACTIONS if name in arrays), None)
        suspect_rows(arrays["obs"], actions, report)
    return report


def _add_verdict(arrays: Mapping[str, Tensor], report: Report) -> None:
    """Add what the file says of its rows, where `calibrate` made it."""
    if PROVENANCE not in arrays:
        return
    kept = kept_in(arrays[PROVENANCE])
    if kept is None:
        report.suspect(f"{PROVENANCE} is not what calibrate writes there")
        return
    report.row("rows of", f"{kept.source}, for {kept.bundle}")
    report.row("verdict", kept.words)
    for text in (*kept.problems, *kept.warnings):
        report.suspect(text)


def _looks_like(arrays: Mapping[str, Tensor]) -> str:
    names = set(arrays)
    if PROVENANCE in names:
        return "rows to calibrate with"
    if {"mean", "std"} <= names:
        return "statistics of observations (obs_stats)"
    if "obs" not in names:
        return "arrays that no tool here knows by name"
    if _is_even(arrays.get("time")):
        return "a recorded rollout"
    return "rows of a model, as golden ones" if names & set(_ACTIONS) else "rows of observations"


def _is_even(time: Tensor | None) -> bool:
    """Return whether these are the times of rows that follow each other, a few of them late."""
    if time is None or time.ndim != 1 or len(time) < 2 or time.dtype.kind != "f":
        return False
    steps = np.diff(np.asarray(time, np.float64))
    return bool(np.isclose(steps, np.median(steps), rtol=0.5).mean() > 0.9)


def _words(array: Tensor) -> str:
    """Return shape and type, and the range of numbers or the first texts."""
    shape = f"{array.dtype}{list(array.shape)}"
    if array.dtype.kind in "US":
        return f"{', '.join(map(str, array.flat[:40]))}"
    finite = array[np.isfinite(array)] if array.dtype.kind in "biuf" else array[:0]
    return f"{shape} in {finite.min():.6g} .. {finite.max():.6g}" if finite.size else shape
