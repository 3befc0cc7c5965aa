# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Versions side by side: installed whole, chosen, left again, removed."""

from __future__ import annotations

import errno
import io
import itertools
import json
import os
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from model_tools.ship.store.activation import is_older
from model_tools.ship.store.durable import write_text
from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.load import load_bundle
from policy_inference.bundle.verified import sha256_of
from policy_inference.testing.disks import fill_up, small_disk

from .conftest import VERSIONS, Bundles
from .stores import (
    NAME,
    NOBODY,
    before_change,
    end_with,
    hidden_names,
    in_child,
    in_use,
    problems,
    run,
    versions,
)

pytestmark = pytest.mark.forks

Caplog = pytest.LogCaptureFixture


def said(caplog: Caplog) -> str:
    return caplog.messages[-1]


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out.splitlines()[-1]


def tree(folder: Path) -> dict[str, object]:
    """Return all below a folder: contents of files, targets of links."""
    return {
        str(path.relative_to(folder)): str(path.readlink())
        if path.is_symlink()
        else path.is_file() and path.read_bytes()
        for path in folder.rglob("*")
        if path.name != ".lock"
    }


def archive(bundle: Path, file: Path, top: str = NAME) -> Path:
    with tarfile.open(file, "w:gz") as tar:
        tar.add(bundle, top)
    return file


def test_another_bundle_than_expected_is_not_installed(
    tmp_path: Path, bundles: Bundles, caplog: Caplog
) -> None:
    root, bundle = tmp_path / "models", bundles("1.1.0")
    for expected in (f"{NAME}@1.0.0", "another@1.1.0"):
        assert run("install", bundle, "--expect", expected, "--root", root) == 4
        assert f"expected {expected}, found {NAME}@1.1.0; nothing was installed" in caplog.text
    assert not root.exists()
    assert run("install", bundle, "--expect", f"{NAME}@1.1.0", "--root", root) == 0
    assert versions(root) == ["1.1.0"]


def test_first_version_is_installed_and_not_in_use_unless_asked(
    tmp_path: Path, bundles: Bundles
) -> None:
    bundle = bundles("1.0.0")
    assert run("install", bundle, "--root", tmp_path / "a/b") == 0
    assert in_use(tmp_path / "a/b") == (None, [])
    assert run("install", bundle, "--root", tmp_path / "a/b", "--activate") == 0
    assert in_use(tmp_path / "a/b") == ("1.0.0", [])
    for file in bundle.iterdir():
        assert (tmp_path / "a/b" / NAME / "current" / file.name).read_bytes() == file.read_bytes()
    assert problems(tmp_path / "a/b") == []


def test_installation_says_which_version_the_name_means(
    tmp_path: Path, bundles: Bundles, capsys: pytest.CaptureFixture[str]
) -> None:
    run("install", bundles("1.0.0"), "--root", tmp_path)
    said = f"no version of {NAME} is in use: nodes with bundle:={NAME} refuse until `model_tools"
    assert f"{said} activate {NAME}@1.0.0`" in printed(capsys)
    assert run("activate", f"{NAME}@1.0.0", "--root", tmp_path) == 0
    run("install", bundles("1.0.0"), "--root", tmp_path)
    assert f"{NAME} means 1.0.0, which is in use" in printed(capsys)
    run("install", bundles("1.1.0"), "--root", tmp_path)
    said = printed(capsys)
    assert f"{NAME} still means 1.0.0" in said
    assert f"`model_tools activate {NAME}@1.1.0` puts this one into use" in said


def test_a_version_is_named_with_an_at_sign_too(
    tmp_path: Path, bundles: Bundles, caplog: Caplog, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("INFO")
    run("install", bundles("1.0.0"), "--root", tmp_path)
    assert run("verify", f"{NAME}@1.0.0", "--root", tmp_path) == 0
    assert f"{NAME}/1.0.0: whole" in printed(capsys)
    assert run("verify", f"{NAME}@1.0.0", "2.0.0", "--root", tmp_path) == 4
    assert f"expected one version, found {NAME}@1.0.0 and 2.0.0" in said(caplog)
    assert run("activate", NAME, "--root", tmp_path) == 4
    assert f"{NAME}: expected NAME@VERSION, found no version" in said(caplog)


def test_record_says_what_was_installed(tmp_path: Path, bundles: Bundles) -> None:
    bundle = bundles(
        "2.0.0",
        ("source: a test", 'source: a test, date: "2026-03-01T12:30:00+02:00"'),
        (
            "precision: fp32}",
            "precision: fp32, calibration: {source: walk.npz, sha256: " + "a" * 64 + ", rows: 9}}",
        ),
    )
    (bundle / "notes").mkdir()
    (bundle / "notes/licence.txt").write_text("mine")
    (bundle / ".git").mkdir()
    (bundle / ".git/config").write_text("not part of it")
    assert run("install", bundle, "--root", tmp_path) == 0
    record = json.loads((tmp_path / NAME / "2.0.0/model_version.json").read_text())
    model, contract = sha256_of(bundle / "policy.onnx"), sha256_of(bundle / "policy.yaml")
    assert record | {"installed_time": 0, "tool": 0} == {
        "model": NAME,
        "version": "2.0.0",
        "onnx_hash": f"sha256:{model}",
        "rknn_hash": None,
        "quant_dataset": "walk.npz",
        "export_time": "2026-03-01T10:30:00Z",
        "policy_hash": f"sha256:{contract}",
        "installed_time": 0,
        "installed_from": str(bundle),
        "tool": 0,
        "signed_by": None,
        "files": {
            "golden.npz": f"sha256:{sha256_of(bundle / 'golden.npz')}",
            "notes/licence.txt": f"sha256:{sha256_of(bundle / 'notes/licence.txt')}",
            "policy.onnx": f"sha256:{model}",
            "policy.yaml": f"sha256:{contract}",
        },
    }
    assert record["tool"].startswith("model_tools ")


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        (None, "2020-09-13T12:26:40Z"),
        ("2026-03-01", "2026-03-01"),
        ("2026-03-01T12:30:00Z", "2026-03-01T12:30:00Z"),
        ("2026-03-01T12:30", "2026-03-01T12:30:00Z"),
        ("2026-03-01Tnoon", "2026-03-01Tnoon"),
    ],
)
def test_time_of_export_is_the_contracts_else_the_models(
    tmp_path: Path, bundles: Bundles, stated: str | None, expected: str
) -> None:
    changes = [] if stated is None else [("source: a test", f'source: a test, date: "{stated}"')]
    bundle = bundles("1.0.0", *changes)
    os.utime(bundle / "policy.onnx", (1.6e9, 1.6e9))
    source = archive(bundle, tmp_path / "b.tar.gz")
    assert run("install", source, "--root", tmp_path) == 0
    record = json.loads((tmp_path / NAME / "1.0.0/model_version.json").read_text())
    assert record["export_time"] == expected


def test_another_user_can_read_whatever_the_umask(bundles: Bundles, open_folder: Path) -> None:
    """The node's user is another than the one who installs."""
    root, bundle = open_folder / "models", bundles("1.0.0")
    (bundle / "policy.onnx").chmod(0o600)
    before = os.umask(0o077)
    try:
        assert run("install", bundle, "--root", root, "--activate") == 0
    finally:
        os.umask(before)
    for path in (root, *root.rglob("*")):
        wanted = 0o755 if path.is_dir() else 0o644
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path
    if os.geteuid() == 0:

        def read() -> int:
            os.setuid(NOBODY)
            load_bundle(root / NAME / "current", kind=JointBundle).verify()
            return 0

        assert in_child(read) == 0


@pytest.mark.parametrize("top", [NAME, "."])
def test_archive_is_as_good_as_its_folder(tmp_path: Path, bundles: Bundles, top: str) -> None:
    source = archive(bundles(), tmp_path / "bundle.tar.gz", top)
    assert run("install", source, "--root", tmp_path / "models", "--activate") == 0
    assert in_use(tmp_path / "models") == ("1.0.0", [])
    assert problems(tmp_path / "models") == []


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> Callable[[Path], Path]:
    def add(file: Path) -> Path:
        with tarfile.open(file, "w:gz") as tar:
            tar.add(file.parent / "bundle", NAME)
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, target, 4 if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(b"evil"))
        return file

    return add


def cut(file: Path) -> Path:
    archive(file.parent / "bundle", file)
    file.write_bytes(file.read_bytes()[:-200])
    return file


def text(file: Path) -> Path:
    file.write_text("no archive")
    return file


EVIL = {
    "leaves upwards": (member("tiny/../../../evil"), "a path that leaves the bundle"),
    "leaves from the top": (member("/tmp/evil"), "a path that leaves the bundle"),
    "symbolic link": (member("tiny/link", tarfile.SYMTYPE, "/etc"), "found a link"),
    "hard link": (member("tiny/link", tarfile.LNKTYPE, "tiny/policy.yaml"), "found a link"),
    "device": (member("tiny/device", tarfile.CHRTYPE), "a device or a pipe"),
    "pipe": (member("tiny/pipe", tarfile.FIFOTYPE), "a device or a pipe"),
    "twice": (member("tiny/./policy.onnx"), "a second file of this name"),
    "stray": (member("else/policy.bin"), "expected one bundle and nothing else"),
    "cut off": (cut, "expected a whole archive"),
    "text": (text, "expected a whole archive"),
}


@pytest.mark.parametrize("kind", EVIL)
def test_archive_that_cannot_be_trusted_is_refused_and_writes_nothing(
    tmp_path: Path, bundles: Bundles, caplog: Caplog, kind: str
) -> None:
    bundles().rename(tmp_path / "bundle")
    make, expected = EVIL[kind]
    file = make(tmp_path / "b.tar.gz")
    before = tree(tmp_path)
    assert run("install", file, "--root", tmp_path / "models") == 4
    assert expected in said(caplog)
    assert versions(tmp_path / "models") == []
    assert {
        name: content
        for name, content in tree(tmp_path).items()
        if name not in ("models", f"models/{NAME}")
    } == before
    assert not Path("/tmp/evil").exists()


def spoil_hash(bundle: Path) -> None:
    (bundle / "golden.npz").write_bytes(b"else")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (spoil_hash, "golden.npz: expected sha256"),
        (
            lambda bundle: (bundle / "policy.onnx").unlink(),
            "policy.onnx: expected the file that pol",
        ),
        (lambda bundle: (bundle / "policy.yaml").unlink(), "expected a bundle, which has a"),
        (
            lambda bundle: (bundle / "policy.yaml").write_text("name: tiny"),
            "policy.yaml: version: exp",
        ),
    ],
)
def test_bundle_that_is_not_whole_is_refused_under_its_own_path(
    root: Path, bundles: Bundles, caplog: Caplog, spoil: Callable[[Path], object], expected: str
) -> None:
    bundle, before = bundles("3.0.0"), tree(root)
    spoil(bundle)
    assert run("install", bundle, "--root", root) == 4
    assert expected in said(caplog)
    assert str(bundle) in said(caplog)
    assert ".installing" not in said(caplog)
    assert tree(root) == before


def test_bundle_without_a_name_is_refused(root: Path, bundles: Bundles, caplog: Caplog) -> None:
    assert run("install", bundles("3.0.0", ("name: tiny\n", "")), "--root", root) == 4
    assert "policy.yaml: name: expected name of the policy, found nothing" in said(caplog)


def test_same_content_again_is_no_error_and_other_content_is(
    root: Path, bundles: Bundles, caplog: Caplog, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("INFO")
    before = tree(root)
    assert run("install", bundles("1.1.0"), "--root", root) == 0
    assert "was installed before, with the same content" in printed(capsys)
    assert run("install", bundles("1.1.0", ("source: a test", "source: mine")), "--root", root) == 4
    assert "found that these differ: policy.yaml; give the bundle another version" in said(caplog)
    assert tree(root) == before


def test_way_back_goes_one_further_each_time_and_ends(root: Path, caplog: Caplog) -> None:
    assert in_use(root) == ("1.2.0", ["1.1.0", "1.0.0"])
    assert run("rollback", NAME, "--root", root) == 0
    assert in_use(root) == ("1.1.0", ["1.0.0"])
    assert run("rollback", NAME, "--root", root) == 0
    assert in_use(root) == ("1.0.0", [])
    assert run("rollback", NAME, "--root", root) == 4
    assert "expected a version that was in use before 1.0.0, found none" in said(caplog)


def test_activation_after_a_rollback_forgets_what_was_left(root: Path, bundles: Bundles) -> None:
    run("rollback", NAME, "--root", root)
    assert run("install", bundles("1.3.0"), "--activate", "--root", root) == 0
    assert in_use(root) == ("1.3.0", ["1.1.0", "1.0.0"])


def test_version_that_was_linked_by_hand_counts(root: Path, bundles: Bundles) -> None:
    run("install", bundles("1.3.0"), "--root", root)
    link = root / NAME / "current"
    link.unlink()
    link.symlink_to("1.3.0")
    assert in_use(root) == ("1.3.0", ["1.2.0", "1.1.0", "1.0.0"])
    run("activate", NAME, "1.0.0", "--root", root)
    assert in_use(root) == ("1.0.0", ["1.3.0", "1.2.0", "1.1.0"])


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("activate", "runner", "1.0.0"), "expected an installed bundle (tiny), found 'runner'"),
        (
            ("activate", NAME, "9.9.9"),
            "expected an installed version (1.0.0, 1.1.0, 1.2.0), found '9.",
        ),
        (("activate", NAME, "../tiny/1.0.0"), "expected an installed version"),
        (("rollback", "../models/tiny"), "expected an installed bundle"),
        (("verify", NAME, "2.0.0"), "expected an installed version"),
        (("prune", NAME, "--keep", "-1"), "--keep: expected 0 or more versions, found -1"),
    ],
)
def test_what_is_not_there_is_named(
    root: Path, caplog: Caplog, args: tuple[str, ...], expected: str
) -> None:
    assert run(*args, "--root", root) == 4
    assert expected in said(caplog)


def test_verify_of_a_folder_names_the_command_that_checks_it(
    root: Path, bundles: Bundles, caplog: Caplog
) -> None:
    bundle = bundles("1.3.0")
    assert run("verify", bundle, "--root", root) == 4
    assert f"`model_tools inspect {bundle}` checks a folder" in said(caplog)


def test_verify_says_what_is_whole_and_leaves_out_files_of_other_programs(
    root: Path, bundles: Bundles, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = bundles("1.3.0")
    (bundle / "reports").mkdir()
    (bundle / "reports/walk.csv").touch()
    assert run("install", bundle, "--root", root) == 0
    (root / "old/layout").mkdir(parents=True)
    (root / NAME / "notes").mkdir()
    capsys.readouterr()
    assert run("verify", "--root", root) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{root / NAME / one}: whole" for one in (*VERSIONS, "1.3.0")]


def test_file_that_cannot_be_read_does_not_hide_the_rest(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / NAME / "1.0.0/policy.onnx").unlink()
    (root / NAME / "1.0.0/policy.onnx").symlink_to("nothing")
    (root / NAME / "1.2.0/golden.npz").unlink()
    assert run("verify", "--root", root) == 1
    shown = capsys.readouterr().out
    assert "1.0.0/policy.onnx: expected a file that can be read, found: No such" in shown
    assert "1.2.0/golden.npz: expected" in shown


def alter(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes() + b"\n")


DAMAGE = {
    "model": (alter("policy.onnx"), "policy.onnx: expected sha256:"),
    "contract": (alter("policy.yaml"), "policy.yaml: expected sha256:"),
    "golden rows gone": (lambda folder: (folder / "golden.npz").unlink(), "golden.npz: expected"),
    "stranger": (lambda folder: (folder / "more").touch(), "more: expected nothing, since it"),
    "record gone": (lambda folder: (folder / "model_version.json").unlink(), "expected the record"),
    "record of another": (
        lambda folder: (folder / "model_version.json").write_text("[]"),
        "model_version.json: expected the record of its installation, fo",
    ),
    "another's folder": (
        lambda folder: folder.rename(folder.with_name("1.1.1")),
        "policy.yaml: expected tiny 1.1.1, found tiny 1.1.0",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_found_and_not_put_into_use(
    root: Path, caplog: Caplog, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    damage, expected = DAMAGE[kind]
    damage(root / NAME / "1.1.0")
    version = "1.1.1" if kind == "another's folder" else "1.1.0"
    assert run("verify", "--root", root) == 1
    found = [line for line in capsys.readouterr().out.splitlines() if expected in line]
    assert len(found) == 1
    assert version in found[0]
    assert run("activate", NAME, version, "--root", root) == 4
    assert expected in said(caplog)
    assert in_use(root)[0] == "1.2.0"
    if version == "1.1.0":
        assert run("rollback", NAME, "--root", root) == 4
        assert in_use(root)[0] == "1.2.0"
    assert run("verify", NAME, "1.0.0", "--root", root) == 0


@pytest.mark.parametrize("target", ["9.9.9", "/opt/models/tiny/1.0.0", "../tiny/1.0.0", None])
def test_link_that_is_broken_is_found(
    root: Path, capsys: pytest.CaptureFixture[str], target: str | None
) -> None:
    link = root / NAME / "current"
    link.unlink()
    if target is None:
        link.mkdir()
    else:
        link.symlink_to(target)
    assert run("verify", "--root", root) == 1
    assert f"{link}: expected a link to one of the versions beside it" in capsys.readouterr().out
    assert run("list", "--root", root) == 0


def test_leftovers_are_named_and_pruned(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left = root / NAME / ".installing.01234567"
    left.mkdir()
    assert run("verify", "--root", root) == 0
    assert f"{left}: left by an installer that was killed" in capsys.readouterr().out
    assert run("prune", NAME, "--root", root) == 0
    assert left.is_dir()
    assert run("prune", NAME, "--root", root, "--force") == 0
    assert not left.exists()
    assert versions(root) == [*VERSIONS]


def test_prune_shows_first_and_keeps_the_way_back(
    root: Path, bundles: Bundles, capsys: pytest.CaptureFixture[str]
) -> None:
    for version in ("0.8.0", "0.9.0", "1.10.0", "1.9.0"):
        assert run("install", bundles(version), "--root", root) == 0
    before = versions(root)
    assert before == ["0.8.0", "0.9.0", "1.0.0", "1.1.0", "1.2.0", "1.9.0", "1.10.0"]
    run("activate", NAME, "1.9.0", "--root", root)  # back from it: 1.2.0, 1.1.0, 1.0.0
    assert run("prune", NAME, "--keep", 0, "--root", root) == 0
    assert versions(root) == before
    assert run("prune", NAME, "--keep", 0, "--force", "--root", root) == 0
    assert versions(root) == ["1.1.0", "1.2.0", "1.9.0"]
    assert in_use(root) == ("1.9.0", ["1.2.0", "1.1.0"])
    assert hidden_names(root) == []


def test_list_tells_all_there_is(
    root: Path, bundles: Bundles, capsys: pytest.CaptureFixture[str]
) -> None:
    other = bundles("0.1.0", ("name: tiny", "name: other"))
    assert run("install", other, "--root", root) == 0
    run("rollback", NAME, "--root", root)
    capsys.readouterr()
    assert run("list", "--root", root) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:4] for line in lines[1:]] == [
        ["other", "0.1.0", "-", "0.0"],
        [NAME, "1.0.0", "way", "back"],
        [NAME, "1.1.0", "in", "use"],
        [NAME, "1.2.0", "-", "0.0"],
    ]
    assert run("list", "--json", "--root", root) == 0
    found = json.loads(capsys.readouterr().out)["models"]
    assert [(one["name"], one["current"], one["way_back"]) for one in found] == [
        ("other", None, []),
        (NAME, "1.1.0", ["1.0.0"]),
    ]
    assert run("list", "--root", root / "none") == 0
    assert capsys.readouterr().out == f"{root / 'none'}: nothing is installed\n"


def test_verify_of_nothing_is_an_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert run("verify", "--root", tmp_path / "none") == 4
    assert f"{tmp_path / 'none'}: expected installed bundles, found that no bundle" in caplog.text


def test_root_comes_from_the_environment(
    tmp_path: Path, bundles: Bundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLICY_INFERENCE_MODELS", str(tmp_path / "models"))
    assert run("install", bundles()) == 0
    assert versions(tmp_path / "models") == ["1.0.0"]


@contextmanager
def paused_installer(at: int, *args: object) -> Iterator[int]:
    """Give the process id of a command that waits before its `at`-th change until the end."""
    reached, release = os.pipe(), os.pipe()

    def pause() -> None:
        os.write(reached[1], b"here")
        os.read(release[0], 1)

    def does() -> int:
        os.close(reached[0])
        os.close(release[1])  # so that the end of the test releases it, however that ends
        before_change(at, pause)
        return run(*args)

    pid = os.fork()
    if pid == 0:
        end_with(does)
    os.close(reached[1])
    os.close(release[0])
    try:
        assert os.read(reached[0], 4) == b"here"
        yield pid
    finally:
        os.close(release[1])
        os.close(reached[0])
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize("at", [5, 20])
def test_second_installer_is_refused_with_who_is_at_work(
    root: Path, bundles: Bundles, caplog: Caplog, at: int
) -> None:
    bundle = bundles("1.3.0")
    with paused_installer(at, "install", bundle, "--root", root) as pid:
        for args in (
            ["install", bundle],
            ["activate", NAME, "1.0.0"],
            ["rollback", NAME],
            ["prune", NAME, "--force"],
        ):
            assert run(*args, "--root", root) == 4
            assert f"expected that no other process changes it, found process {pid};" in said(
                caplog
            )
        assert run("verify", "--root", root) == 0
        assert "killed" not in caplog.text
    assert versions(root) == [*VERSIONS, "1.3.0"]
    assert run("install", bundle, "--root", root) == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with little room."""
    with small_disk(tmp_path / "disk", 64) as folder:
        yield folder


def test_full_disk_leaves_what_was_there(disk: Path, bundles: Bundles, caplog: Caplog) -> None:
    assert run("install", bundles("1.0.0"), "--activate", "--root", disk) == 0
    large = bundles("2.0.0")
    (large / "calibration.npz").write_bytes(bytes(100_000))
    before = tree(disk)
    assert run("install", large, "--root", disk) == 4
    assert f"{large}: expected a bundle for which there is room, 0.0 MB, found" in said(caplog)
    assert tree(disk) == before
    assert problems(disk) == []
    fill = disk / "fill"
    assert run("install", bundles("1.1.0"), "--root", disk) == 0
    fill_up(fill)
    assert run("activate", NAME, "1.1.0", "--root", disk) == 4
    assert f"{disk}: expected room to write, found: No space left" in said(caplog)
    assert in_use(disk) == ("1.0.0", [])
    fill.unlink()
    assert run("activate", NAME, "1.1.0", "--root", disk) == 0
    assert in_use(disk) == ("1.1.0", ["1.0.0"])


def test_full_disk_is_pruned(disk: Path, bundles: Bundles, caplog: Caplog) -> None:
    """The record of activations needs room to be written, which there is only afterwards."""
    for version in VERSIONS:
        assert run("install", bundles(version), "--activate", "--root", disk) == 0
    for _ in range(2):
        assert run("rollback", NAME, "--root", disk) == 0
    fill_up(disk / "fill")

    assert run("prune", NAME, "--keep", "0", "--force", "--root", disk) == 0

    assert not (disk / NAME / "1.2.0").exists()
    assert in_use(disk) == ("1.0.0", [])
    assert run("verify", "--root", disk) == 0


def test_full_disk_brings_back_the_version_in_use_before(disk: Path, bundles: Bundles) -> None:
    """The link is there in time; that the record is in order again waits for room."""
    for version in VERSIONS:
        assert run("install", bundles(version), "--activate", "--root", disk) == 0
    real = write_text

    def full_after_the_switch(file: Path, text: str) -> None:
        if in_use(disk)[0] == "1.0.0":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(file, text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model_tools.ship.store.activation.write_text", full_after_the_switch)
        assert run("activate", NAME, "1.0.0", "--root", disk) == 0
    assert in_use(disk) == ("1.0.0", ["1.2.0", "1.1.0"])
    assert problems(disk) == []


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize(
    "args",
    [
        ("install",),
        ("activate", NAME, "1.0.0"),
        ("rollback", NAME),
        ("prune", NAME, "--keep", "0", "--force"),
    ],
    ids=lambda a: a[0],
)
def test_root_of_another_user_is_one_clear_line(
    open_folder: Path, bundles: Bundles, args: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    if os.geteuid() != 0:
        pytest.skip("becomes another user, which only root may")
    root, source = open_folder / "models", open_folder / NAME
    for version in VERSIONS:
        assert run("install", bundles(version), "--activate", "--root", root) == 0
    if args == ("install",):
        bundles("2.0.0").rename(source).chmod(0o755)
        args = ("install", str(source))
    before = tree(root)

    def as_nobody() -> int:
        os.setuid(NOBODY)
        import logging

        logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
        return run(*args, "--root", root)

    capfd.readouterr()
    assert in_child(as_nobody) == 4
    err = capfd.readouterr().err
    assert "expected a place that this user can write, found: Permission denied; run it w" in err
    assert "sudo chown" in err
    assert len(err.splitlines()) == 1
    assert tree(root) == before


def test_what_is_in_use_is_verified_alone(root: Path) -> None:
    (root / NAME / "1.0.0" / "policy.yaml").write_text("another one", "utf-8")
    assert run("verify", NAME, "--root", root) == 1
    assert run("verify", NAME, "current", "--root", root) == 0
    (root / NAME / "current").unlink()
    assert run("verify", NAME, "current", "--root", root) == 4


def test_versions_are_ordered_as_semantic_versioning_says() -> None:
    parts = ("alpha", "alpha.1", "alpha.beta", "beta", "beta.2", "beta.11", "rc.9", "rc.10")
    long = ("1.10.9999999999999999999", "1.10.10000000000000000000")
    released = ("1.0.0", "1.0.1", "1.9.0", "1.10.0", *long, "10.0.0")
    ordered = [*(f"1.0.0-{part}" for part in parts), *released]
    for older, newer in itertools.combinations(ordered, 2):
        assert is_older(older, newer)
        assert not is_older(newer, older)
    assert not is_older("1.0.0+a", "1.0.0+b")
    assert is_older("1.0.00000000000000000000001", "1.0.2")
