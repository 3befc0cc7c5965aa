# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The report of a conversion, as one HTML page."""

from __future__ import annotations

from pathlib import Path

from lerobot_bridge.converting.convert import Conversion
from lerobot_bridge.converting.report import document, write_html
from lerobot_bridge.episode import Episode

from ..bags import arm_mapping


def test_the_page_shows_warnings_and_what_was_left_out(tmp_path: Path) -> None:
    made = {
        "parts": [["part_000", 20], ["part_001", 10]],
        "too_short": 0,
        "closed_up": 0,
        "left_out": [],
        "warnings": ["values <>", "repeated"],
    }
    found = Conversion(
        made=[(Episode(bag=Path("one"), task="wave"), made)],
        refused=[(Episode(bag=Path("two"), task="wave"), "two publishers")],
    )

    write_html(document(found, arm_mapping(), {}), "cubes", tmp_path / "report.html")

    page = (tmp_path / "report.html").read_text()
    assert page.count("values &lt;&gt;") == 1
    assert "repeated" in page
    assert "two publishers" in page
    assert "<h2>Skipped" not in page
