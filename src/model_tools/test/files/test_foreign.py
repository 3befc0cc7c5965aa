# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from model_tools.errors import ToolError
from model_tools.files.foreign import load_foreign_yaml


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "env.yaml"


def test_tuples_slices_and_anchors_are_read_as_data(file: Path) -> None:
    file.write_text(
        "a: &a !!python/tuple [1, 2.5]\nb: *a\n"
        "c: !!python/object/apply:builtins.slice [null, 3, null]\nd: 1e-3\n"
        "e: 2026-11-20\n"
    )
    assert load_foreign_yaml(file) == {
        "a": [1, 2.5],
        "b": [1, 2.5],
        "c": slice(None, 3, None),
        "d": 1e-3,
        "e": "2026-11-20",
    }


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "a: 1\nb: !!python/object/apply:os.system [touch owned]\n",
            r"line 2, column \d+: the tag !!python/object/apply:os.system, "
            r"which is not read as data",
        ),
        ("a: !custom 3\n", r"line 1, column \d+: the tag !custom, which is not read as data"),
        ("a: !!python/tuple {b: 1}\n", "the tag !!python/tuple on something else than a sequence"),
        ("a: !!python/object/apply:builtins.slice [x]\n", "a slice that is not made of up to"),
        ("a: [1, 2\n", "line 2, column 1"),
        ("[" * 5000, "more than 40 values in each other"),
        ("a: 1\nb: 2\na: 3\n", "line 3, column 1: the key a stands twice"),
        ("a:\n\tb: 1\n", r"line 2, column 1: character '\\t' that cannot start any token"),
        ("a: &a [*a]\n", "line 1, column 8: an anchor that holds itself"),
    ],
)
def test_anything_else_is_refused_with_its_line(file: Path, text: str, found: str) -> None:
    file.write_text(text)
    with pytest.raises(ToolError, match=f"{file.name}: expected YAML, found .*({found})"):
        load_foreign_yaml(file)


def test_bytes_that_are_no_text_are_refused(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ToolError, match="found bytes that are no text"):
        load_foreign_yaml(file)
