# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from model_tools.errors import ToolError
from model_tools.make.importers.import_bundle import choose
from model_tools.make.importers.source import read_source
from testkit.wording import refusal


def some_yaml(folder: Path, text: str) -> Path:
    file = folder / "some.yaml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    "text",
    [
        "[1, 2]",
        "{joint_ids_map: [], step_dt: 0.02, observations: {}, models: {}, pipeline: {}}",
    ],
)
def test_a_file_of_no_format_or_of_two_is_refused_with_those_known(
    tmp_path: Path, text: str
) -> None:
    source = read_source(some_yaml(tmp_path, text))
    with refusal(ToolError):
        choose(source)
    assert choose(source, "leapp").NAME == "leapp"


@pytest.mark.parametrize(
    ("text", "name"), [("{schema_version: 1, kind: joint}", None), ("{}", "urdf")]
)
def test_a_contract_or_an_unknown_format_is_refused_with_what_to_use(
    tmp_path: Path, text: str, name: str | None
) -> None:
    with refusal(ToolError):
        choose(read_source(some_yaml(tmp_path, text)), name)
