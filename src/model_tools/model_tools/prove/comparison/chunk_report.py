# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a comparison of chunk policies shows: tables, figures as JSON, and a page that is kept."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from rich.table import Table

from model_tools.errors import ToolError
from model_tools.files.contract_text import keep_report
from model_tools.files.html_page import facts, panel, table, tag, write_page
from model_tools.files.outputs import new_file
from model_tools.prove.comparison import comparison_plots as plots
from model_tools.prove.comparison.chunk_candidates import DRAWN
from model_tools.prove.comparison.chunk_compare import ComparedChunks, OnChunkRows
from model_tools.prove.comparison.comparison_plots import worst_chunk
from model_tools.prove.comparison.comparison_report import DIGITS, VERDICT, number
from policy_inference.bundle.bundle import REPORT_FOLDER, model_sha256
from policy_inference.comparison.limits import Check, judged_by_walking
from policy_inference.comparison.plain_json import check_figures, difference_figures, plain

_NOT_JUDGED = "not judged"
_WORDS = ("artifact", "graph", "back end", "precision", "on", "output", "limits")
_TEXTS = ("artifact", "output", "worst", "joint", "figure", "limit", "where", "")


def tables(found: Sequence[ComparedChunks]) -> list[Table]:
    """Return the tables of the graphs, and of what was made of each set of observations."""
    graphs = _new("artifact", "graph", "back end", "precision", "p50 ms", "limits")
    outputs = _new("artifact", "on", "output", "RMSE", "max", "cosine min", "limits")
    for one in found:
        for key, entry in one.candidate.entries.items():
            graphs.add_row(
                one.candidate.label,
                key.removeprefix("graphs."),
                one.candidate.backend,
                entry.precision,
                f"{one.latency[key].p50_s * 1e3:.3g}",
                _verdict_cell(one.checks),
            )
        for rows in one.on_rows:
            for difference in (rows.chunk, rows.chunk_rad, *rows.features):
                outputs.add_row(
                    one.candidate.label,
                    rows.source,
                    difference.output,
                    *map(number, (difference.rmse, difference.max_abs, difference.cosine.min())),
                    _verdict_cell(rows.checks) if rows.judged else _NOT_JUDGED,
                )
    return [graphs, outputs]


def failures(found: Sequence[ComparedChunks]) -> list[str]:
    """Return a line for each limit that does not hold: artifact, figure, where, limit."""
    return [f"{one.candidate.label}: {check}" for one in found for check in one.checks if not check]


def remedies(found: Sequence[ComparedChunks]) -> list[str]:
    """Return what to do where artifacts of 8 bits were judged by drawn pictures alone."""
    coarse = [one.candidate.label for one in found if judged_by_walking(one.candidate.precision)]
    if not coarse or any(rows.source != DRAWN for rows in found[0].on_rows):
        return []
    return [
        f"{', '.join(dict.fromkeys(coarse))}: the pictures of the golden rows are drawn, which "
        "is no fair test of so few bits; compare on frames of the training: --dataset DATASET "
        "(or a recording)"
    ]


def write_chunk_json(found: Sequence[ComparedChunks], file: Path) -> None:
    """Write all figures; what could not be measured is null, as JSON has no NaN."""
    document = {
        "kind": "chunk",
        "reference": found[0].candidate.label,
        "artifacts": list(map(_artifact, found)),
    }
    file.write_text(json.dumps(plain(document, DIGITS), indent=1, allow_nan=False) + "\n", "utf-8")


def _artifact(one: ComparedChunks) -> dict[str, Any]:
    candidate = one.candidate
    return {
        "label": candidate.label,
        "bundle": str(candidate.bundle.path),
        "bundle_sha256": candidate.bundle.sha256,
        "backend": candidate.backend,
        "sha256": candidate.sha256,
        "precision": candidate.precision,
        "size_bytes": candidate.size_bytes,
        "holds": bool(one),
        "graphs": {
            key.removeprefix("graphs."): {
                "file": entry.file,
                "sha256": entry.sha256,
                "precision": entry.precision,
                "target": entry.target,
                "tool": entry.tool,
                "made": entry.made,
                "latency_s": {"p50": one.latency[key].p50_s, "p99": one.latency[key].p99_s},
            }
            for key, entry in candidate.entries.items()
        },
        "rows": list(map(_on_rows, one.on_rows)),
    }


def _on_rows(rows: OnChunkRows) -> dict[str, Any]:
    degrees = {
        name: math.degrees(largest)
        for name, largest in zip(rows.chunk_rad.names, rows.chunk_rad.max_abs_each, strict=True)
    }
    return {
        "rows": rows.source,
        "count": rows.count,
        "judged": rows.judged,
        "checks": check_figures(rows.checks),
        "chunk": difference_figures(rows.chunk),
        "chunk_rad": difference_figures(rows.chunk_rad),
        "max_abs_degrees": degrees,
        "features": {one.output: difference_figures(one) for one in rows.features},
    }


def _new(*columns: str) -> Table:
    table = Table()
    for name in columns:
        table.add_column(name, justify="left" if name in _WORDS else "right")
    return table


def _verdict_cell(checks: Sequence[Check]) -> str:
    return f"[green]{VERDICT[True]}[/]" if all(checks) else f"[bold red]{VERDICT[False]}[/]"


def write_chunk_page(found: Sequence[ComparedChunks], file: Path) -> None:
    """Write the report."""
    name, held = found[0].candidate.bundle.contract.name, sum(map(bool, found))
    write_page(
        file,
        f"{name}: comparison",
        [
            f"<h1>{escape(name)}: {len(found)} artifacts compared</h1>",
            f"<p>{held} of {len(found)} hold their limits. The reference is "
            f"{escape(found[0].candidate.label)}. Chunks are normalised: 1 is a standard deviation "
            "of the actions in training.</p>",
            f'<div class="cards">{"".join(map(_card, found))}</div>',
            *(part for index in range(len(found[0].on_rows)) for part in _section(found, index)),
            "<h2>All limits</h2>",
            *map(_limits, found),
        ],
    )


def _card(one: ComparedChunks) -> str:
    candidate = one.candidate
    shown = [("back end", candidate.backend), ("files", f"{candidate.size_bytes / 1024:.0f} KiB")]
    shown += [
        (
            key.removeprefix("graphs."),
            f"{entry.precision}, p50 {one.latency[key].p50_s * 1e3:.3g} ms",
        )
        for key, entry in candidate.entries.items()
    ]
    return (
        f'<div class="card {_kind(bool(one))}"><b>{escape(candidate.label)}</b> '
        f"{_tag(bool(one))}{facts(shown)}</div>"
    )


def _section(found: Sequence[ComparedChunks], index: int) -> Iterator[str]:
    """Yield what was made of a set of observations; the reference is in the table only."""
    entries = [(one.candidate.label, one.on_rows[index]) for one in found]
    yield f"<h2>{escape(entries[0][1].source)}, {entries[0][1].count} observations</h2>"
    rows = [
        [
            label,
            one.output,
            *map(number, (one.mae, one.rmse, one.max_abs, one.cosine.min())),
            "row {}, {}".format(*one.worst),
        ]
        for label, on_rows in entries
        for one in (on_rows.chunk, on_rows.chunk_rad, *on_rows.features)
    ]
    yield panel(
        table(["artifact", "output", "MAE", "RMSE", "max", "cosine min", "worst"], rows, _TEXTS)
    )
    unjudged = ", ".join(label for label, on_rows in entries if not on_rows.judged)
    if unjudged:
        yield f"<p>Not judged here, since the pictures are drawn: {escape(unjudged)}.</p>"
    others = [(label, on_rows.chunk) for label, on_rows in entries[1:]]
    yield panel(plots.error_by_value(others)) + panel(plots.cosine_by_row(others))
    for label, on_rows in entries[1:]:
        yield (
            f"<details><summary>{escape(label)}: by joint, and the worst chunk</summary>"
            f"{panel(_by_joint(on_rows))}{panel(worst_chunk(label, on_rows))}</details>"
        )


def _by_joint(rows: OnChunkRows) -> str:
    chunk, rad = rows.chunk, rows.chunk_rad
    head = ["joint", "RMSE", "max", "cosine", "RMSE, rad", "max, rad", "max, degrees"]
    columns = zip(
        chunk.names,
        chunk.rmse_each,
        chunk.max_abs_each,
        chunk.cosine_each,
        rad.rmse_each,
        rad.max_abs_each,
        strict=True,
    )
    return table(
        head,
        [
            [name, *map(number, figures), number(math.degrees(figures[-1]))]
            for name, *figures in columns
        ],
        _TEXTS,
    )


def _limits(one: ComparedChunks) -> str:
    rows = [
        [check.what, number(check.value), check.bound, check.where, VERDICT[bool(check)]]
        for check in one.checks
    ]
    return f"<h3>{escape(one.candidate.label)} {_tag(bool(one))}</h3>" + panel(
        table(["figure", "found", "limit", "where", ""], rows, _TEXTS)
    )


def _tag(holds: bool) -> str:
    return tag(VERDICT[holds], _kind(holds))


def _kind(holds: bool) -> str:
    return "good" if holds else "bad"


def record_chunks(found: Sequence[ComparedChunks], *, force: bool) -> list[Path]:
    """Keep figures and page in the bundle of every artifact but the reference.

    Returns:
        The files with the figures.

    Raises:
        ToolError: There is a report about one of the artifacts already, and `force` is not given;
            or a back end built its models from another's artifacts.
        OSError: A file cannot be written.
    """
    others = [one.candidate for one in found[1:]]
    for one in others:
        if model_sha256(one.bundle.contract, one.backend) is None:
            raise ToolError(
                f"{one.bundle.path}: expected artifacts for {one.backend}, with which "
                "the report is kept, found none; compile them first"
            )
    kept = []
    for one in others:
        folder, name = one.bundle.path, f"comparison_{one.backend}"
        with new_file(folder / REPORT_FOLDER / f"{name}.html", force=force) as growing:
            write_chunk_page(found, growing)
            kept.append(
                keep_report(
                    folder,
                    one.backend,
                    f"{name}.json",
                    partial(write_chunk_json, found),
                    sha256=one.sha256,
                    force=force,
                )
            )
    return kept
