# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import yaml

from model_tools.files.contract_text import set_section
from testkit.wording import refusal

A_SECTION = "a:\n  z: 1\n\nc: 3\n"
FIRST = "a:\n  b:\n    x: 1\n  # z\n  z: 1\n"


@pytest.mark.parametrize(
    ("before", "key", "after"),
    [
        ("a: 1\n", "b", "a: 1\n\nb: {x: 2}\n"),
        ("b:\n  x: 1\n\n# c\nc: 3\n", "b", "b: {x: 2}\n\n# c\nc: 3\n"),
        (A_SECTION, "a.b", "a:\n  z: 1\n  b: {x: 2}\n\nc: 3\n"),
        (FIRST, "a.b", "a:\n  b: {x: 2}\n  # z\n  z: 1\n"),
        ("b: {x: 1,\n    y: 2}\nc: 3\n", "b", "b: {x: 2}\nc: 3\n"),
    ],
    ids=["added", "replaced", "added to a section", "replaced in a section", "over two lines"],
)
def test_a_section_is_set_and_the_rest_stays(before: str, key: str, after: str) -> None:
    assert set_section(before, key, {"x": 2}) == after
    yaml.safe_load(after)


def test_a_word_is_set_as_a_section_is_but_nothing_in_a_missing_section() -> None:
    text = set_section("a: 1\nversion: '0.2.0'\nb: 2\n", "version", "0.0.0")
    assert yaml.safe_load(text) == {"a": 1, "version": "0.0.0", "b": 2}
    with refusal(ValueError):
        set_section("c: 3\n", "a.b", {"x": 2})
