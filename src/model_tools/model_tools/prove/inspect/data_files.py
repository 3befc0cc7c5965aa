# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Data files: numpy or safetensors arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from model_tools.errors import listed
from model_tools.files.arrays import read_arrays, read_tensors
from model_tools.files.file_types import find_suffix
from model_tools.prove.calibration.calibration_files import PROVENANCE, kept_in
from model_tools.prove.inspect.inspection import InspectionReport
from policy_core.bundle.verified import sha256_file
from policy_core.interfaces import Tensor

_SAFETENSORS = ".safetensors"
_ACTIONS = ("actions", "action")
_SHOWN = 12
_LARGEST_SPREAD = 1e3
"""In rad, rad/s, m/s or N·m; a larger divisor makes a value vanish."""


def inspect_arrays(path: Path) -> InspectionReport:
    arrays = read_tensors(path) if find_suffix(path) == _SAFETENSORS else read_arrays(path)
    report = InspectionReport(kind="arrays (npz, npy, safetensors)", path=path)
    report.hash(sha256_file(path))
    report.values["arrays"] = {
        name: {"dtype": str(array.dtype), "shape": array.shape, **_range(array)}
        for name, array in arrays.items()
    }
    report.row("looks like", _looks_like(arrays))
    if PROVENANCE in arrays:
        _add_verdict(arrays[PROVENANCE], report)
    for name, array in arrays.items():
        if name != PROVENANCE:
            report.row(name, _words(array))
        suspect_values(name, array, report)
    if {"mean", "std"} <= set(arrays):
        _suspect_statistics(arrays["mean"], arrays["std"], report)
    if "obs" in arrays:
        actions = next((arrays[name] for name in _ACTIONS if name in arrays), None)
        _suspect_rows(arrays["obs"], actions, report)
    return report


def _add_verdict(provenance: Tensor, report: InspectionReport) -> None:
    kept = kept_in(provenance)
    if kept is None:
        report.suspect(f"{PROVENANCE} is not what calibrate writes there")
        return
    report.row("rows of", f"{kept.source}, for {kept.bundle}")
    report.row("verdict", kept.verdict.words)
    report.problems.extend(kept.verdict.problems)
    report.suspicions.extend(kept.verdict.warnings)


def _looks_like(arrays: Mapping[str, Tensor]) -> str:
    names = set(arrays)
    if PROVENANCE in names:
        return "calibration rows"
    if {"mean", "std"} <= names:
        return "statistics of observations (obs_stats)"
    if "obs" not in names:
        return "arrays with names that no tool here uses"
    return "rows of a model, as golden ones" if names & set(_ACTIONS) else "rows of observations"


def _words(array: Tensor) -> str:
    shape = f"{array.dtype}{list(array.shape)}"
    if array.dtype.kind in "US":
        return ", ".join(map(str, array.flat[:40]))
    found = _range(array)
    return f"{shape} in {found['min']:.6g} .. {found['max']:.6g}" if found else shape


def _range(array: Tensor) -> dict[str, float]:
    """Return the smallest and the largest finite number; empty without finite numbers."""
    finite = array[np.isfinite(array)] if array.dtype.kind in "biuf" else array.ravel()[:0]
    return {"min": float(finite.min()), "max": float(finite.max())} if finite.size else {}


def suspect_values(name: str, array: Tensor, report: InspectionReport) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        share = 1.0 - np.isfinite(array).mean()
        report.suspect(f"{name} holds NaN or infinite values ({share:.1%})")


def _suspect_statistics(mean: Tensor, std: Tensor, report: InspectionReport) -> None:
    if mean.shape != std.shape:
        report.suspect(f"mean {list(mean.shape)} and std {list(std.shape)} differ in shape")
    if std.dtype.kind not in "iuf":
        return
    spread = np.asarray(std, np.float64)
    if len(zero := np.flatnonzero(spread <= 0.0)):
        report.suspect(
            f"std is 0 or less at {listed(zero, _SHOWN)}; constant values are divided by a floor "
            "or not at all"
        )
    if len(large := np.flatnonzero(spread > _LARGEST_SPREAD)):
        report.suspect(f"std is above {_LARGEST_SPREAD:g} at {listed(large, _SHOWN)}")


def _suspect_rows(obs: Tensor, actions: Tensor | None, report: InspectionReport) -> None:
    """Note rows with little information; `obs` and `actions` are [rows, ...]."""
    if obs.ndim < 2 or obs.dtype.kind not in "iuf":
        return
    if actions is not None and len(actions) != len(obs):
        report.suspect(f"{len(obs)} rows of obs and {len(actions)} of actions")
    if len(obs) < 2:
        return
    rows = obs.reshape(len(obs), -1)
    if len(constant := np.flatnonzero((rows == rows[0]).all(axis=0))):
        report.suspect(f"obs never changes in the columns {listed(constant, _SHOWN)}")
    if repeated := len(rows) - len({row.tobytes() for row in rows}):
        report.suspect(f"{repeated} of {len(rows)} rows of obs repeat others")
