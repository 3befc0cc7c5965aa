# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Each row of the threat model has attacks that were tried, and each attack a test that exists."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NO_TEST = ("", "the same", "by hand")
"""What may stand in place of a test: that of the row above, or what was tried by hand."""


def table_rows(text: str) -> Iterator[list[str]]:
    """Yield the cells of each row of the tables of a text, less their heads."""
    lines = text.splitlines()
    for before, line in itertools.pairwise(lines):
        if line.startswith("|") and not line.startswith("| ---") and before.startswith("|"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def sections() -> dict[str, str]:
    """Return the sections of the page of attacks by their anchors."""
    parts = re.split(r"^## (.+)$", (ROOT / "docs/attacks.md").read_text("utf-8"), flags=re.M)[1:]
    return {
        re.sub(r"[^\w -]", "", head).lower().replace(" ", "-"): f"{head}\n{text}"
        for head, text in zip(parts[::2], parts[1::2], strict=True)
    }


TESTS = [
    file.as_posix()
    for folder in (*ROOT.glob("src/*/test"), ROOT / "test")
    for file in folder.rglob("test_*.*")
]
ATTACKS = [cells for section in sections().values() for cells in table_rows(section)]


def test_each_row_of_the_threat_model_leads_to_attacks() -> None:
    threats = list(table_rows((ROOT / "SECURITY.md").read_text("utf-8")))
    assert len(threats) == 9
    for threat in threats:
        anchor = re.search(r"\(docs/attacks\.md#([^)]+)\)", threat[-1])
        assert anchor, threat[0]
        assert len(list(table_rows(sections()[anchor[1]]))) >= 3, anchor[1]


@pytest.mark.parametrize("cells", ATTACKS, ids=[cells[0][:60] for cells in ATTACKS])
def test_each_attack_names_a_test_that_exists(cells: list[str]) -> None:
    assert len(cells) in (3, 4)  # with what happened before, or of what is new
    named = cells[-1]
    if named.split(":")[0] in NO_TEST:
        return
    for test in re.findall(r"`([\w/.]+)`(?!:)", named):
        file = test if test.endswith(".py") else f"test_{test}.cpp"
        assert any(place.endswith(f"/{file}") for place in TESTS), test
