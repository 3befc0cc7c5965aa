# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Outputs are whole or not there, and nothing is replaced without a request."""

import errno
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from model_tools.errors import ToolError
from model_tools.files.outputs import copy_folder, new_file, new_folder
from testkit.wording import refusal

MARKER = "policy.yaml"
Make = Callable[..., AbstractContextManager[Path]]


def marked(folder: Path) -> Path:
    folder.mkdir()
    (folder / MARKER).write_text("old")
    return folder


@pytest.fixture(params=[new_file, partial(new_folder, marker=MARKER)], ids=["file", "folder"])
def new_output(request: pytest.FixtureRequest) -> Make:
    return request.param  # type: ignore[no-any-return]  # of this parameter


def write_output(
    making: AbstractContextManager[Path], text: str = "new", meanwhile: Callable[[], object] = list
) -> None:
    with making as growing:
        (growing / MARKER if growing.is_dir() else growing).write_text(text)
        meanwhile()


def text_of(out: Path) -> str:
    return (out / MARKER if out.is_dir() else out).read_text()


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("cause", [ToolError, KeyboardInterrupt])
def test_what_fails_leaves_nothing_behind(
    new_output: Make, tmp_path: Path, cause: type[BaseException]
) -> None:
    def fail() -> None:
        raise cause

    with pytest.raises(cause):
        write_output(new_output(tmp_path / "out"), meanwhile=fail)
    assert names(tmp_path) == []


def test_what_another_run_made_meanwhile_is_not_replaced(new_output: Make, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with refusal(ToolError):
        write_output(
            new_output(out), "second", meanwhile=lambda: write_output(new_output(out), "first")
        )
    assert text_of(out) == "first"
    assert names(tmp_path) == ["out"]


def test_a_folder_that_cannot_be_written_is_named(new_output: Make, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with refusal(ToolError):
        write_output(new_output(tmp_path / "file" / "out"))


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EFBIG])
def test_a_full_disk_is_named_and_left_as_it_was(
    new_output: Make, tmp_path: Path, reason: int
) -> None:
    def fail() -> None:
        raise OSError(reason, "full")

    with refusal(ToolError):
        write_output(new_output(tmp_path / "out"), meanwhile=fail)
    assert names(tmp_path) == []


def test_force_replaces_what_is_there(new_output: Make, tmp_path: Path) -> None:
    out = tmp_path / "a" / "out"
    write_output(new_output(out), "old")
    write_output(new_output(out, force=True))
    assert text_of(out) == "new"
    assert names(tmp_path / "a") == ["out"]


def test_force_does_not_touch_another_kind_of_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with refusal(ToolError):
        write_output(new_folder(tmp_path / "out", marker=MARKER, force=True))
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("theirs", ["agent.pt", ".git/HEAD", "runs/policy.onnx", "link"])
def test_force_does_not_delete_what_such_a_folder_does_not_hold(
    tmp_path: Path, theirs: str
) -> None:
    out, file = marked(tmp_path / "out"), tmp_path / "out" / theirs
    file.parent.mkdir(exist_ok=True)
    file.symlink_to(tmp_path) if theirs == "link" else file.write_text("theirs")
    with refusal(ToolError):
        write_output(new_folder(out, marker=MARKER, force=True))
    assert file.exists()
    assert text_of(out) == "old"


@pytest.mark.parametrize(
    "ours", ["policy.int8.onnx", "golden.npz", "reports/training.csv", "policy.engine.json"]
)
def test_force_replaces_a_folder_with_files_of_its_kind(tmp_path: Path, ours: str) -> None:
    out = marked(tmp_path / "out")
    (out / ours).parent.mkdir(exist_ok=True)
    (out / ours).write_text("ours")
    write_output(new_folder(out, marker=MARKER, force=True))
    assert names(out) == [MARKER]


def test_files_that_the_new_folder_takes_over_are_no_reason_to_refuse(tmp_path: Path) -> None:
    out = marked(tmp_path / "out")
    (out / "LICENSE").write_text("theirs")
    write_output(new_folder(out, marker=MARKER, force=True, kept=out))
    assert text_of(out) == "new"


def test_a_copy_has_all_files_follows_no_loop_and_is_writable(tmp_path: Path) -> None:
    source = marked(tmp_path / "source")
    (source / "reports").mkdir()
    (source / "reports" / "a.json").write_text("a")
    (source / "loop").symlink_to(source)
    (source / "policy.yaml.sig").write_text("of what the copy will not be any more")
    (source / MARKER).chmod(0o444)
    copy_folder(source, tmp_path / "copy")
    assert sorted(names(tmp_path / "copy")) == [MARKER, "reports"]
    assert (tmp_path / "copy" / "reports" / "a.json").read_text() == "a"
    (tmp_path / "copy" / MARKER).write_text("new")


def test_the_former_folder_comes_back_where_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, rename = marked(tmp_path / "out"), Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        if self.name == "out" and target == out:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_output(new_folder(out, marker=MARKER, force=True))
    assert text_of(out) == "old"
