# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a comparison shows: a table on the terminal, and all figures as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from model_tools.prove.comparison.compare import Compared, OnRows
from policy_inference.comparison.limits import Check
from policy_inference.comparison.open_loop import Difference
from policy_inference.comparison.plain_json import check_figures, difference_figures, plain

DIGITS = 6
VERDICT = {True: "holds", False: "fails"}
ALONE = {True: "good", False: "poor"}


def tables(found: Sequence[Compared]) -> list[Table]:
    """Return the tables of the artifacts, of how they did on each set of rows, and of walks."""
    artifacts = _new_table("artifact", "back end", "KiB", "p50 us", "p99 us", "limits")
    rows_table = _new_table("artifact", "on", "MAE", "RMSE", "max", "cosine min", "limits")
    for compared in found:
        candidate, latency = compared.candidate, compared.latency
        artifacts.add_row(
            candidate.label,
            candidate.backend,
            f"{candidate.size_bytes / 1024:.0f}",
            f"{latency.p50_s * 1e6:.1f}",
            f"{latency.p99_s * 1e6:.1f}",
            _verdict(compared.checks),
        )
        for rows in compared.on_rows:
            rows_table.add_row(
                candidate.label, rows.title, *_figures(rows.action), _verdict(rows.checks)
            )
    return [artifacts, rows_table, *_walks_table(found)]


def _walks_table(found: Sequence[Compared]) -> list[Table]:
    """Return the table of the worst that each artifact did in all its walks, if it walked."""
    table = _new_table(
        "artifact", "walks", "lasted s", "error", "tilt deg", "torque %", "limits", "walk"
    )
    for compared in found:
        outcomes = [walk.outcome for walk in compared.walks]
        if outcomes:
            worst = (
                min(one.survived_s for one in outcomes),
                max(max(one.error) for one in outcomes),
                max(one.tilt_deg for one in outcomes),
                100.0 * max(one.torque_limit_share for one in outcomes),
            )
            table.add_row(
                compared.candidate.label,
                str(len(outcomes)),
                *map(number, worst),
                _verdict(compared.walking_checks),
                _verdict(compared.alone_checks, ALONE),
            )
    return [table] if table.row_count else []


def failures(found: Sequence[Compared]) -> list[str]:
    """Return a line for each limit that does not hold: artifact, figure, where, limit."""
    return [
        f"{compared.candidate.label}: {check}"
        for compared in found
        for check in compared.checks
        if not check
    ]


def poor_walks(found: Sequence[Compared]) -> list[str]:
    """Return a line for each figure in which an artifact's walk itself is poor."""
    return [
        f"{compared.candidate.label}: the walk itself is poor: {check}"
        for compared in found
        for check in compared.alone_checks
        if not check
    ]


def number(value: float) -> str:
    """Return a figure as tables show it; a dash where it could not be measured."""
    return f"{value:.3g}" if math.isfinite(value) else "-"


def write_json(found: Sequence[Compared], file: Path) -> None:
    """Write all figures; what could not be measured is null, as JSON has no NaN."""
    document = {"reference": found[0].candidate.label, "artifacts": list(map(_artifact, found))}
    file.write_text(json.dumps(plain(document, DIGITS), indent=1, allow_nan=False) + "\n", "utf-8")


def _figures(found: Difference) -> tuple[str, ...]:
    return tuple(map(number, (found.mae, found.rmse, found.max_abs, found.cosine.min())))


def _new_table(*columns: str) -> Table:
    table = Table()
    for name in columns:
        text = name in ("artifact", "back end", "on", "limits", "walk")
        table.add_column(name, justify="left" if text else "right")
    return table


def _verdict(checks: Sequence[Check], words: Mapping[bool, str] = VERDICT) -> str:
    if not checks:
        return "none"
    return f"[green]{words[True]}[/]" if all(checks) else f"[bold red]{words[False]}[/]"


def _artifact(compared: Compared) -> dict[str, Any]:
    candidate = compared.candidate
    entry, latency = candidate.entry, compared.latency
    return {
        "label": candidate.label,
        "bundle": str(candidate.bundle.path),
        "bundle_sha256": candidate.bundle.sha256,
        "backend": candidate.backend,
        "file": entry.file,
        "sha256": entry.sha256,
        "precision": entry.precision,
        "size_bytes": candidate.size_bytes,
        "tool": entry.tool,
        "made": entry.made,
        "holds": bool(compared),
        "latency_s": {"p50": latency.p50_s, "p99": latency.p99_s},
        "open_loop": list(map(_on_rows, compared.on_rows)),
        "closed_loop": [
            {
                "command": walk.command,
                "survived_s": walk.outcome.survived_s,
                "error": walk.outcome.error,
                "tilt_deg": walk.outcome.tilt_deg,
                "torque_limit_share": walk.outcome.torque_limit_share,
                "action_change": walk.outcome.action_change,
                "stopped_by": walk.outcome.stopped_by,
            }
            for walk in compared.walks
        ],
        "closed_loop_checks": check_figures(compared.walking_checks),
        "walk_itself_checks": check_figures(compared.alone_checks),
    }


def _on_rows(rows: OnRows) -> dict[str, Any]:
    return {
        "rows": rows.source,
        "count": rows.count,
        "left_out": rows.left_out,
        "checks": check_figures(rows.checks),
        "outputs": {found.output: difference_figures(found) for found in rows.differences},
    }
