# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Roots that another program has changed, and archives of unknown origin."""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Bundles
from .stores import NAME, in_use, problems, run, versions

Caplog = pytest.LogCaptureFixture


@pytest.fixture
def model(root: Path) -> Path:
    """Folder of the bundle with three versions, of which the last is in use."""
    assert in_use(root) == ("1.2.0", ["1.1.0", "1.0.0"])
    return root / NAME


def use(model: Path, target: str | Path) -> None:
    (model / "current").unlink(missing_ok=True)
    (model / "current").symlink_to(target)


def link_out(model: Path) -> None:
    (model / "1.2.0").rename(model.parent.parent / "1.2.0")
    (model / "1.2.0").symlink_to(model.parent.parent / "1.2.0")


def link_to_hidden(model: Path) -> None:
    (model / "1.2.0").rename(model / ".lite3.old")
    use(model, ".lite3.old")


def link_to_what_prune_makes(model: Path) -> None:
    (model / "1.2.0").rename(model / ".1.2.0.0123abcd")
    use(model, ".1.2.0.0123abcd")


def copied(model: Path) -> None:
    (model / "1.2.0").rename(model / "9.9.9")
    use(model, "9.9.9")


def lost(model: Path) -> None:
    (model / "current").unlink()


@pytest.mark.parametrize("harm", [link_out, link_to_hidden, link_to_what_prune_makes, copied, lost])
def test_what_was_not_installed_is_found_by_verify(
    root: Path, model: Path, harm: Callable[[Path], None], caplog: Caplog
) -> None:
    harm(model)
    assert run("verify", NAME, "--root", root) == 1
    assert problems(root)
    assert run("verify", "--root", root) == 1


@pytest.mark.parametrize("harm", [link_out, link_to_hidden, link_to_what_prune_makes, copied])
def test_prune_never_takes_what_is_in_use_whatever_its_name(
    root: Path, model: Path, harm: Callable[[Path], None]
) -> None:
    harm(model)
    run("prune", NAME, "--keep", 0, "--root", root, "--force")
    assert (model / "current/policy.yaml").is_file()


def test_prune_leaves_hidden_files_that_are_not_ours(root: Path, model: Path) -> None:
    (model / ".lite3.old").mkdir()
    assert run("prune", NAME, "--root", root, "--force") == 0
    assert (model / ".lite3.old").is_dir()


def test_link_without_any_version_is_found_by_verify(root: Path, model: Path) -> None:
    for version in versions(root):
        (model / version).rename(root.parent / version)
    (model / "1.2.0").symlink_to(root.parent / "1.2.0")
    assert run("verify", "--root", root) == 1


@pytest.fixture(params=["bytes", "folder", "text", "link", "size"])
def damaged(request: pytest.FixtureRequest, model: Path, tmp_path: Path) -> Path:
    """A record of activations that cannot be read."""
    file = model / "activations"
    file.unlink()
    if request.param == "folder":
        file.mkdir()
    elif request.param == "link":
        file.symlink_to("/dev/zero")
    elif request.param == "size":
        file.touch()
        os.truncate(file, (1 << 20) + 1)
    else:
        file.write_bytes(b"\xff\xfe1.0.0\n" if request.param == "bytes" else b"1.0.0\n1.x\n")
    return file


@pytest.mark.parametrize("command", [("rollback", NAME), ("verify", NAME), ("prune", NAME)])
def test_damaged_record_of_activations_is_one_error_that_says_what_to_do(
    root: Path,
    damaged: Path,
    command: tuple[str, ...],
    caplog: Caplog,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(*command, "--root", root) == (1 if "verify" in command else 4)
    said = caplog.text + capsys.readouterr().out  # that of verify is its result
    assert said.count(f"{damaged}: expected the versions that were in use") == 1
    assert f"model_tools activate {NAME}" in said
    assert in_use_by_link(root) == "1.2.0"


def test_list_shows_what_is_in_use_beside_a_damaged_record(
    root: Path, damaged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("list", "--root", root) == 0
    shown = capsys.readouterr().out
    assert "in use" in shown
    assert f"{damaged}: expected the versions" in shown


@pytest.mark.parametrize("version", ["1.1.0", "1.2.0"])
def test_activate_goes_on_after_a_damaged_record_and_keeps_it(
    root: Path, damaged: Path, version: str
) -> None:
    assert run("activate", NAME, version, "--root", root) == 0
    assert in_use(root) == (version, ["1.2.0"] if version == "1.1.0" else [])
    assert len([*damaged.parent.glob("activations.damaged.*")]) == 1
    assert problems(root) == []


def in_use_by_link(root: Path) -> str:
    return str((root / NAME / "current").readlink())


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "folder"])
def test_lock_that_is_something_else_is_neither_followed_nor_waited_for(
    root: Path,
    model: Path,
    tmp_path: Path,
    kind: str,
    caplog: Caplog,
    capsys: pytest.CaptureFixture[str],
) -> None:
    precious, lock = tmp_path / "precious", model / ".lock"
    precious.write_text("mine")
    lock.unlink(missing_ok=True)
    if kind == "link":
        lock.symlink_to(precious)
    elif kind == "hard link":
        lock.hardlink_to(precious)
    elif kind == "pipe":
        os.mkfifo(lock)
    else:
        lock.mkdir()
    for command in (("activate", NAME, "1.0.0"), ("verify",), ("prune", NAME)):
        caplog.clear()
        assert run(*command, "--root", root) == (1 if "verify" in command else 4)
        assert (
            f"{lock}: expected a file that installers lock" in caplog.text + capsys.readouterr().out
        )
    assert precious.read_text() == "mine"
    assert in_use_by_link(root) == "1.2.0"


def member(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """Return the header of a file in an archive, which need not be there."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (member("policy.onnx", 1 << 50), r"for which there is room, .* MB or more"),
        (member("x", 1 << 40, tarfile.XHDTYPE), "a header of 1099511627776 bytes"),
        (member("x", 1 << 40, tarfile.GNUTYPE_LONGNAME), "a header of 1099511627776 bytes"),
    ],
    ids=["file", "comment", "name"],
)
def test_archive_that_would_not_fit_is_refused_at_its_header(
    tmp_path: Path, header: bytes, found: str, caplog: Caplog
) -> None:
    file = tmp_path / "bundle.tar"
    file.write_bytes(header + bytes(4096))
    assert run("install", file, "--root", tmp_path / "models") == 4
    assert re.search(found, caplog.text)
    assert not (tmp_path / "models").exists()


def test_contract_that_is_larger_than_any_is_not_read(tmp_path: Path, caplog: Caplog) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "policy.yaml").touch()
    os.truncate(bundle / "policy.yaml", (1 << 20) + 1)
    with tarfile.open(tmp_path / "bundle.tar.gz", "w:gz") as archive:
        archive.add(bundle, "bundle")
    for source in (bundle, tmp_path / "bundle.tar.gz"):
        caplog.clear()
        assert run("install", source, "--root", tmp_path / "models") == 4
        assert "policy.yaml: expected a contract of at most 1 MiB" in caplog.text


def test_bundle_for_which_there_is_no_room_is_refused_before_it_is_copied(
    tmp_path: Path, bundles: Bundles, caplog: Caplog
) -> None:
    bundle = bundles()
    (bundle / "rows.bin").touch()
    os.truncate(bundle / "rows.bin", 1 << 43)
    assert run("install", bundle, "--root", tmp_path / "models") == 4
    assert "expected a bundle for which there is room" in caplog.text
    assert not (tmp_path / "models").exists()
