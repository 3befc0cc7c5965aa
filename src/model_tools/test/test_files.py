# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Outputs are whole or not there, and nothing is replaced that nobody asked to replace."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from model_tools.errors import ToolError
from model_tools.files import new_file, new_folder

MARKER = "policy.yaml"
Make = Callable[..., AbstractContextManager[Path]]


def marked(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / MARKER).write_text(text)
    return folder


@pytest.fixture(params=[new_file, partial(new_folder, marker=MARKER)], ids=["file", "folder"])
def make(request: pytest.FixtureRequest) -> Make:
    return request.param  # type: ignore[no-any-return]  # of this parameter


def write(growing: Path) -> None:
    if growing.is_dir():
        (growing / MARKER).write_text("new")
    else:
        growing.write_text("new")


def test_what_was_written_is_there_at_the_end_and_nothing_else(make: Make, tmp_path: Path) -> None:
    with make(tmp_path / "a" / "out") as growing:
        write(growing)
        assert not (tmp_path / "a" / "out").exists()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["out"]


@pytest.mark.parametrize("cause", [ToolError, KeyboardInterrupt, SystemExit, MemoryError])
def test_what_fails_leaves_nothing_behind(
    make: Make, tmp_path: Path, cause: type[BaseException]
) -> None:
    with pytest.raises(cause), make(tmp_path / "out") as growing:
        write(growing)
        raise cause
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_another_run_made_meanwhile_is_not_replaced(
    make: Make, tmp_path: Path
) -> None:
    with pytest.raises(ToolError, match="expected nothing there yet"):  # noqa: SIM117  # the order
        with make(tmp_path / "out") as growing:
            write(growing)
            with make(tmp_path / "out") as first:
                write(first)
                (first / "first").touch() if first.is_dir() else first.write_text("first")
    out = tmp_path / "out"
    assert (out / "first").exists() if out.is_dir() else out.read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_cannot_be_written_is_named(make: Make, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ToolError, match=r"/file: expected a folder that can be written, found: "):  # noqa: SIM117  # the order
        with make(tmp_path / "file" / "out"):
            pass


def test_a_link_that_leads_nowhere_yet_is_followed(make: Make, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with make(tmp_path / "link") as growing:
        write(growing)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").exists()


def test_force_replaces_a_folder_of_this_kind(tmp_path: Path) -> None:
    out = marked(tmp_path / "out", "old")
    with new_folder(out, marker=MARKER, force=True) as growing:
        write(growing)
    assert (out / MARKER).read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("given", [".", "sub/.."])
def test_a_folder_may_be_named_from_inside(
    tmp_path: Path, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = marked(tmp_path / "out", "old")
    (out / "sub").mkdir()
    monkeypatch.chdir(out)
    with new_folder(Path(given), marker=MARKER, force=True) as growing:
        write(growing)
    assert (out / MARKER).read_text() == "new"


def test_force_does_not_touch_another_kind_of_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(ToolError, match="which --force does not touch"):  # noqa: SIM117  # the order
        with new_folder(tmp_path / "out", marker=MARKER, force=True):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_former_folder_comes_back_where_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = marked(tmp_path / "out", "old")
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        if self.name == "out" and target == out:
            raise KeyboardInterrupt
        return rename(self, target)

    with pytest.raises(KeyboardInterrupt), new_folder(out, marker=MARKER, force=True) as growing:
        write(growing)
        monkeypatch.setattr(Path, "rename", interrupted)
    assert (out / MARKER).read_text() == "old"
