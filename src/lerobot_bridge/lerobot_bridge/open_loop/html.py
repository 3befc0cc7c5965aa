# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One HTML file with everything that a replay of a dataset found."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

from lerobot_bridge.open_loop import plots
from lerobot_bridge.open_loop.figures import Figures
from lerobot_bridge.open_loop.predict import Predicted
from lerobot_bridge.open_loop.report import (
    UNMEASURED,
    WORDS,
    Replayed,
    joint_rows,
    number,
    sentences,
)
from model_tools.files.html_page import facts, panel, table, write_page

DRAWN = 12
"""Episodes whose courses are drawn, those with the largest errors: a page must open."""


def write_html(found: Replayed, file: Path) -> None:
    """Write the report."""
    contract = found.bundle.contract
    title = f"{contract.name} against {found.dataset.resolve().name}"
    write_page(
        file,
        title,
        [
            f"<h1>{escape(title)}</h1>",
            "<p>Actions that the policy predicts from recorded observations, open loop, against "
            "those that were recorded.</p>",
            f'<div class="cards">{_policy(found)}{_fit(found)}{_strange(found)}</div>',
            "<h2>Errors by joint</h2>",
            panel(table(*joint_rows(found.all), WORDS)),
            f"<p>{UNMEASURED}.</p>" if UNMEASURED in sentences(found) else "",
            panel(plots.error_by_step(found.all)) if found.every > 1 else "",
            "<h2>Episodes</h2>",
            panel(_episodes(found)),
            *_courses(found),
        ],
    )


def _policy(found: Replayed) -> str:
    contract = found.bundle.contract
    precisions = ", ".join(dict.fromkeys(one.precision for one in found.artifacts))
    rows = [
        ("version", contract.version),
        ("back end", f"{found.backend}, {precisions}"),
        ("chunk", f"{contract.chunk.size} steps, a new one every {found.every}"),
        ("rate", f"{contract.rate_hz:g} Hz"),
    ]
    return f'<div class="card plain"><b>{escape(contract.name)}</b>{facts(rows)}</div>'


def _fit(found: Replayed) -> str:
    counted, fit, *_ = sentences(found)
    return (
        f'<div class="card plain"><b>{escape(found.dataset.resolve().name)}</b>'
        f"<p>{escape(counted)}.</p><p>{escape(fit[0].upper() + fit[1:])}.</p></div>"
    )


def _strange(found: Replayed) -> str:
    if not found.all.strange:
        return ""
    lines = "".join(f"<li>{escape(line)}</li>" for line in found.all.strange)
    return f'<div class="card wide warn"><b>Values beyond the limits</b><ul>{lines}</ul></div>'


def _episodes(found: Replayed) -> str:
    names = [joint.name for joint in found.all.joints]
    head = ["episode", "task", "frames", *names, "lag, frames"]
    rows = [
        [
            str(one.episode.index),
            "; ".join(one.episode.tasks),
            str(one.compared.sum()),
            *(number(joint.error.mean) for joint in figures.joints),
            "-" if figures.lag is None else str(figures.lag.frames),
        ]
        for one, figures in zip(found.episodes, found.each, strict=True)
    ]
    return (
        "<p>Mean error of each joint, in the units of the dataset. Lag -: no joint moves.</p>"
        + table(head, rows, WORDS)
    )


def _courses(found: Replayed) -> Iterator[str]:
    """Yield the drawings of the episodes with the largest errors, the first one unfolded."""
    worst = sorted(zip(found.episodes, found.each, strict=True), key=_error, reverse=True)
    if len(worst) > DRAWN:
        yield f"<p>Drawn are the {DRAWN} episodes with the largest errors.</p>"
    for place, (one, figures) in enumerate(worst[:DRAWN]):
        opened = " open" if place == 0 else ""
        units = [joint.unit for joint in figures.joints]
        names = [joint.name for joint in figures.joints]
        drawn = plots.course(one, names, units, found.bundle.contract.rate_hz)
        yield (
            f"<details{opened}><summary>episode {one.episode.index}: "
            f"{escape('; '.join(one.episode.tasks))}</summary>{panel(drawn)}</details>"
        )


def _error(pair: tuple[Predicted, Figures]) -> float:
    """Return by what episodes are ordered: errors in rad, which all joints share."""
    return sum(joint.error_rad.mean for joint in pair[1].joints)
