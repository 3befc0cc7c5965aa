# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A report as JSON, and on a terminal."""

import json
from pathlib import Path

import numpy as np
import pytest

from policy_store.report import Facts, Media, Note, Plot, Report, Section, Table, Tone, Verdict
from policy_store.report_terminal import print_parts


def test_values_are_rounded_and_what_was_not_measured_is_null(tmp_path: Path) -> None:
    values = {
        "tone": Tone.GOOD,
        "path": tmp_path,
        "array": np.array([1.0 / 3.0, np.nan]),
        "note": Note(Verdict("gap", Tone.WARN), "text"),
        "whole": np.int64(3),
    }
    report = Report(title="", values=values, parts=[], digits=3)

    report.write_json(tmp_path / "report.json")

    assert json.loads((tmp_path / "report.json").read_text("utf-8")) == report.document
    assert report.document == {
        "tone": "good",
        "path": str(tmp_path),
        "array": [0.333, None],
        "note": {"verdict": {"text": "gap", "tone": "warn"}, "text": "text"},
        "whole": 3,
    }


def test_a_terminal_shows_words_and_tables_and_leaves_out_what_a_page_folds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    folded = Section(title="folded", parts=["detail"], is_folded=True)
    print_parts(
        [
            "line",
            Note(Verdict("gap", Tone.WARN), "[bold]\x1b[2J"),
            Facts(title="facts", rows=[("name", 1.0 / 3.0)], verdict=Verdict.of(True)),
            Table(header=("joint", "n"), rows=[("hip", 1), ("knee", float("nan"))]),
            Table(title="empty", header=("joint",), rows=[]),
            Section(title="section", parts=["inside", folded]),
            Section(title="for pages", parts=[Plot(charts=[])]),
            Media(title="video", content=b"", mime="video/mp4"),
        ]
    )

    words = capsys.readouterr().out.split()
    assert {"line", "gap:", "facts", "holds", "0.3333", "hip", "-", "section", "inside"} <= {*words}
    assert "[bold]\\x1b[2J" in words
    assert not {"detail", "pages", "video", "empty"} & {*words}
