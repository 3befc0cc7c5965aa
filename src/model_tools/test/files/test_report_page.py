# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The page of a report shows every kind of part, and needs no other file."""

import re
from html import unescape
from pathlib import Path

import numpy as np

from model_tools.files.report_page import write_page
from policy_store.report import (
    Chart,
    Facts,
    Media,
    Note,
    Part,
    Plot,
    Report,
    Section,
    Series,
    Table,
    Tone,
    Verdict,
)

NAME = r"<b>&$\undefined{"
"""Matplotlib would take it for mathematics, and a browser for HTML."""
NAMES, VALUES = (NAME, "knee"), [0.0, np.nan]
PARTS: list[Part] = [
    NAME,
    Note(Verdict(NAME, Tone.WARN), NAME),
    Facts(title=NAME, rows=[(NAME, NAME), ("number", 1.0)], verdict=Verdict.of(False)),
    Table(title=NAME, header=(NAME, "n"), rows=[(NAME, 12345), ("none", None)]),
    Section(
        title=NAME,
        is_folded=True,
        parts=[
            Plot(
                columns=2,
                charts=[
                    Chart(
                        title=f"{NAME}$",
                        x_label=NAME,
                        series=[
                            Series(label=NAME, x=[0, 1], y=VALUES),
                            Series(y=np.linspace(0, 1, 5000)),
                            Series(label="limit", y=[1, 1], tone=Tone.BAD),
                            Series(kind="points", y=[1, np.inf]),
                        ],
                        spans=[(0.0, 1.0, NAME, Tone.GOOD)],
                        marks=[0.5],
                    ),
                    Chart(
                        title="named",
                        names=NAMES,
                        is_log=True,
                        series=[
                            Series(label="bar", kind="bar", y=[0.1, 100], high=[1, 200]),
                            Series(label="points", kind="points", y=[1, 2], low=[0, 1]),
                        ],
                    ),
                    Chart(
                        title="spread",
                        names=NAMES,
                        series=[
                            Series(kind="range", y=[0, 0], low=[-1, -1], high=[1, 1]),
                            Series(kind="violin", y=[[1, 2], [0, 0]], low=[0, 0], high=[1, 1]),
                        ],
                    ),
                    Chart(title="modes", series=[], spans=[(0.0, 1.0, "RUN", Tone.GOOD)]),
                ],
            )
        ],
    ),
    Media(title="video", content=b"mp4", mime="video/mp4"),
    Media(title="image", content=b"png", mime="image/png"),
]


def test_a_page_shows_all_parts_and_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    write_page(Report(title=NAME, values={}, parts=PARTS), tmp_path / "page.html")

    page = (tmp_path / "page.html").read_text("utf-8")
    assert not re.search(r'https?:|<script|<link|@import|url\((?!#)|src="(?!data:)', page)
    assert NAME not in page
    assert unescape(page).count(NAME) >= 15
    used = set(re.findall(r'(?:xlink:href="#|clip-path="url\(#)([^")]+)', page))
    assert used <= set(re.findall(r'\bid="([^"]+)"', page))
    assert 'class="card bad"' in page
    assert 'data:video/mp4;base64,bXA0"' in page
