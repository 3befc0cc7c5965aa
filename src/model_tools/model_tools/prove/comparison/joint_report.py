# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The report on compared joint policies: each output, each walk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from rich.table import Table
from rich.text import Text

from model_tools.files.html_page import facts, panel, table
from model_tools.prove.comparison import comparison_plots as plots
from model_tools.prove.comparison.compare import Compared
from model_tools.prove.comparison.on_rows import OnRows
from model_tools.prove.comparison.report_parts import (
    WORDS,
    checks_panel,
    new_table,
    number,
    verdict_cell,
    verdict_class,
    verdict_tag,
)
from policy_inference.comparison.open_loop import Difference
from policy_inference.comparison.plain_json import check_figures, difference_figures

ALONE = {True: "good", False: "poor"}
MODEL = "model"
"""Key of the only model in the contract."""


class JointReport:
    """Shows what was found of joint policies."""

    kind = ""
    explanation = "; robot and controller run in lockstep."

    def tables(self, found: Sequence[Compared]) -> list[Table]:
        """Return the tables of the artifacts, of how they did on each set of rows, and of walks."""
        artifacts = new_table("artifact", "back end", "KiB", "p50 us", "p99 us", "limits")
        rows_table = new_table("artifact", "on", "MAE", "RMSE", "max", "cosine min", "limits")
        for compared in found:
            candidate, latency = compared.candidate, compared.latency[MODEL]
            artifacts.add_row(
                Text(candidate.label),
                candidate.backend,
                f"{candidate.size_bytes / 1024:.0f}",
                f"{latency.p50_s * 1e6:.1f}",
                f"{latency.p99_s * 1e6:.1f}",
                verdict_cell(compared.checks),
            )
            for rows in compared.on_rows:
                rows_table.add_row(
                    Text(candidate.label),
                    Text(rows.title),
                    *_figures(rows.action),
                    verdict_cell(rows.checks),
                )
        return [artifacts, rows_table, *_walks_table(found)]

    def warnings(self, found: Sequence[Compared]) -> list[str]:
        """Return a line for each figure in which an artifact's walk itself is poor."""
        return [
            f"{compared.candidate.label}: the walk itself is poor: {check}"
            for compared in found
            for check in compared.alone_checks
            if not check
        ]

    def figures(self, one: Compared) -> dict[str, Any]:
        """Return what was found of an artifact, for JSON."""
        candidate = one.candidate
        entry, latency = candidate.entry, one.latency[MODEL]
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
            "holds": bool(one),
            "latency_s": {"p50": latency.p50_s, "p99": latency.p99_s},
            "open_loop": list(map(_on_rows, one.on_rows)),
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
                for walk in one.walks
            ],
            "closed_loop_checks": check_figures(one.walking_checks),
            "walk_itself_checks": check_figures(one.alone_checks),
        }

    def card(self, one: Compared) -> str:
        """Return the part of the page that shows an artifact at a glance."""
        candidate, latency = one.candidate, one.latency[MODEL]
        shown = {
            "back end": candidate.backend,
            "precision": candidate.entry.precision,
            "file": f"{candidate.entry.file}, {candidate.size_bytes / 1024:.0f} KiB",
            "SHA-256": f"{candidate.entry.sha256[:16]}...",
            "made by": candidate.entry.tool or "-",
            "p50, p99": f"{latency.p50_s * 1e6:.1f}, {latency.p99_s * 1e6:.1f} µs",
        }
        made = (
            f"<p><small>{escape(candidate.entry.made)}</small></p>" if candidate.entry.made else ""
        )
        return (
            f'<div class="card {verdict_class(bool(one))}"><b>{escape(candidate.label)}</b> '
            f"{verdict_tag(bool(one))}{facts(shown.items())}{made}</div>"
        )

    def sections(self, found: Sequence[Compared]) -> Iterable[str]:
        """Yield the sections of all rows and of walks."""
        yield from _open_loop(found)
        yield from _closed_loop(found)


def _walks_table(found: Sequence[Compared]) -> list[Table]:
    """Return the table of the worst that each artifact did in all its walks, if it walked."""
    table = new_table(
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
                Text(compared.candidate.label),
                str(len(outcomes)),
                *map(number, worst),
                verdict_cell(compared.walking_checks),
                verdict_cell(compared.alone_checks, ALONE),
            )
    return [table] if table.row_count else []


def _figures(found: Difference) -> tuple[str, ...]:
    return tuple(map(number, (found.mae, found.rmse, found.max_abs, found.cosine.min())))


def _on_rows(rows: OnRows) -> dict[str, Any]:
    return {
        "rows": rows.source,
        "count": rows.count,
        "left_out": rows.left_out,
        "checks": check_figures(rows.checks),
        "outputs": {found.output: difference_figures(found) for found in rows.differences},
    }


def _open_loop(found: Sequence[Compared]) -> Iterable[str]:
    """Yield a section for each set of rows; the reference is in the tables only."""
    for index, rows in enumerate(found[0].on_rows):
        entries = [(one.candidate.label, one.on_rows[index]) for one in found]
        others = [(label, on_rows.action) for label, on_rows in entries[1:]]
        yield f"<h2>Open loop: {escape(rows.title)}, {rows.count} rows</h2>"
        yield panel(_open_loop_table(entries))
        yield panel(plots.error_by_value(others)) + panel(plots.cosine_by_row(others))
        for label, difference in others:
            yield (
                f"<details><summary>{escape(label)}: by joint, and the worst row</summary>"
                f"{panel(_by_value(difference))}{panel(plots.worst_row(label, difference))}"
                "</details>"
            )


def _open_loop_table(entries: Sequence[tuple[str, OnRows]]) -> str:
    head = ["artifact", "output", "MAE", "RMSE", "max", "cosine min", "cosine mean", "worst"]
    rows = [
        [
            label,
            found.output,
            *map(
                number,
                (found.mae, found.rmse, found.max_abs, found.cosine.min(), found.cosine.mean()),
            ),
            "row {}, {}".format(*found.worst),
        ]
        for label, on_rows in entries
        for found in on_rows.differences
    ]
    return table(head, rows, WORDS)


def _by_value(found: Difference) -> str:
    rows = [
        [name, *map(number, figures)]
        for name, *figures in zip(
            found.names,
            found.mae_each,
            found.rmse_each,
            found.max_abs_each,
            found.cosine_each,
            strict=True,
        )
    ]
    return table(["joint", "MAE", "RMSE", "max", "cosine"], rows, WORDS)


def _closed_loop(found: Sequence[Compared]) -> Iterable[str]:
    """Yield the section of walks, where there are any."""
    if not found[0].walks:
        return
    yield f"<h2>Closed loop: {found[0].walks[0].outcome.duration_s:g} s each</h2>"
    yield "<p>Commands: vx, vy in m/s, yaw rate in rad/s. Velocities: means over a stride.</p>"
    yield panel(plots.walks([(one.candidate.label, one.walks) for one in found]))
    rows = [
        [
            one.candidate.label,
            walk.outcome.name,
            f"{walk.outcome.survived_s:.1f} s",
            *map(number, walk.outcome.error),
            number(walk.outcome.tilt_deg),
            number(100.0 * walk.outcome.torque_limit_share),
            number(walk.outcome.action_change),
        ]
        for one in found
        for walk in one.walks
    ]
    head = [
        "artifact",
        "command",
        "survived",
        "error vx",
        "vy",
        "yaw rate",
        "tilt, degrees",
        "torque limit, %",
        "|action change|",
    ]
    yield panel(table(head, rows, WORDS))
    yield "<p>Whether each walk itself is good, whatever the reference does:</p>"
    for one in found:
        good = all(one.alone_checks)
        yield f"<h3>{escape(one.candidate.label)} {verdict_tag(good, ALONE)}</h3>"
        yield checks_panel(one.alone_checks)
