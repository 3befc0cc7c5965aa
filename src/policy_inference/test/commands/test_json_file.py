# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A JSON file that is written whole or not at all."""

import json
from pathlib import Path

import pytest

from policy_inference.commands.json_file import write_new
from policy_inference.errors import PolicyError


def test_file_has_the_data_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    write_new(tmp_path / "a.json", {"degrees": "52 °C"}, force=False)

    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"degrees": "52 °C"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_file_that_is_there_is_replaced_with_force_only(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("old")
    with pytest.raises(PolicyError, match="--force"):
        write_new(file, {}, force=False)
    assert file.read_text() == "old"
    write_new(file, {}, force=True)

    assert json.loads(file.read_text()) == {}


def test_folder_is_not_replaced_even_with_force(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="found a folder"):
        write_new(tmp_path, {}, force=True)


def test_data_that_is_no_json_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("old")
    with pytest.raises(ValueError, match="JSON compliant"):
        write_new(file, {"nan": float("nan")}, force=True)

    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
