# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Versions side by side: installed whole, chosen, left again, removed."""

import io
import itertools
import json
import logging
import os
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import PUBLIC_KEY_VARIABLE, load_bundle
from policy_core.bundle.store import read_record
from policy_core.bundle.verified import sha256_file
from policy_store.activation import is_older, recorded_in
from policy_store.durable import locked
from policy_store.inventory import verify
from testkit.disks import fill_up, small_disk
from testkit.store import (
    NAME,
    NOBODY,
    VERSIONS,
    MakeVersion,
    hidden_names,
    in_child,
    in_use,
    make_keys,
    sign,
    tool,
    tool_refused,
    verify_problems,
    versions,
)
from testkit.wording import check_wording

pytestmark = pytest.mark.forks


def tree(folder: Path) -> dict[str, object]:
    """Return all below a folder: contents of files, targets of links."""
    return {
        str(path.relative_to(folder)): str(path.readlink())
        if path.is_symlink()
        else path.is_file() and path.read_bytes()
        for path in folder.rglob("*")
    }


def pack(bundle: Path, file: Path, top: str = NAME) -> Path:
    with tarfile.open(file, "w:gz") as tar:
        tar.add(bundle, top)
    return file


def test_another_bundle_than_expected_is_not_installed(
    tmp_path: Path, make_version: MakeVersion
) -> None:
    root, bundle = tmp_path / "models", make_version("1.1.0")
    for expected in (f"{NAME}@1.0.0", "another@1.1.0"):
        tool_refused("install", bundle, "--expect", expected, "--root", root)
    assert not root.exists()
    assert tool("install", bundle, "--expect", f"{NAME}@1.1.0", "--root", root) == 0
    assert versions(root) == ["1.1.0"]


def test_record_says_what_was_installed(tmp_path: Path, make_version: MakeVersion) -> None:
    bundle = make_version(
        "2.0.0",
        ("source: a test", 'source: a test, date: "2026-03-01T12:30:00+02:00"'),
        (
            "precision: fp32}",
            "precision: fp32, calibration: {source: walk.npz, sha256: " + "a" * 64 + ", rows: 9}}",
        ),
    )
    assert tool("install", bundle, "--root", tmp_path) == 0
    record = json.loads((tmp_path / NAME / "2.0.0/model_version.json").read_text())
    model, contract = sha256_file(bundle / "policy.onnx"), sha256_file(bundle / "policy.yaml")
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
    }
    assert record["tool"].startswith("policy_store ")


def test_time_of_export_is_not_guessed(tmp_path: Path, make_version: MakeVersion) -> None:
    assert tool("install", make_version(), "--root", tmp_path) == 0
    assert read_record(tmp_path / NAME / "1.0.0")["export_time"] is None


def test_another_user_can_read_whatever_the_umask(
    make_version: MakeVersion, open_folder: Path
) -> None:
    """The node's user is another than the one who installs."""
    root, bundle = open_folder / "models", make_version("1.0.0")
    (bundle / "policy.onnx").chmod(0o600)
    before = os.umask(0o077)
    try:
        assert tool("install", bundle, "--root", root, "--activate") == 0
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
def test_archive_is_as_good_as_its_folder(
    tmp_path: Path, make_version: MakeVersion, top: str
) -> None:
    source = pack(make_version(), tmp_path / "bundle.tar.gz", top)
    assert tool("install", source, "--root", tmp_path / "models", "--activate") == 0
    assert in_use(tmp_path / "models") == ("1.0.0", [])
    assert verify_problems(tmp_path / "models") == []


def test_archive_needs_no_entries_of_its_folders(tmp_path: Path, make_version: MakeVersion) -> None:
    bundle, archive = make_version(), tmp_path / "bundle.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for file in sorted(bundle.rglob("*")):
            if file.is_file():
                tar.add(file, NAME / file.relative_to(bundle))
    assert tool("install", archive, "--root", tmp_path / "models") == 0
    assert versions(tmp_path / "models") == ["1.0.0"]


def evil_member(
    name: str, kind: bytes = tarfile.REGTYPE, target: str = ""
) -> Callable[[Path], Path]:
    def add(file: Path) -> Path:
        with tarfile.open(file, "w:gz") as tar:
            tar.add(file.parent / "bundle", NAME)
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, target, 4 if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(b"evil"))
        return file

    return add


def cut_archive(file: Path) -> Path:
    pack(file.parent / "bundle", file)
    file.write_bytes(file.read_bytes()[:-200])
    return file


def no_archive(file: Path) -> Path:
    file.write_text("no archive")
    return file


EVIL = {
    "leaves upwards": evil_member("tiny/../../../evil"),
    "leaves from the top": evil_member("/tmp/evil"),
    "symbolic link": evil_member("tiny/link", tarfile.SYMTYPE, "/etc"),
    "hard link": evil_member("tiny/link", tarfile.LNKTYPE, "tiny/policy.yaml"),
    "device": evil_member("tiny/device", tarfile.CHRTYPE),
    "pipe": evil_member("tiny/pipe", tarfile.FIFOTYPE),
    "twice": evil_member("tiny/./policy.onnx"),
    "stray": evil_member("else/policy.bin"),
    "cut off": cut_archive,
    "text": no_archive,
}


@pytest.mark.parametrize("kind", EVIL)
def test_archive_that_cannot_be_trusted_is_refused_and_writes_nothing(
    tmp_path: Path, make_version: MakeVersion, kind: str
) -> None:
    make_version().rename(tmp_path / "bundle")
    file = EVIL[kind](tmp_path / "b.tar.gz")
    before = tree(tmp_path)
    tool_refused("install", file, "--root", tmp_path / "models")
    assert versions(tmp_path / "models") == []
    made = {"models", f"models/{NAME}"}
    assert {name: value for name, value in tree(tmp_path).items() if name not in made} == before
    assert not Path("/tmp/evil").exists()


SPOILED: dict[str, Callable[[Path], object]] = {
    "hash": lambda bundle: (bundle / "golden.npz").write_bytes(b"else"),
    "no model": lambda bundle: (bundle / "policy.onnx").unlink(),
    "no contract": lambda bundle: (bundle / "policy.yaml").unlink(),
    "half a contract": lambda bundle: (bundle / "policy.yaml").write_text("name: tiny"),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_bundle_that_is_not_whole_is_refused_under_its_own_path(
    root: Path, make_version: MakeVersion, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    bundle, before = make_version("3.0.0"), tree(root)
    SPOILED[kind](bundle)
    tool_refused("install", bundle, "--root", root)
    assert str(bundle) in caplog.messages[-1]
    assert ".installing" not in caplog.messages[-1]
    assert tree(root) == before


ESTIMATION = """estimation:
  error_mps: 0.05
  legs:
    - name: leg
      chain: [{joint: hip, position_m: [0, 0, 0]}, {joint: knee, position_m: [0, 0, -0.2]}]
      points: [{position_m: [0, 0, -0.2]}]
"""


FAILED: list[dict[str, object]] = [
    {"survived_error_mps": survived, "levels": [{"error_mps": 0.05, "holds": False}]}
    for survived in (0.0, None)
]
"""Reports of walks with the error of the contract, which the policy did not survive."""


@pytest.mark.parametrize(
    ("survived", "is_refused"),
    [
        ({"survived_error_mps": 0.05}, False),
        ({"survived_error_mps": 0.04}, True),
        *((failed, True) for failed in FAILED),
        ({"survived_error_mps": None}, True),
        ({"survived_error_mps": "much"}, True),
        ({"survived_error_mps": 1.0, "model_sha256": "0" * 64}, True),
        ({}, True),
        (None, False),
    ],
)
def test_policy_that_does_not_survive_the_stated_error_of_its_estimator_is_refused(
    tmp_path: Path,
    make_version: MakeVersion,
    caplog: pytest.LogCaptureFixture,
    survived: dict[str, object] | None,
    is_refused: bool,
) -> None:
    """The remedy is to measure only if that was not just done."""
    bundle = make_version(
        "1.0.0",
        ("{term: joint_pos}, {term: joint_vel}", "{term: base_lin_vel, source: estimator}"),
        ("{term: last_action}", "{term: last_action}, {term: phase, period_s: 1, parts: [sin]}"),
        ("\nmodel:", f"\n{ESTIMATION}model:"),
    )
    if survived is not None:
        report = bundle / "reports" / "sensitivity_onnx.json"
        report.parent.mkdir()
        model = sha256_file(bundle / "policy.onnx")
        report.write_text(json.dumps({"model_sha256": model, **survived}), "utf-8")
        entry = f"{{file: reports/{report.name}, sha256: {sha256_file(report)}}}"
        with (bundle / "policy.yaml").open("a") as file:
            file.write(f"reports: {{sensitivity_onnx: {entry}}}\n")
    root = tmp_path / "models"
    if is_refused:
        tool_refused("install", bundle, "--root", root)
        assert versions(root) == []
        assert ("--record --force" in caplog.messages[-1]) is (survived not in FAILED)
    else:
        assert tool("install", bundle, "--root", root) == 0


def test_same_content_again_is_no_error_and_other_content_is(
    root: Path, make_version: MakeVersion
) -> None:
    before = tree(root)
    assert tool("install", make_version("1.1.0"), "--root", root) == 0
    other = make_version("1.1.0", ("source: a test", "source: mine"))
    tool_refused("install", other, "--root", root)
    assert tree(root) == before


def test_way_back_goes_one_further_each_time_and_ends(
    root: Path, make_version: MakeVersion
) -> None:
    assert in_use(root) == ("1.2.0", ["1.1.0", "1.0.0"])
    assert tool("rollback", NAME, "--root", root) == 0
    assert in_use(root) == ("1.1.0", ["1.0.0"])
    assert tool("rollback", NAME, "--root", root) == 0
    assert in_use(root) == ("1.0.0", [])
    tool_refused("rollback", NAME, "--root", root)
    assert tool("install", make_version("1.3.0"), "--activate", "--root", root) == 0
    assert in_use(root) == ("1.3.0", ["1.0.0"])


def test_version_that_was_linked_by_hand_counts(root: Path, make_version: MakeVersion) -> None:
    tool("install", make_version("1.3.0"), "--root", root)
    link = root / NAME / "current"
    link.unlink()
    link.symlink_to("1.3.0")
    assert in_use(root) == ("1.3.0", ["1.2.0", "1.1.0", "1.0.0"])
    tool("activate", NAME, "1.0.0", "--root", root)
    assert in_use(root) == ("1.0.0", ["1.3.0", "1.2.0", "1.1.0"])


@pytest.mark.parametrize(
    "words",
    [
        "activate runner 1.0.0",
        f"activate {NAME} 9.9.9",
        f"activate {NAME} ../tiny/1.0.0",
        "rollback ../models/tiny",
        f"prune {NAME} --keep -1",
        f"verify {NAME}@1.0.0 2.0.0",
        f"activate {NAME}",
    ],
)
def test_what_is_not_there_is_named(root: Path, words: str) -> None:
    tool_refused(*words.split(), "--root", root)


def test_verify_says_what_is_whole_and_leaves_out_files_of_other_programs(
    root: Path, make_version: MakeVersion, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = make_version("1.3.0")
    (bundle / "reports").mkdir()
    (bundle / "reports/walk.csv").touch()
    assert tool("install", bundle, "--root", root) == 0
    (root / "old/layout").mkdir(parents=True)
    (root / NAME / "notes").mkdir()
    capsys.readouterr()
    assert tool("verify", "--root", root) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{root / NAME / one}: whole" for one in (*VERSIONS, "1.3.0")]


def alter(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes() + b"\n")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "model": alter("policy.onnx"),
    "contract": alter("policy.yaml"),
    "golden rows gone": lambda folder: (folder / "golden.npz").unlink(),
    "record gone": lambda folder: (folder / "model_version.json").unlink(),
    "record of another": lambda folder: (folder / "model_version.json").write_text("[]"),
    "another's folder": lambda folder: folder.rename(folder.with_name("1.1.1")),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_found_and_not_put_into_use(root: Path, kind: str) -> None:
    DAMAGE[kind](root / NAME / "1.1.0")
    version = "1.1.1" if kind == "another's folder" else "1.1.0"
    assert tool("verify", "--root", root) == 1
    found = {one.version: one.problem for one in verify(root) if one.version and one.problem}
    assert found.keys() == {version}
    check_wording(found[version])
    tool_refused("activate", NAME, version, "--root", root)
    assert in_use(root)[0] == "1.2.0"
    if version == "1.1.0":
        assert tool("rollback", NAME, "--root", root) == 4
        assert in_use(root)[0] == "1.2.0"
    assert tool("verify", NAME, "1.0.0", "--root", root) == 0
    assert tool("verify", NAME, "current", "--root", root) == 0


@pytest.mark.parametrize("target", ["9.9.9", "/opt/models/tiny/1.0.0", "../tiny/1.0.0", None])
def test_link_that_is_broken_is_found(root: Path, target: str | None) -> None:
    link = root / NAME / "current"
    link.unlink()
    if target is None:
        link.mkdir()
    else:
        link.symlink_to(target)
    assert tool("verify", "--root", root) == 1
    check_wording(*verify_problems(root))
    assert tool("verify", NAME, "current", "--root", root) != 0
    assert tool("list", "--root", root) == 0


def test_leftovers_are_named_and_pruned(root: Path) -> None:
    left = root / NAME / ".installing.01234567"
    left.mkdir()
    assert tool("verify", "--root", root) == 0
    check_wording(*(note for one in verify(root) for note in one.notes))
    assert tool("prune", NAME, "--root", root) == 0
    assert left.is_dir()
    assert tool("prune", NAME, "--root", root, "--force") == 0
    assert not left.exists()
    assert versions(root) == [*VERSIONS]


def test_prune_shows_first_and_keeps_the_way_back(root: Path, make_version: MakeVersion) -> None:
    for version in ("0.8.0", "0.9.0", "1.10.0", "1.9.0"):
        assert tool("install", make_version(version), "--root", root) == 0
    before = versions(root)
    assert before == ["0.8.0", "0.9.0", "1.0.0", "1.1.0", "1.2.0", "1.9.0", "1.10.0"]
    tool("activate", NAME, "1.9.0", "--root", root)  # back from it: 1.2.0, 1.1.0, 1.0.0
    assert tool("prune", NAME, "--keep", 0, "--root", root) == 0
    assert versions(root) == before
    assert tool("prune", NAME, "--keep", 0, "--force", "--root", root) == 0
    assert versions(root) == ["1.1.0", "1.2.0", "1.9.0"]
    assert in_use(root) == ("1.9.0", ["1.2.0", "1.1.0"])
    assert recorded_in(root / NAME) == ["1.1.0", "1.2.0", "1.9.0"]
    assert hidden_names(root) == []


def test_list_shows_every_version_and_its_use(
    root: Path, make_version: MakeVersion, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_version("0.1.0", ("name: tiny", "name: other"))
    assert tool("install", other, "--root", root) == 0
    assert tool("rollback", NAME, "--root", root) == 0
    capsys.readouterr()
    assert tool("list", "--root", root) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:4] for line in lines[1:]] == [
        ["other", "0.1.0", "-", "0.0"],
        [NAME, "1.0.0", "rollback", "target"],
        [NAME, "1.1.0", "in", "use"],
        [NAME, "1.2.0", "-", "0.0"],
    ]
    assert tool("list", "--json", "--root", root) == 0
    found = json.loads(capsys.readouterr().out)["models"]
    assert [(one["name"], one["current"], one["way_back"]) for one in found] == [
        ("other", None, []),
        (NAME, "1.1.0", ["1.0.0"]),
    ]
    assert tool("list", "--root", root / "none") == 0
    check_wording(capsys.readouterr().out)


def test_list_shows_whose_signature_was_checked(
    tmp_path: Path,
    make_version: MakeVersion,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (private, public), root = make_keys(tmp_path), tmp_path / "models"
    assert tool("install", make_version("1.0.0"), "--root", root) == 0
    for version in ("1.1.0", "1.2.0"):
        bundle = make_version(version)
        sign(bundle / "policy.yaml", private)
        assert tool("install", bundle, "--root", root) == 0
        monkeypatch.setenv(PUBLIC_KEY_VARIABLE, str(public))
    record = read_record(root / NAME / "1.2.0")
    capsys.readouterr()
    assert tool("list", "--root", root) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:3] for line in lines[1:]] == [
        [NAME, "1.0.0", "-"],
        [NAME, "1.1.0", "not"],
        [NAME, "1.2.0", record["signed_by"][:12]],
    ]
    assert lines[-1][-1] == record["installed_time"]


def test_version_that_is_signed_again_replaces_the_one_with_the_former_signature(
    tmp_path: Path, make_version: MakeVersion, capsys: pytest.CaptureFixture[str]
) -> None:
    (private, public), root, bundle = (
        make_keys(tmp_path),
        tmp_path / "models",
        make_version("1.0.0"),
    )
    assert tool("install", bundle, "--root", root, "--activate") == 0
    sign(bundle / "policy.yaml", private)
    asked = ("install", bundle, "--root", root, "--public-key", public, "--json")
    capsys.readouterr()
    for replaces in (True, False):
        assert tool(*asked) == 0
        made = json.loads(capsys.readouterr().out)
        assert (made["is_new"], made["was_damaged"]) == (replaces, False)
        assert (made["replaced"] is not None) == replaces
        assert made["current"] == "1.0.0"
    (former,) = (root / NAME).glob(".*.replaced*")
    assert not (former / "policy.yaml.sig").exists()
    assert tool("verify", NAME, "current", "--root", root, "--public-key", public) == 0


@pytest.mark.parametrize(("version", "warns"), [("1.1.5", True), ("1.2.1", False)])
def test_installing_or_activating_a_version_older_than_the_one_in_use_warns(
    root: Path,
    make_version: MakeVersion,
    caplog: pytest.LogCaptureFixture,
    version: str,
    warns: bool,
) -> None:
    for words in (("install", make_version(version)), ("activate", NAME, version)):
        caplog.clear()
        assert tool(*words, "--root", root) == 0
        assert len(caplog.messages) == warns
        if warns:
            check_wording(caplog.messages[0])


def test_second_installer_is_refused(root: Path, make_version: MakeVersion) -> None:
    (root / NAME / ".installing.01234567").mkdir()
    with locked(root / NAME):
        for args in (
            ["install", make_version("1.3.0")],
            ["activate", NAME, "1.0.0"],
            ["rollback", NAME],
            ["prune", NAME, "--force"],
        ):
            tool_refused(*args, "--root", root)
        assert not [note for one in verify(root) for note in (one.problem, *one.notes) if note]
    assert versions(root) == [*VERSIONS]


@pytest.fixture
def store_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with little room."""
    with small_disk(tmp_path / "disk", 64) as folder:
        yield folder


def test_full_disk_leaves_what_was_there(store_disk: Path, make_version: MakeVersion) -> None:
    disk = store_disk
    assert tool("install", make_version("1.0.0"), "--activate", "--root", disk) == 0
    large = make_version("2.0.0")
    (large / "policy.onnx").write_bytes(bytes(100_000))
    before = tree(disk)
    tool_refused("install", large, "--root", disk)
    assert tree(disk) == before
    assert verify_problems(disk) == []
    assert tool("install", make_version("1.1.0"), "--root", disk) == 0
    fill_up(disk / "fill")
    tool_refused("activate", NAME, "1.1.0", "--root", disk)
    assert in_use(disk) == ("1.0.0", [])
    (disk / "fill").unlink()
    assert tool("activate", NAME, "1.1.0", "--root", disk) == 0
    assert in_use(disk) == ("1.1.0", ["1.0.0"])


def test_full_disk_is_pruned(store_disk: Path, make_version: MakeVersion) -> None:
    """The record of activations needs room to be written, which there is only afterwards."""
    disk = store_disk
    for version in VERSIONS:
        assert tool("install", make_version(version), "--activate", "--root", disk) == 0
    for _ in range(2):
        assert tool("rollback", NAME, "--root", disk) == 0
    fill_up(disk / "fill")

    assert tool("prune", NAME, "--keep", "0", "--force", "--root", disk) == 0

    assert not (disk / NAME / "1.2.0").exists()
    assert in_use(disk) == ("1.0.0", [])
    assert tool("verify", "--root", disk) == 0


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_root_of_another_user_is_one_clear_line(
    open_folder: Path, make_version: MakeVersion, capfd: pytest.CaptureFixture[str]
) -> None:
    if os.geteuid() != 0:
        pytest.skip("becomes another user, which only root may")
    root = open_folder / "models"
    for version in VERSIONS:
        assert tool("install", make_version(version), "--activate", "--root", root) == 0
    before = tree(root)

    def as_nobody() -> int:
        os.setuid(NOBODY)
        logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
        return tool("rollback", NAME, "--root", root)

    capfd.readouterr()
    assert in_child(as_nobody) == 4
    (line,) = capfd.readouterr().err.splitlines()
    check_wording(line)
    assert tree(root) == before


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
