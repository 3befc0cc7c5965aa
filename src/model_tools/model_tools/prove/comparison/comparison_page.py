# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One HTML file with everything that a comparison found, kept with the models on request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from html import escape
from pathlib import Path

from model_tools.errors import ToolError
from model_tools.files.contract_text import keep_report
from model_tools.files.html_page import facts, panel, table, tag, write_page
from model_tools.files.outputs import new_file
from model_tools.prove.comparison import comparison_plots as plots
from model_tools.prove.comparison.compare import Compared, OnRows
from model_tools.prove.comparison.comparison_report import ALONE, VERDICT, number, write_json
from policy_inference.bundle.bundle import REPORT_FOLDER
from policy_inference.comparison.limits import Check
from policy_inference.comparison.open_loop import Difference

_WORDS = ("artifact", "output", "worst", "joint", "command", "figure", "where", "")
"""Heads of columns that are no figures."""


def write_html(found: Sequence[Compared], file: Path) -> None:
    """Write the report."""
    name = found[0].candidate.bundle.contract.name
    held = sum(map(bool, found))
    body = [
        f"<h1>{escape(name)}: {len(found)} artifacts compared</h1>",
        f"<p>{held} of {len(found)} hold their limits. The reference is "
        f"{escape(found[0].candidate.label)}; robot and controller run in lockstep.</p>",
        f'<div class="cards">{"".join(map(_card, found))}</div>',
        *_open_loop(found),
        *_closed_loop(found),
        "<h2>All limits</h2>",
        *map(_limits, found),
    ]
    write_page(file, f"{name}: comparison", body)


def _card(compared: Compared) -> str:
    candidate, latency = compared.candidate, compared.latency
    shown = {
        "back end": candidate.backend,
        "precision": candidate.entry.precision,
        "file": f"{candidate.entry.file}, {candidate.size_bytes / 1024:.0f} KiB",
        "SHA-256": f"{candidate.entry.sha256[:16]}...",
        "made by": candidate.entry.tool or "-",
        "p50, p99": f"{latency.p50_s * 1e6:.1f}, {latency.p99_s * 1e6:.1f} µs",
    }
    made = f"<p><small>{escape(candidate.entry.made)}</small></p>" if candidate.entry.made else ""
    return (
        f'<div class="card {_kind(bool(compared))}"><b>{escape(candidate.label)}</b> '
        f"{_tag(bool(compared))}{facts(shown.items())}{made}</div>"
    )


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
    return table(head, rows, _WORDS)


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
    return table(["joint", "MAE", "RMSE", "max", "cosine"], rows, _WORDS)


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
    yield panel(table(head, rows, _WORDS))
    yield "<p>Whether each walk itself is good, whatever the reference does:</p>"
    for one in found:
        good = all(one.alone_checks)
        yield f"<h3>{escape(one.candidate.label)} {tag(ALONE[good], _kind(good))}</h3>"
        yield _checks(one.alone_checks)


def _limits(compared: Compared) -> str:
    return f"<h3>{escape(compared.candidate.label)} {_tag(bool(compared))}</h3>" + _checks(
        compared.checks
    )


def _checks(checks: Sequence[Check]) -> str:
    rows = "".join(map(_check_row, checks))
    head = '<th>figure</th><th class="n">found</th><th class="n">limit</th><th>where</th><th></th>'
    return panel(f"<table><tr>{head}</tr>{rows}</table>")


def _check_row(check: Check) -> str:
    bad = "" if check else ' class="bad"'
    return (
        f'<tr><td{bad}>{escape(check.what)}</td><td class="n">{number(check.value)}</td>'
        f'<td class="n">{check.bound}</td><td>{escape(check.where)}</td>'
        f"<td>{_tag(bool(check))}</td></tr>"
    )


def _tag(holds: bool) -> str:
    return tag(VERDICT[holds], _kind(holds))


def _kind(holds: bool) -> str:
    return "good" if holds else "bad"


def record(found: Sequence[Compared], *, force: bool) -> list[Path]:
    """Keep figures and page in the bundle of every artifact but the reference.

    Returns:
        The files with the figures.

    Raises:
        ToolError: There is a report about one of the models already, and `force` is not given; or
            a back end built its model from another's artifact.
        OSError: A file cannot be written.
    """
    kept = []
    for one in (compared.candidate for compared in found[1:]):
        if one.backend not in one.bundle.contract.model.artifacts:
            raise ToolError(
                f"{one.bundle.path}: expected an artifact for {one.backend}, with "
                "which the report is kept, found none; compile it first"
            )
    for compared in found[1:]:
        bundle, backend = compared.candidate.bundle.path, compared.candidate.backend
        name = f"comparison_{backend}"
        with new_file(bundle / REPORT_FOLDER / f"{name}.html", force=force) as growing:
            write_html(found, growing)
            kept.append(
                keep_report(
                    bundle,
                    backend,
                    f"{name}.json",
                    partial(write_json, found),
                    sha256=compared.candidate.entry.sha256,
                    force=force,
                )
            )
    return kept
