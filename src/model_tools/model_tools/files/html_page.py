# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One HTML file that opens without a network, and what stands in it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from html import escape
from pathlib import Path

from policy_core.safe_files import whole_file

_CSS = """
:root { color-scheme: light; --ink: #1f2933; --soft: #52606d; --line: #e4e7eb; --good: #1e7b4a;
  --bad: #b3261e; --good-back: #e6f4ec; --bad-back: #fbeae9; --warn: #9a5b00;
  --warn-back: #fdf1dc; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: #f5f7f9; margin: 0; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 40px 0 12px; }
h3 { font-size: 15px; margin: 24px 0 8px; }
p { margin: 4px 0 12px; color: var(--soft); overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(250px, 1fr)); gap: 14px; }
.card, .panel { background: #fff; border: 1px solid var(--line); border-radius: 8px; }
.card { padding: 14px 16px; border-top: 4px solid var(--good); }
.card.bad { border-top-color: var(--bad); } .card.warn { border-top-color: var(--warn); }
.card.plain { border-top-color: var(--line); }
.card b { font-size: 16px; } .card dl { margin: 10px 0 0; display: grid; gap: 2px 10px;
  grid-template-columns: auto 1fr; font-size: 13px; } dt { color: var(--soft); }
dd { margin: 0; text-align: right; overflow-wrap: anywhere; }
.card.wide { grid-column: span 2; } .card ul { margin: 10px 0 0; padding: 0; list-style: none; }
.card li { margin: 6px 0; } .verdict { font-size: 22px !important; }
.verdict.good { color: var(--good); } .verdict.warn { color: var(--warn); }
.verdict.bad { color: var(--bad); }
.panel { padding: 12px 16px; margin: 12px 0; overflow-x: auto; }
.panel svg { display: block; width: 100%; height: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; }
th { text-align: left; color: var(--soft); font-weight: 600; } th, td { padding: 5px 10px;
  border-bottom: 1px solid var(--line); } tr:last-child td { border-bottom: 0; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.tag { font-size: 12px; font-weight: 600; border-radius: 4px; padding: 1px 7px; }
.tag.good { color: var(--good); background: var(--good-back); }
.tag.bad, td.bad { color: var(--bad); background: var(--bad-back); }
.tag.warn { color: var(--warn); background: var(--warn-back); }
details { margin: 8px 0; } summary { cursor: pointer; color: var(--soft); }
"""


def write_page(file: Path, title: str, body: Iterable[str]) -> None:
    """Write a page with a title and HTML, of which nothing refers to another file.

    A page that is there is replaced as a whole.
    """
    text = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_CSS}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )
    with whole_file(file, 0o644) as written:
        written.write(text.encode())


def table(head: Sequence[str], rows: Sequence[Sequence[str]], words: Collection[str]) -> str:
    """Return a table of texts; columns are of figures, other than those with a head in `words`."""

    def numeric(name: str) -> str:
        return "" if name in words else ' class="n"'

    top = "".join(f"<th{numeric(name)}>{escape(name)}</th>" for name in head)
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{numeric(name)}>{escape(cell)}</td>" for name, cell in zip(head, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f"<table><tr>{top}</tr>{body}</table>"


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Return a list of names and values, for a card."""
    return (
        "<dl>"
        + "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows)
        + "</dl>"
    )


def panel(content: str) -> str:
    """Return HTML in a frame of its own."""
    return f'<div class="panel">{content}</div>'


def tag(text: str, kind: str) -> str:
    """Return a word on a coloured ground; `kind` is good, warn or bad."""
    return f'<span class="tag {kind}">{escape(text)}</span>'
