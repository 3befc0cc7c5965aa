# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A JSON file that is written whole or not at all."""

import json
import os
from pathlib import Path

import pytest

from policy_core.errors import PolicyError
from policy_inference.commands.output import refuse_unwritable, write_new
from testkit.wording import refusal


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


def test_what_is_no_file_is_not_replaced_even_with_force(tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(link)
    for path in (tmp_path, pipe, Path(os.devnull), link):
        with refusal(PolicyError):
            write_new(path, {}, force=True)
    assert pipe.is_fifo()
    assert Path(os.devnull).is_char_device()


@pytest.mark.parametrize("folder", ["file", "nowhere"])
def test_folder_that_is_none_is_refused_before(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_text("")
    with refusal(PolicyError):
        refuse_unwritable(tmp_path / folder / "a.json", force=False)


def test_data_that_is_no_json_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("old")
    with pytest.raises(ValueError, match="JSON compliant"):
        write_new(file, {"nan": float("nan")}, force=True)
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
