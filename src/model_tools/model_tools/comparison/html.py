# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One HTML file with everything that a comparison found, which opens without a network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from model_tools.comparison import plots
from model_tools.comparison.compare import Compared, OnRows
from model_tools.comparison.report import VERDICT, number
from policy_inference.comparison.limits import Check
from policy_inference.comparison.open_loop import Difference

_CSS = """
:root { color-scheme: light; --ink: #1f2933; --soft: #52606d; --line: #e4e7eb; --good: #1e7b4a;
  --bad: #b3261e; --good-back: #e6f4ec; --bad-back: #fbeae9; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: #f5f7f9; margin: 0; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 40px 0 12px; }
h3 { font-size: 15px; margin: 24px 0 8px; }
p { margin: 4px 0 12px; color: var(--soft); overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(250px, 1fr)); gap: 14px; }
.card, .panel { background: #fff; border: 1px solid var(--line); border-radius: 8px; }
.card { padding: 14px 16px; border-top: 4px solid var(--good); }
.card.bad { border-top-color: var(--bad); }
.card b { font-size: 16px; } .card dl { margin: 10px 0 0; display: grid; gap: 2px 10px;
  grid-template-columns: auto 1fr; font-size: 13px; } dt { color: var(--soft); }
dd { margin: 0; text-align: right; overflow-wrap: anywhere; }
.panel { padding: 12px 16px; margin: 12px 0; overflow-x: auto; }
.panel svg { display: block; width: 100%; height: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; }
th { text-align: left; color: var(--soft); font-weight: 600; } th, td { padding: 5px 10px;
  border-bottom: 1px solid var(--line); } tr:last-child td { border-bottom: 0; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.tag { font-size: 12px; font-weight: 600; border-radius: 4px; padding: 1px 7px; }
.tag.good { color: var(--good); background: var(--good-back); }
.tag.bad, td.bad { color: var(--bad); background: var(--bad-back); }
details { margin: 8px 0; } summary { cursor: pointer; color: var(--soft); }
"""


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
    file.write_text(
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(name)}: comparison</title><style>{_CSS}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n", "utf-8",
    )  # fmt: skip


def _card(compared: Compared) -> str:
    candidate, latency = compared.candidate, compared.latency
    facts = {
        "back end": candidate.backend, "precision": candidate.entry.precision,
        "file": f"{candidate.entry.file}, {candidate.size_bytes / 1024:.0f} KiB",
        "SHA-256": f"{candidate.entry.sha256[:16]}...", "made by": candidate.entry.tool or "-",
        "p50, p99": f"{latency.p50_s * 1e6:.1f}, {latency.p99_s * 1e6:.1f} µs",
    }  # fmt: skip
    rows = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items())
    made = f"<p><small>{escape(candidate.entry.made)}</small></p>" if candidate.entry.made else ""
    return (f'<div class="card {_kind(bool(compared))}"><b>{escape(candidate.label)}</b> '
            f"{_tag(bool(compared))}<dl>{rows}</dl>{made}</div>")


def _open_loop(found: Sequence[Compared]) -> Iterable[str]:
    """Yield a section for each set of rows; the reference is in the tables only."""
    for index, rows in enumerate(found[0].on_rows):
        entries = [(one.candidate.label, one.on_rows[index]) for one in found]
        others = [(label, on_rows.action) for label, on_rows in entries[1:]]
        yield f"<h2>Open loop: {escape(rows.title)}, {rows.count} rows</h2>"
        yield _panel(_open_loop_table(entries))
        yield _panel(plots.error_by_value(others)) + _panel(plots.cosine_by_row(others))
        for label, difference in others:
            yield (f"<details><summary>{escape(label)}: by joint, and the worst row</summary>"
                   f"{_panel(_by_value(difference))}{_panel(plots.worst_row(label, difference))}"
                   "</details>")  # fmt: skip


def _open_loop_table(entries: Sequence[tuple[str, OnRows]]) -> str:
    head = ["artifact", "output", "MAE", "RMSE", "max", "cosine min", "cosine mean", "worst"]
    rows = [
        [label, found.output, *map(number, (found.mae, found.rmse, found.max_abs,
                                            found.cosine.min(), found.cosine.mean())),
         "row {}, {}".format(*found.worst)]
        for label, on_rows in entries for found in on_rows.differences
    ]  # fmt: skip
    return _table(head, rows)


def _by_value(found: Difference) -> str:
    rows = [
        [name, *map(number, figures)]
        for name, *figures in zip(found.names, found.mae_each, found.rmse_each,
                                  found.max_abs_each, found.cosine_each, strict=True)
    ]  # fmt: skip
    return _table(["joint", "MAE", "RMSE", "max", "cosine"], rows)


def _closed_loop(found: Sequence[Compared]) -> Iterable[str]:
    """Yield the section of walks, where there are any."""
    if not found[0].walks:
        return
    yield f"<h2>Closed loop: {found[0].walks[0].outcome.duration_s:g} s each</h2>"
    yield "<p>Commands: vx, vy in m/s, yaw rate in rad/s. Velocities: means over a stride.</p>"
    yield _panel(plots.walks([(one.candidate.label, one.walks) for one in found]))
    rows = [
        [one.candidate.label, walk.outcome.name, f"{walk.outcome.survived_s:.1f} s",
         *map(number, walk.outcome.error), number(walk.outcome.tilt_deg),
         number(100.0 * walk.outcome.torque_limit_share), number(walk.outcome.action_change)]
        for one in found for walk in one.walks
    ]  # fmt: skip
    head = ["artifact", "command", "survived", "error vx", "vy", "yaw rate", "tilt, degrees",
            "torque limit, %", "|action change|"]  # fmt: skip
    yield _panel(_table(head, rows))


def _limits(compared: Compared) -> str:
    rows = "".join(map(_check_row, compared.checks))
    head = "".join(f"<th{_numeric(name)}>{name}</th>"
                   for name in ("figure", "found", "limit", "where", ""))
    return (f"<h3>{escape(compared.candidate.label)} {_tag(bool(compared))}</h3>"
            + _panel(f"<table><tr>{head}</tr>{rows}</table>"))


def _check_row(check: Check) -> str:
    bad = "" if check else ' class="bad"'
    return (f'<tr><td{bad}>{escape(check.what)}</td><td class="n">{number(check.value)}</td>'
            f'<td class="n">{check.bound}</td><td>{escape(check.where)}</td>'
            f"<td>{_tag(bool(check))}</td></tr>")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th{_numeric(name)}>{escape(name)}</th>" for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td{_numeric(name)}>{escape(cell)}</td>"
                         for name, cell in zip(head, row, strict=True)) + "</tr>"
        for row in rows
    )  # fmt: skip
    return f"<table><tr>{top}</tr>{body}</table>"


def _numeric(name: str) -> str:
    words = ("artifact", "output", "worst", "joint", "command", "figure", "where", "")
    return "" if name in words else ' class="n"'


def _panel(content: str) -> str:
    return f'<div class="panel">{content}</div>'


def _tag(holds: bool) -> str:
    return f'<span class="tag {_kind(holds)}">{VERDICT[holds]}</span>'


def _kind(holds: bool) -> str:
    return "good" if holds else "bad"
