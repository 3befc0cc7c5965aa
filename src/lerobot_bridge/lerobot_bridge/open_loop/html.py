# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The report of a replay of a dataset as one HTML file, with plots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

import matplotlib as mpl
import numpy as np

from lerobot_bridge.open_loop.figures import PredictionErrors
from lerobot_bridge.open_loop.predict import Predicted
from lerobot_bridge.open_loop.report import (
    UNITS,
    UNMEASURED,
    WORDS,
    Replayed,
    joint_rows,
    number,
    sentences,
)
from model_tools.files.drawing import COLOURS, GREY, STYLE, figure, svg
from model_tools.files.html_page import facts, panel, table, write_page

DRAWN = 12
"""Number of episodes with plots, those with the largest errors: a browser must open the page."""
_COLUMNS = 2


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
            panel(_error_by_step(found.all)) if found.every > 1 else "",
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
    """Yield the plots of the episodes with the largest errors, the first one open."""
    worst = sorted(zip(found.episodes, found.each, strict=True), key=_error, reverse=True)
    if len(worst) > DRAWN:
        yield f"<p>Drawn are the {DRAWN} episodes with the largest errors.</p>"
    for place, (one, figures) in enumerate(worst[:DRAWN]):
        opened = " open" if place == 0 else ""
        units = [joint.unit for joint in figures.joints]
        names = [joint.name for joint in figures.joints]
        drawn = _course(one, names, units, found.bundle.contract.rate_hz)
        yield (
            f"<details{opened}><summary>episode {one.episode.index}: "
            f"{escape('; '.join(one.episode.tasks))}</summary>{panel(drawn)}</details>"
        )


def _error(pair: tuple[Predicted, PredictionErrors]) -> float:
    """Return the error by which episodes are ordered, in rad, the unit of all joints."""
    return sum(joint.error_rad.mean for joint in pair[1].joints)


def _course(one: Predicted, names: Sequence[str], units: Sequence[str], rate_hz: float) -> str:
    """Return an episode over time by joint, with dots where a chunk begins."""
    times_s = np.arange(len(one.actions)) / rate_hz
    begins, marked = list(one.begins), len(one.begins) < len(one.actions)
    with mpl.rc_context(STYLE):
        drawn, axes = figure(-(-len(names) // _COLUMNS), min(_COLUMNS, len(names)), 2.0)
        for i, (name, unit, axis) in enumerate(zip(names, units, axes, strict=False)):
            axis.plot(times_s, one.actions[:, i], color=GREY, label="recorded")
            axis.plot(
                times_s, one.predicted[:, i], color=COLOURS[1], label="predicted", linewidth=0.9
            )
            if marked:
                axis.plot(
                    times_s[begins],
                    one.predicted[begins, i],
                    ".",
                    color=COLOURS[1],
                    markersize=4,
                    label="chunk begins",
                )
            axis.set_title(f"{name}, {UNITS[unit]}")
        for axis in axes[len(names) :]:
            axis.set_visible(False)
        for axis in axes[len(names) - min(_COLUMNS, len(names)) : len(names)]:
            axis.set_xlabel("s")
            axis.xaxis.set_tick_params(labelbottom=True)
        return svg(drawn, axes, f"episode {one.episode.index}")


def _error_by_step(figures: PredictionErrors) -> str:
    """Return the error over the steps of a chunk: how far ahead predictions are useful."""
    with mpl.rc_context(STYLE):
        drawn, axes = figure(1, 1, 1.8)
        axes[0].plot(figures.by_step, color=COLOURS[0], marker=".")
        axes[0].set_ylim(bottom=0.0)
        axes[0].set_title("mean error by step of the chunk, in standard deviations of the actions")
        axes[0].set_xlabel("step")
        return svg(drawn, axes, "steps")
