# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`inspect` of a bundle whose policy sees a height scan."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_tools import cli
from model_tools.prove.inspect.registry import inspect_path

from ...tiny_bundle import make_bundle

TOPIC = "perception/height_scan"
TERM = f"""{{term: height_scan, topic: {TOPIC}, scan: {{
  grid: {{size_m: [0.5, 0], resolution_m: [0.5, 0.5], centre_m: [0.25, 0.1],
          order: x_fastest, x: descending, y: ascending}},
  origin_m: [0.1, 0, 0], alignment: base, value: frame_minus_ground, offset_m: 0.5,
  invalid: fault, max_invalid_ratio: 0, map_timeout_s: 0.5, pose_timeout_s: 0.1,
  layer: elevation}}}}"""


@pytest.fixture(name="bundle")
def scanning_bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle", last=" ".join(TERM.split()))


def test_a_table_has_the_keys_of_the_scan_and_its_first_and_last_points(bundle: Path) -> None:
    report = inspect_path(bundle)
    assert report.problems == []
    (table,) = (table for table in report.tables if TOPIC in table.title)
    found = {row[0]: row[1] for row in table.rows}
    assert found["alignment"] == "base"
    assert (found["grid.order"], found["grid.x"]) == ("x_fastest", "descending")
    assert (found["point 0"], found["point 1"]) == ("0.5, 0.1", "0, 0.1")


def test_a_page_has_the_drawing(bundle: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert cli.main(["inspect", str(bundle), "--html", str(page)]) == 0
    text = page.read_text("utf-8")
    assert TOPIC in text
    assert text.count("data:image/png;base64,") == 1
