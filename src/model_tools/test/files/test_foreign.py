# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from model_tools.errors import ToolError
from model_tools.files.foreign import load_foreign_yaml
from testkit.wording import refusal


@pytest.fixture
def foreign_yaml(tmp_path: Path) -> Path:
    return tmp_path / "env.yaml"


def test_tuples_slices_and_anchors_are_read_as_data(foreign_yaml: Path) -> None:
    foreign_yaml.write_text(
        "a: &a !!python/tuple [1, 2.5]\nb: *a\n"
        "c: !!python/object/apply:builtins.slice [null, 3, null]\nd: 1e-3\n"
        "e: 2026-11-20\n"
    )
    assert load_foreign_yaml(foreign_yaml) == {
        "a": [1, 2.5],
        "b": [1, 2.5],
        "c": slice(None, 3, None),
        "d": 1e-3,
        "e": "2026-11-20",
    }


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nb: !!python/object/apply:os.system [touch owned]\n",
        "a: !custom 3\n",
        "a: !!python/tuple {b: 1}\n",
        "a: !!python/object/apply:builtins.slice [x]\n",
        "a: [1, 2\n",
        "[" * 5000,
        "a: 1\nb: 2\na: 3\n",
        "a:\n\tb: 1\n",
        "a: &a [*a]\n",
    ],
)
def test_anything_else_is_refused_with_its_line(foreign_yaml: Path, text: str) -> None:
    foreign_yaml.write_text(text)
    with refusal(ToolError):
        load_foreign_yaml(foreign_yaml)


def test_bytes_that_are_no_text_are_refused(foreign_yaml: Path) -> None:
    foreign_yaml.write_bytes(b"\xff\xfe\x00")
    with refusal(ToolError):
        load_foreign_yaml(foreign_yaml)
