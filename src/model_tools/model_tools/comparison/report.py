# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a comparison shows: a table on the terminal, and all figures as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from model_tools.comparison.compare import Compared, OnRows
from model_tools.comparison.limits import Check
from model_tools.comparison.open_loop import Difference
from model_tools.compilers.registry import remedy
from model_tools.plain_json import plain

DIGITS = 6
VERDICT = {True: "holds", False: "fails"}


def tables(found: Sequence[Compared]) -> list[Table]:
    """Return the tables of the artifacts, and of how they did on each set of rows."""
    artifacts = _new_table("artifact", "back end", "KiB", "p50 us", "p99 us", "limits")
    rows_table = _new_table("artifact", "on", "MAE", "RMSE", "max", "cosine min", "limits")
    for compared in found:
        candidate, latency = compared.candidate, compared.latency
        artifacts.add_row(candidate.label, candidate.backend, f"{candidate.size_bytes / 1024:.0f}",
                          f"{latency.p50_s * 1e6:.1f}", f"{latency.p99_s * 1e6:.1f}",
                          _verdict(compared.checks))
        for rows in compared.on_rows:
            rows_table.add_row(candidate.label, rows.title, *_figures(rows.action),
                               _verdict(rows.checks))
        if compared.walks:
            rows_table.add_row(candidate.label, f"{len(compared.walks)} walks", *[""] * 4,
                               _verdict(compared.walking_checks))
    return [artifacts, rows_table]


def failures(found: Sequence[Compared]) -> list[str]:
    """Return a line for each limit that does not hold: artifact, figure, where, limit."""
    return [
        f"{compared.candidate.label}: {check.what}: expected {bound(check)}, "
        f"found {check.value:.3g} ({check.where})"
        for compared in found for check in compared.checks if not check
    ]  # fmt: skip


def remedies(found: Sequence[Compared]) -> list[str]:
    """Return a line for each artifact that does not hold a limit, where its compiler has advice."""
    artifacts = [one.candidate for one in found if not one]
    return [f"{one.label}: {advice}" for one in artifacts
            if (advice := remedy(one.backend, one.entry.precision))]


def bound(check: Check) -> str:
    """Return a limit in words."""
    return f"at {'least' if check.at_least else 'most'} {number(check.limit)}"


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
        text = name in ("artifact", "back end", "on", "limits")
        table.add_column(name, justify="left" if text else "right")
    return table


def _verdict(checks: Sequence[Check]) -> str:
    if not checks:
        return "none"
    return f"[green]{VERDICT[True]}[/]" if all(checks) else f"[bold red]{VERDICT[False]}[/]"


def _artifact(compared: Compared) -> dict[str, Any]:
    candidate = compared.candidate
    entry, latency = candidate.entry, compared.latency
    return {
        "label": candidate.label, "bundle": str(candidate.bundle.path),
        "bundle_sha256": candidate.bundle.sha256, "backend": candidate.backend,
        "file": entry.file, "sha256": entry.sha256, "precision": entry.precision,
        "size_bytes": candidate.size_bytes, "tool": entry.tool, "made": entry.made,
        "holds": bool(compared),
        "latency_s": {"p50": latency.p50_s, "p99": latency.p99_s},
        "open_loop": list(map(_on_rows, compared.on_rows)),
        "closed_loop": [
            {"command": walk.command, "survived_s": walk.outcome.survived_s,
             "error": walk.outcome.error, "tilt_deg": walk.outcome.tilt_deg,
             "torque_limit_share": walk.outcome.torque_limit_share,
             "action_change": walk.outcome.action_change, "stopped_by": walk.outcome.stopped_by}
            for walk in compared.walks
        ],
        "closed_loop_checks": _checks(compared.walking_checks),
    }  # fmt: skip


def _on_rows(rows: OnRows) -> dict[str, Any]:
    return {"rows": rows.source, "count": rows.count, "left_out": rows.left_out,
            "checks": _checks(rows.checks),
            "outputs": {found.output: _difference(found) for found in rows.differences}}


def _difference(found: Difference) -> dict[str, Any]:
    row, name = found.worst
    each = zip(found.names, found.mae_each, found.rmse_each, found.max_abs_each, found.cosine_each,
               strict=True)  # fmt: skip
    return {
        "mae": found.mae, "rmse": found.rmse, "max_abs": found.max_abs,
        "cosine_min": found.cosine.min(), "cosine_mean": found.cosine.mean(),
        "worst": {"row": row, "name": name}, "worst_direction_row": found.worst_direction,
        "each": {name: {"mae": mae, "rmse": rmse, "max_abs": largest, "cosine": cosine}
                 for name, mae, rmse, largest, cosine in each},
    }  # fmt: skip


def _checks(checks: Iterable[Check]) -> list[dict[str, Any]]:
    return [{"what": check.what, "value": check.value, "limit": check.limit,
             "at_least": check.at_least, "where": check.where, "holds": bool(check)}
            for check in checks]  # fmt: skip
