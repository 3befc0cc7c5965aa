# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The report on compared chunk policies: each graph, chunks by joint, encoders by camera."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Any

from rich.table import Table
from rich.text import Text

from model_tools.files.html_page import facts, panel, table
from model_tools.prove.comparison import comparison_plots as plots
from model_tools.prove.comparison.chunk_rows import DRAWN
from model_tools.prove.comparison.compare import Compared
from model_tools.prove.comparison.on_rows import OnRows
from model_tools.prove.comparison.report_parts import (
    WORDS,
    new_table,
    number,
    verdict_cell,
    verdict_class,
    verdict_tag,
)
from policy_inference.comparison.chunks import PATH
from policy_inference.comparison.limits import judged_by_walking
from policy_inference.comparison.plain_json import check_figures, difference_figures

_NOT_JUDGED = "not judged"


class ChunkReport:
    """Shows what was found of chunk policies."""

    kind = "chunk"
    explanation = ". Chunks are normalised: 1 is a standard deviation of the actions in training."

    def tables(self, found: Sequence[Compared]) -> list[Table]:
        """Return the tables of the graphs, and of what was made of each set of observations."""
        graphs = new_table("artifact", "graph", "back end", "precision", "p50 ms", "limits")
        outputs = new_table("artifact", "on", "output", "RMSE", "max", "cosine min", "limits")
        for one in found:
            for key, entry in one.candidate.entries.items():
                graphs.add_row(
                    Text(one.candidate.label),
                    key.removeprefix("graphs."),
                    one.candidate.backend,
                    entry.precision,
                    f"{one.latency[key].p50_s * 1e3:.3g}",
                    verdict_cell(one.checks),
                )
            for rows in one.on_rows:
                for difference in rows.differences:
                    outputs.add_row(
                        Text(one.candidate.label),
                        Text(rows.source),
                        Text(difference.output),
                        *map(
                            number, (difference.rmse, difference.max_abs, difference.cosine.min())
                        ),
                        verdict_cell(rows.checks) if rows.judged else _NOT_JUDGED,
                    )
        return [graphs, outputs]

    def warnings(self, found: Sequence[Compared]) -> list[str]:
        """Return what to do where artifacts of 8 bits were judged by drawn images alone."""
        coarse = [
            one.candidate.label for one in found if judged_by_walking(one.candidate.precision)
        ]
        if not coarse or any(rows.source != DRAWN for rows in found[0].on_rows):
            return []
        return [
            f"{', '.join(dict.fromkeys(coarse))}: the images of the golden rows are drawn, which "
            "is no fair test of so few bits; compare on frames of the training: --dataset DATASET "
            "(or a recording)"
        ]

    def figures(self, one: Compared) -> dict[str, Any]:
        """Return what was found of an artifact, for JSON."""
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

    def card(self, one: Compared) -> str:
        """Return the part of the page that shows an artifact at a glance."""
        candidate = one.candidate
        shown = [
            ("back end", candidate.backend),
            ("files", f"{candidate.size_bytes / 1024:.0f} KiB"),
        ]
        shown += [
            (
                key.removeprefix("graphs."),
                f"{entry.precision}, p50 {one.latency[key].p50_s * 1e3:.3g} ms",
            )
            for key, entry in candidate.entries.items()
        ]
        return (
            f'<div class="card {verdict_class(bool(one))}"><b>{escape(candidate.label)}</b> '
            f"{verdict_tag(bool(one))}{facts(shown)}</div>"
        )

    def sections(self, found: Sequence[Compared]) -> Iterable[str]:
        """Yield a section for each set of observations."""
        for index in range(len(found[0].on_rows)):
            yield from _section(found, index)


def _on_rows(rows: OnRows) -> dict[str, Any]:
    chunk, in_rad, *others = rows.differences
    degrees = {
        name: math.degrees(largest)
        for name, largest in zip(in_rad.names, in_rad.max_abs_each, strict=True)
    }
    return {
        "rows": rows.source,
        "count": rows.count,
        "judged": rows.judged,
        "checks": check_figures(rows.checks),
        "chunk": difference_figures(chunk),
        "chunk_rad": difference_figures(in_rad),
        "max_abs_degrees": degrees,
        "features": {one.output: difference_figures(one) for one in others if one.output != PATH},
        "denoising": {
            name: rmse
            for one in others
            if one.output == PATH
            for name, rmse in zip(one.names, one.rmse_each.tolist(), strict=True)
        },
    }


def _section(found: Sequence[Compared], index: int) -> Iterator[str]:
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
        for one in on_rows.differences
    ]
    yield panel(
        table(["artifact", "output", "MAE", "RMSE", "max", "cosine min", "worst"], rows, WORDS)
    )
    unjudged = ", ".join(label for label, on_rows in entries if not on_rows.judged)
    if unjudged:
        yield f"<p>Not judged here, since the images are drawn: {escape(unjudged)}.</p>"
    others = [(label, on_rows.action) for label, on_rows in entries[1:]]
    yield panel(plots.error_by_value(others)) + panel(plots.cosine_by_row(others))
    for label, on_rows in entries[1:]:
        worst = plots.worst_chunk(label, on_rows.action)
        yield (
            f"<details><summary>{escape(label)}: by joint, and the worst chunk</summary>"
            f"{panel(_by_joint(on_rows))}{panel(worst)}</details>"
        )


def _by_joint(rows: OnRows) -> str:
    chunk, rad, *_ = rows.differences
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
        WORDS,
    )
