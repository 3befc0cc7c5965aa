# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Roots that another program has changed, and archives of unknown origin."""

import json
import os
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from testkit.disks import DyingDisk, working
from testkit.store import (
    NAME,
    MakeVersion,
    hidden_names,
    in_child,
    in_use,
    run_as_robot,
    tool,
    tool_refused,
    verify_problems,
)


@pytest.fixture
def in_model(root: Path) -> Path:
    """Folder of the bundle with three versions, of which the last is in use."""
    assert in_use(root) == ("1.2.0", ["1.1.0", "1.0.0"])
    return root / NAME


def move_and_use(model: Path, target: str) -> None:
    """Give the version in use another name, and let `current` follow it."""
    (model / "1.2.0").rename(model / target)
    (model / "current").unlink()
    (model / "current").symlink_to(target)


def link_out(model: Path) -> None:
    (model / "1.2.0").rename(model.parent.parent / "1.2.0")
    (model / "1.2.0").symlink_to(model.parent.parent / "1.2.0")


HARMS: dict[str, Callable[[Path], object]] = {
    "link out of the root": link_out,
    "hidden folder": lambda model: move_and_use(model, ".lite3.old"),
    "name as prune gives": lambda model: move_and_use(model, ".1.2.0.0123abcd"),
    "another version's name": lambda model: move_and_use(model, "9.9.9"),
    "no link": lambda model: (model / "current").unlink(),
}


@pytest.mark.parametrize("harm", HARMS)
def test_what_was_not_installed_is_found_and_what_is_in_use_stays(
    root: Path, in_model: Path, harm: str
) -> None:
    HARMS[harm](in_model)
    assert tool("verify", NAME, "--root", root) == 1
    assert verify_problems(root)
    assert tool("verify", "--root", root) == 1
    if harm != "no link":
        tool("prune", NAME, "--keep", 0, "--root", root, "--force")
        assert (in_model / "current/policy.yaml").is_file()


@pytest.fixture(params=["bytes", "folder", "text", "link", "size"])
def damaged_record(request: pytest.FixtureRequest, in_model: Path) -> Path:
    file = in_model / "activations"
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


def test_damaged_record_of_activations_is_one_error_and_kept_by_the_next_activation(
    root: Path, damaged_record: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tool_refused("rollback", NAME, "--root", root)
    tool_refused("prune", NAME, "--root", root)
    assert tool("verify", NAME, "--root", root) == 1
    (problem,) = verify_problems(root)
    assert str(damaged_record) in problem
    assert in_use_by_link(root) == "1.2.0"
    capsys.readouterr()
    assert tool("list", "--json", "--root", root) == 0
    (model,) = json.loads(capsys.readouterr().out)["models"]
    assert model["current"] == "1.2.0"
    assert str(damaged_record) in model["problem"]
    assert tool("activate", NAME, "1.1.0", "--root", root) == 0
    assert in_use(root) == ("1.1.0", ["1.2.0"])
    assert len([*damaged_record.parent.glob("activations.damaged.*")]) == 1
    assert verify_problems(root) == []


def in_use_by_link(root: Path) -> str:
    return str((root / NAME / "current").readlink())


DAMAGE: dict[str, Callable[[Path], object]] = {
    "model": lambda version: (version / "policy.onnx").write_bytes(b"other bytes"),
    "missing": lambda version: (version / "golden.npz").unlink(),
    "record": lambda version: (version / "model_version.json").write_text("{"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_installing_a_damaged_version_again_replaces_it_and_keeps_the_damaged_files(
    root: Path, make_version: MakeVersion, damage: str
) -> None:
    DAMAGE[damage](root / NAME / "1.2.0")
    damaged = version_files(root / NAME / "1.2.0")
    assert len(verify_problems(root)) == 1
    assert tool("install", make_version("1.2.0"), "--root", root) == 0
    assert verify_problems(root) == []
    assert in_use(root) == ("1.2.0", ["1.1.0", "1.0.0"])
    (kept,) = hidden_names(root)
    assert version_files(root / NAME / kept) == damaged
    assert tool("prune", NAME, "--root", root, "--force") == 0
    assert hidden_names(root) == []


def version_files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_damaged_version_is_not_replaced_by_another_bundle(
    root: Path, make_version: MakeVersion
) -> None:
    DAMAGE["model"](root / NAME / "1.2.0")
    other = make_version("1.2.0", ("rate_hz: 50", "rate_hz: 100"))
    tool_refused("install", other, "--root", root)
    assert hidden_names(root) == []


@pytest.mark.slow
def test_repair_that_was_killed_is_completed_by_the_same_command(
    root: Path, make_version: MakeVersion
) -> None:
    DAMAGE["missing"](root / NAME / "1.2.0")
    args = ("install", make_version("1.2.0"), "--root", root)
    for at in range(200):
        if in_child(partial(run_killed, at, root, args)) == 0:
            break
    else:
        pytest.fail("still killed after 200 changes")
    assert at > 10
    assert verify_problems(root) == []
    assert in_use(root)[0] == "1.2.0"


def run_killed(at: int, root: Path, args: tuple[object, ...]) -> int:
    with working(DyingDisk(root, at)):
        return tool(*args)


def tar_header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """Return the header of a file in an archive, which need not be there."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


HEADERS = {
    "file": tar_header("policy.onnx", 1 << 50),
    "comment": tar_header("x", 1 << 40, tarfile.XHDTYPE),
    "name": tar_header("x", 1 << 40, tarfile.GNUTYPE_LONGNAME),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_archive_that_would_not_fit_is_refused_at_its_header(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "bundle.tar"
    file.write_bytes(HEADERS[kind] + bytes(4096))
    tool_refused("install", file, "--root", tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_contract_that_is_larger_than_any_is_not_read(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "policy.yaml").touch()
    os.truncate(bundle / "policy.yaml", (1 << 20) + 1)
    with tarfile.open(tmp_path / "bundle.tar.gz", "w:gz") as archive:
        archive.add(bundle, "bundle")
    for source in (bundle, tmp_path / "bundle.tar.gz"):
        tool_refused("install", source, "--root", tmp_path / "models")


def test_versions_are_managed_with_what_a_robot_has(
    tmp_path: Path, make_version: MakeVersion
) -> None:
    trial = tmp_path / "trial.yaml"
    trial.write_text("run_time_s: 60")
    first, second = (str(make_version(version)) for version in ("1.0.0", "1.1.0"))
    commands = [
        ["install", first, "--activate"],
        ["install", second],
        ["activate", NAME, "1.1.0"],
        ["list"],
        ["list", "--json"],
        ["rollback", NAME],
        ["activate", NAME, "1.1.0", "--trial", str(trial)],
        ["trial", "status", NAME],
        ["trial", "end", NAME],
        ["verify"],
        ["prune", NAME, "--keep", "1", "--force"],
    ]
    run_as_robot([[*command, "--root", str(tmp_path)] for command in commands])
    assert (tmp_path / NAME / "current").readlink() == Path("1.0.0")
