# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A report as one HTML file that opens without a network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from itertools import count, groupby
from pathlib import Path

from model_tools.files.report_plots import svg
from policy_core.safe_files import whole_file
from policy_store.report import (
    Cell,
    Facts,
    Media,
    Note,
    Part,
    Plot,
    Report,
    Section,
    Table,
    Tone,
    Verdict,
    cell_text,
)

_CSS = """
:root { color-scheme: light; --ink: #1f2933; --soft: #52606d; --line: #e4e7eb; --good: #1e7b4a;
  --bad: #b3261e; --good-back: #e6f4ec; --bad-back: #fbeae9; --warn: #9a5b00;
  --warn-back: #fdf1dc; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: #f5f7f9; margin: 0; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 40px 0 12px; }
h3 { font-size: 15px; margin: 24px 0 8px; }
p { margin: 4px 0 12px; color: var(--soft); overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(460px, 1fr)); gap: 14px; }
.card, .panel { background: #fff; border: 1px solid var(--line); border-radius: 8px; }
.card { padding: 14px 16px; border-top: 4px solid var(--line); }
.card.good { border-top-color: var(--good); } .card.bad { border-top-color: var(--bad); }
.card.warn { border-top-color: var(--warn); } .card b { font-size: 16px; }
.card dl { margin: 10px 0 0; display: grid; gap: 2px 10px; grid-template-columns: auto 1fr;
  font-size: 13px; } dt { color: var(--soft); }
dd { margin: 0; text-align: right; overflow-wrap: anywhere; }
.panel { padding: 12px 16px; margin: 12px 0; overflow-x: auto; }
.panel svg, img, video { display: block; max-width: 100%; height: auto; }
.panel svg { width: 100%; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; }
th { text-align: left; color: var(--soft); font-weight: 600; } th, td { padding: 5px 10px;
  border-bottom: 1px solid var(--line); } tr:last-child td { border-bottom: 0; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.tag { font-size: 12px; font-weight: 600; border-radius: 4px; padding: 1px 7px; }
.tag.good { color: var(--good); background: var(--good-back); }
.tag.bad { color: var(--bad); background: var(--bad-back); }
.tag.warn { color: var(--warn); background: var(--warn-back); }
details { margin: 8px 0; } summary { cursor: pointer; color: var(--soft); }
"""


def write_page(report: Report, file: Path) -> None:
    """Write a report as an HTML page, replacing an existing page."""
    title = escape(report.title)
    text = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_CSS}</style></head>"
        f"<body><main><h1>{title}</h1>{_Page().parts(report.parts, 2)}</main></body></html>\n"
    )
    with whole_file(file, 0o644) as written:
        written.write(text.encode())


class _Page:
    """Writes the parts of a page, and numbers the drawings, so that their ids differ."""

    def __init__(self) -> None:
        self._drawings = count()

    def parts(self, parts: Sequence[Part], level: int) -> str:
        text = ""
        for is_card, group in groupby(parts, key=lambda part: isinstance(part, Facts)):
            inside = "".join(self._part(part, level) for part in group)
            text += f'<div class="cards">{inside}</div>' if is_card else inside
        return text

    def _part(self, part: Part, level: int) -> str:
        if isinstance(part, str):
            return f"<p>{escape(part)}</p>"
        if isinstance(part, Note):
            return f"<p>{_cell(part.verdict)} {escape(part.text)}</p>"
        if isinstance(part, Facts):
            return _card(part)
        if isinstance(part, Table):
            return _table(part) if part.rows else ""
        if isinstance(part, Plot):
            return f'<div class="panel">{svg(part, f"plot {next(self._drawings)}")}</div>'
        if isinstance(part, Media):
            return _media(part)
        return self._section(part, level)

    def _section(self, part: Section, level: int) -> str:
        inside = self.parts(part.parts, level + 1)
        title = escape(part.title)
        if part.is_folded:
            return f"<details><summary>{title}</summary>{inside}</details>"
        return f"<h{level}>{title}</h{level}>{inside}"


def _card(part: Facts) -> str:
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{_cell(value)}</dd>" for name, value in part.rows)
    tone, tag = (part.verdict.tone, _cell(part.verdict)) if part.verdict else (Tone.PLAIN, "")
    return f'<div class="card {tone.value}"><b>{escape(part.title)}</b> {tag}<dl>{rows}</dl></div>'


def _table(part: Table) -> str:
    numeric = [' class="n"' if part.is_numeric(i) else "" for i in range(len(part.header))]
    head = "".join(
        f"<th{n}>{escape(name)}</th>" for name, n in zip(part.header, numeric, strict=True)
    )
    rows = "".join(
        "<tr>"
        + "".join(f"<td{n}>{_cell(cell)}</td>" for cell, n in zip(row, numeric, strict=True))
        + "</tr>"
        for row in part.rows
    )
    title = f"<h3>{escape(part.title)}</h3>" if part.title else ""
    return f'{title}<div class="panel"><table><tr>{head}</tr>{rows}</table></div>'


def _media(part: Media) -> str:
    source = f'src="data:{part.mime};base64,{base64.b64encode(part.content).decode()}"'
    video = f"<video controls muted loop playsinline {source}></video>"
    shown = video if part.mime.startswith("video") else f"<img {source} alt=''>"
    return f"<h3>{escape(part.title)}</h3>{shown}"


def _cell(cell: Cell) -> str:
    text = escape(cell_text(cell))
    return (
        f'<span class="tag {cell.tone.value}">{text}</span>' if isinstance(cell, Verdict) else text
    )
