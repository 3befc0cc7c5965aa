# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a comparison of chunk policies shows: tables on the terminal, all figures as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from model_tools.chunk_comparison.compare import ComparedChunks, OnChunkRows
from model_tools.chunk_comparison.row_sets import DRAWN
from model_tools.comparison.report import DIGITS, VERDICT, number
from policy_inference.comparison.limits import Check, judged_by_walking
from policy_inference.comparison.plain_json import check_figures, difference_figures, plain

_NOT_JUDGED = "not judged"
_WORDS = ("artifact", "graph", "back end", "precision", "on", "output", "limits")


def tables(found: Sequence[ComparedChunks]) -> list[Table]:
    """Return the tables of the graphs, and of what was made of each set of observations."""
    graphs = _new("artifact", "graph", "back end", "precision", "p50 ms", "limits")
    outputs = _new("artifact", "on", "output", "RMSE", "max", "cosine min", "limits")
    for one in found:
        for key, entry in one.candidate.entries.items():
            graphs.add_row(one.candidate.label, key.removeprefix("graphs."),
                           one.candidate.backend, entry.precision,
                           f"{one.latency[key].p50_s * 1e3:.3g}", _verdict(one.checks))
        for rows in one.on_rows:
            for difference in (rows.chunk, rows.chunk_rad, *rows.features):
                outputs.add_row(
                    one.candidate.label, rows.source, difference.output,
                    *map(number, (difference.rmse, difference.max_abs, difference.cosine.min())),
                    _verdict(rows.checks) if rows.judged else _NOT_JUDGED)
    return [graphs, outputs]


def failures(found: Sequence[ComparedChunks]) -> list[str]:
    """Return a line for each limit that does not hold: artifact, figure, where, limit."""
    return [f"{one.candidate.label}: {check}" for one in found for check in one.checks
            if not check]


def remedies(found: Sequence[ComparedChunks]) -> list[str]:
    """Return what to do where artifacts of 8 bits were judged by drawn pictures alone."""
    coarse = [one.candidate.label for one in found if judged_by_walking(one.candidate.precision)]
    if not coarse or any(rows.source != DRAWN for rows in found[0].on_rows):
        return []
    return [f"{', '.join(dict.fromkeys(coarse))}: the pictures of the golden rows are drawn, which "
            "is no fair test of so few bits; compare on frames of the training: --dataset DATASET "
            "(or a recording)"]


def write_json(found: Sequence[ComparedChunks], file: Path) -> None:
    """Write all figures; what could not be measured is null, as JSON has no NaN."""
    document = {"kind": "chunk", "reference": found[0].candidate.label,
                "artifacts": list(map(_artifact, found))}
    file.write_text(json.dumps(plain(document, DIGITS), indent=1, allow_nan=False) + "\n", "utf-8")


def _artifact(one: ComparedChunks) -> dict[str, Any]:
    candidate = one.candidate
    return {
        "label": candidate.label, "bundle": str(candidate.bundle.path),
        "bundle_sha256": candidate.bundle.sha256, "backend": candidate.backend,
        "sha256": candidate.sha256, "precision": candidate.precision,
        "size_bytes": candidate.size_bytes, "holds": bool(one),
        "graphs": {key.removeprefix("graphs."): {
            "file": entry.file, "sha256": entry.sha256, "precision": entry.precision,
            "target": entry.target, "tool": entry.tool, "made": entry.made,
            "latency_s": {"p50": one.latency[key].p50_s, "p99": one.latency[key].p99_s},
        } for key, entry in candidate.entries.items()},
        "rows": list(map(_on_rows, one.on_rows)),
    }  # fmt: skip


def _on_rows(rows: OnChunkRows) -> dict[str, Any]:
    degrees = {name: math.degrees(largest)
               for name, largest in zip(rows.chunk_rad.names, rows.chunk_rad.max_abs_each,
                                        strict=True)}
    return {"rows": rows.source, "count": rows.count, "judged": rows.judged,
            "checks": check_figures(rows.checks),
            "chunk": difference_figures(rows.chunk),
            "chunk_rad": difference_figures(rows.chunk_rad), "max_abs_degrees": degrees,
            "features": {one.output: difference_figures(one) for one in rows.features}}


def _new(*columns: str) -> Table:
    table = Table()
    for name in columns:
        table.add_column(name, justify="left" if name in _WORDS else "right")
    return table


def _verdict(checks: Sequence[Check]) -> str:
    return f"[green]{VERDICT[True]}[/]" if all(checks) else f"[bold red]{VERDICT[False]}[/]"
