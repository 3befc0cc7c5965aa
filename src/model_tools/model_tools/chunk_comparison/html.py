# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One HTML file with everything that a comparison of chunk policies found."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from model_tools.chunk_comparison.compare import ComparedChunks, OnChunkRows
from model_tools.chunk_comparison.plots import worst_chunk
from model_tools.comparison import plots
from model_tools.comparison.report import VERDICT, number
from model_tools.html_page import facts, panel, table, tag, write_page

_WORDS = ("artifact", "output", "worst", "joint", "figure", "limit", "where", "")


def write_html(found: Sequence[ComparedChunks], file: Path) -> None:
    """Write the report."""
    name, held = found[0].candidate.bundle.contract.name, sum(map(bool, found))
    write_page(file, f"{name}: comparison", [
        f"<h1>{escape(name)}: {len(found)} artifacts compared</h1>",
        f"<p>{held} of {len(found)} hold their limits. The reference is "
        f"{escape(found[0].candidate.label)}. Chunks are normalised: 1 is a standard deviation of "
        "the actions in training.</p>",
        f'<div class="cards">{"".join(map(_card, found))}</div>',
        *(part for index in range(len(found[0].on_rows)) for part in _section(found, index)),
        "<h2>All limits</h2>",
        *map(_limits, found),
    ])


def _card(one: ComparedChunks) -> str:
    candidate = one.candidate
    shown = [("back end", candidate.backend),
             ("files", f"{candidate.size_bytes / 1024:.0f} KiB")]
    shown += [(key.removeprefix("graphs."),
               f"{entry.precision}, p50 {one.latency[key].p50_s * 1e3:.3g} ms")
              for key, entry in candidate.entries.items()]
    return (f'<div class="card {_kind(bool(one))}"><b>{escape(candidate.label)}</b> '
            f"{_tag(bool(one))}{facts(shown)}</div>")


def _section(found: Sequence[ComparedChunks], index: int) -> Iterator[str]:
    """Yield what was made of a set of observations; the reference is in the table only."""
    entries = [(one.candidate.label, one.on_rows[index]) for one in found]
    yield f"<h2>{escape(entries[0][1].source)}, {entries[0][1].count} observations</h2>"
    rows = [[label, one.output, *map(number, (one.mae, one.rmse, one.max_abs, one.cosine.min())),
             "row {}, {}".format(*one.worst)]
            for label, on_rows in entries
            for one in (on_rows.chunk, on_rows.chunk_rad, *on_rows.features)]
    yield panel(table(["artifact", "output", "MAE", "RMSE", "max", "cosine min", "worst"], rows,
                      _WORDS))
    unjudged = ", ".join(label for label, on_rows in entries if not on_rows.judged)
    if unjudged:
        yield f"<p>Not judged here, since the pictures are drawn: {escape(unjudged)}.</p>"
    others = [(label, on_rows.chunk) for label, on_rows in entries[1:]]
    yield panel(plots.error_by_value(others)) + panel(plots.cosine_by_row(others))
    for label, on_rows in entries[1:]:
        yield (f"<details><summary>{escape(label)}: by joint, and the worst chunk</summary>"
               f"{panel(_by_joint(on_rows))}{panel(worst_chunk(label, on_rows))}</details>")


def _by_joint(rows: OnChunkRows) -> str:
    chunk, rad = rows.chunk, rows.chunk_rad
    head = ["joint", "RMSE", "max", "cosine", "RMSE, rad", "max, rad", "max, degrees"]
    columns = zip(chunk.names, chunk.rmse_each, chunk.max_abs_each, chunk.cosine_each,
                  rad.rmse_each, rad.max_abs_each, strict=True)
    return table(head, [[name, *map(number, figures), number(math.degrees(figures[-1]))]
                        for name, *figures in columns], _WORDS)


def _limits(one: ComparedChunks) -> str:
    rows = [[check.what, number(check.value), check.bound, check.where, VERDICT[bool(check)]]
            for check in one.checks]
    return (f"<h3>{escape(one.candidate.label)} {_tag(bool(one))}</h3>"
            + panel(table(["figure", "found", "limit", "where", ""], rows, _WORDS)))


def _tag(holds: bool) -> str:
    return tag(VERDICT[holds], _kind(holds))


def _kind(holds: bool) -> str:
    return "good" if holds else "bad"
