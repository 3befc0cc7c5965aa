# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Digests of arrays and texts, the files that keep both, and where two results differ first."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Stage = Array | Sequence[str]
"""What one stage of a case gave: an array with a row per tick, frame or sample; or lines of text.

Lines are text because a change of a text should be readable: JSON documents, answers, reasons.
"""
Case = Mapping[str, Stage]
"""The stages of a case by name, in the order of the data: the first that differs is the cause."""
Digest = dict[str, Any]
_SHOWN = 4
_WIDTH = 100


class CaseError(Exception):
    """The suite did not do what a case asked for, so that there is nothing to digest."""


def digest(stage: Stage) -> Digest:
    """Return the SHA-256 of a stage, and a few figures for people.

    Every bit of a number counts, except those of NaN: all NaN are one.
    """
    if isinstance(stage, np.ndarray):
        rows = _canonical(stage)
        header = f"{rows.dtype.str} {list(rows.shape)}\n".encode()
        ends = [_shown(rows[place]) for place in (0, -1)] if len(rows) else ["", ""]
        return {
            "rows": list(rows.shape),
            "dtype": rows.dtype.name,
            "first": ends[0],
            "last": ends[1],
            "sha256": hashlib.sha256(header + rows.tobytes()).hexdigest(),
        }
    text = "\n".join(stage)
    return {
        "lines": len(stage),
        "first": stage[0][:_WIDTH] if stage else "",
        "last": stage[-1][:_WIDTH] if stage else "",
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


def write(file: Path, digests: Mapping[str, Mapping[str, Digest]]) -> None:
    """Write digests by case and stage, one stage per line, so that git shows what changed."""
    cases = [
        f"{json.dumps(name)}: {{\n"
        + ",\n".join(f"  {json.dumps(stage)}: {json.dumps(found)}" for stage, found in case.items())
        + "\n}"
        for name, case in sorted(digests.items())
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("{\n" + ",\n".join(cases) + "\n}\n", "utf-8")


def keep(folder: Path, name: str, case: Case) -> None:
    """Keep all stages of a case in a folder, for later comparisons."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    for stage, found in case.items():
        file = _file(folder, name, stage, found)
        if isinstance(found, np.ndarray):
            np.save(file, _canonical(found))
        else:
            file.write_text("\n".join(found), "utf-8")


def kept(folder: Path, name: str, stage: str, found: Stage) -> Stage | None:
    """Return what `keep` kept of a stage that is of the same type as `found`; None: nothing."""
    file = _file(folder, name, stage, found)
    if not file.is_file():
        return None
    if isinstance(found, np.ndarray):
        before: Array = np.load(file)
        return before
    return file.read_text("utf-8").split("\n")


def difference(before: Stage, found: Stage) -> str:
    """Say where two results of a stage differ first, with both values."""
    if isinstance(before, np.ndarray) and isinstance(found, np.ndarray):
        return _array_difference(before, _canonical(found))
    lines = enumerate(zip_longest(before, found, fillvalue="(no such line)"), 1)
    for number, (expected, actual) in lines:
        if expected != actual:
            return f"line {number}:\n      - {expected[:400]}\n      + {actual[:400]}"
    return "none: what was kept is of another run than the digests"


def _array_difference(before: Array, found: Array) -> str:
    shapes = f"rows {list(before.shape)} -> {list(found.shape)}; " * (before.shape != found.shape)
    if before.dtype != found.dtype or before.shape[1:] != found.shape[1:]:
        return f"{shapes}{before.dtype} -> {found.dtype}"
    rows = min(len(before), len(found))
    equal = before[:rows] == found[:rows]
    if before.dtype.kind == "f":
        equal |= np.isnan(before[:rows]) & np.isnan(found[:rows])
    places = np.argwhere(~equal)
    if not len(places):
        return f"{shapes}the rows that both have are equal"
    first = tuple(int(index) for index in places[0])
    row, *column = first
    return (
        f"{shapes}first in row {row}, column {', '.join(map(str, column)) or 0}: "
        f"{before[first]!r} -> {found[first]!r}; {len(places)} values differ, "
        f"in {len(np.unique(places[:, 0]))} of {rows} rows"
    )


def _canonical(stage: Array) -> Array:
    """Return little-endian rows in C order, of at least one axis; NaN are those of numpy."""
    rows = np.ascontiguousarray(np.atleast_1d(stage)).astype(stage.dtype.newbyteorder("<"))
    if rows.dtype.kind == "f":
        rows = np.where(np.isnan(rows), np.array(np.nan, rows.dtype), rows)
    return rows


def _shown(row: Array) -> str:
    values = np.ravel(row)
    more = " ..." * (values.size > _SHOWN)
    return " ".join(f"{value:.6g}" for value in values[:_SHOWN].tolist()) + more


def _file(folder: Path, name: str, stage: str, found: Stage) -> Path:
    return folder / name / f"{stage}{'.npy' if isinstance(found, np.ndarray) else '.txt'}"
