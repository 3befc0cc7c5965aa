# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Policy sets are installed with their members as one version, like any bundle."""

import logging
import shutil
import tarfile
from pathlib import Path

import pytest

from model_tools import cli
from policy_core.bundle.load import PUBLIC_KEY_VARIABLE, bundle_folder, load_bundle
from policy_core.bundle.set_bundle import SetBundle
from policy_core.bundle.store import ROOT_VARIABLE
from policy_core.bundle.verified import sha256_file
from policy_core.errors import BundleError
from testkit.edits import reword
from testkit.store import make_keys, tool, tool_refused
from testkit.wording import check_wording, refusal

from .conftest import SET, STATED


def newer_set(folder: Path, version: str) -> Path:
    made = shutil.copytree(folder, folder.with_name(f"out-{version}"))
    reword(made / "set.yaml", ('"1.0.0"', f'"{version}"'))
    return made


def test_pin_gathers_a_set_and_leaves_where_it_came_from(
    stated_set: Path, gathered_set: Path
) -> None:
    found = sorted(str(file.relative_to(gathered_set)) for file in gathered_set.rglob("*.*"))
    files = ["golden.npz", "policy.onnx", "policy.yaml"]
    assert found == [f"{name}/{file}" for name in ("first", "second") for file in files] + [
        "set.yaml"
    ]
    assert (stated_set / "set.yaml").read_text("utf-8") == STATED
    again = tool("pin", stated_set, "--output", gathered_set)
    assert again != 0


def test_set_is_installed_from_an_archive_found_by_its_name_and_rolled_back(
    gathered_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, archive = tmp_path / "models", tmp_path / "ways.tar.gz"
    with tarfile.open(archive, "w:gz") as made:
        made.add(gathered_set, "ways")
    assert tool("install", archive, "--activate", "--root", root) == 0
    assert tool("install", newer_set(gathered_set, "1.1.0"), "--activate", "--root", root) == 0
    assert tool("verify", "--root", root) == 0
    monkeypatch.setenv(ROOT_VARIABLE, str(root))
    loaded = load_bundle(SET, kind=SetBundle)
    assert (loaded.path, loaded.contract.version) == (root / SET / "1.1.0", "1.1.0")
    assert [member.path.parent for member in loaded.members.values()] == [loaded.path] * 2
    assert tool("rollback", SET, "--root", root) == 0
    assert load_bundle(SET, kind=SetBundle).contract.version == "1.0.0"
    assert bundle_folder(f"{SET}@1.1.0") == root / SET / "1.1.0"
    with refusal(BundleError):
        load_bundle(SET)


def test_set_whose_members_lie_elsewhere_is_refused_with_the_way_to_gather_it(
    stated_set: Path, tmp_path: Path
) -> None:
    assert tool("pin", stated_set) == 0
    tool_refused("install", stated_set, "--root", tmp_path / "models")
    assert not list((tmp_path / "models").glob("*/*/set.yaml"))


@pytest.mark.parametrize("file", ["first/policy.yaml", "second/policy.onnx"])
def test_file_of_a_member_that_was_changed_is_refused_and_found(
    gathered_set: Path, tmp_path: Path, file: str
) -> None:
    root = tmp_path / "models"
    assert tool("install", gathered_set, "--activate", "--root", root) == 0
    for folder in (newer_set(gathered_set, "1.1.0"), root / SET / "1.0.0"):
        (folder / file).write_bytes((folder / file).read_bytes() + b" ")
    tool_refused("install", tmp_path / "out-1.1.0", "--root", root)
    assert tool("verify", SET, "--root", root) == 1
    assert tool("activate", SET, "1.0.0", "--root", root) == 4


def test_signature_of_a_set_covers_its_members_and_nothing_else(
    gathered_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = make_keys(tmp_path)
    root = tmp_path / "models"
    monkeypatch.setenv(PUBLIC_KEY_VARIABLE, str(public))
    tool_refused("install", gathered_set, "--root", root)
    assert tool("sign", gathered_set, "--key", private) == 0
    (gathered_set / "second" / "notes.txt").write_text("private", "utf-8")
    assert tool("install", gathered_set, "--activate", "--root", root) == 0
    assert not (root / SET / "1.0.0/second/notes.txt").exists()
    assert (root / SET / "1.0.0/second/policy.onnx").is_file()
    assert tool("verify", SET, "current", "--root", root) == 0


@pytest.fixture(autouse=True)
def all_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_pin_writes_the_hashes_of_the_members_once(
    stated_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BundleError, match="sha256"):
        load_bundle(stated_set, kind=SetBundle)
    assert cli.main(["pin", str(stated_set)]) == 0
    loaded = load_bundle(stated_set, kind=SetBundle)
    assert {name: member.sha256 for name, member in loaded.members.items()} == {
        "first": sha256_file(stated_set.parent / "one" / "policy.yaml"),
        "second": sha256_file(stated_set.parent / "two" / "policy.yaml"),
    }
    before = (stated_set / "set.yaml").read_bytes()
    assert b"# The one" in before
    assert capsys.readouterr().out.count("(new)") == 2
    assert cli.main(["pin", str(stated_set)]) == 0
    assert (stated_set / "set.yaml").read_bytes() == before
    assert "(new)" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  first:\n    bundle: ../one\n", "  first: {bundle: ../one}\n"),
        ("../one", "../three"),
        (STATED[STATED.index("members:") : STATED.index("initial")], ""),
        ("to: {begin: {}}, way_back: begin", "to: {begin: {}}"),
    ],
)
def test_a_set_that_cannot_be_pinned_is_refused(
    stated_set: Path, old: str, new: str, caplog: pytest.LogCaptureFixture
) -> None:
    text = STATED.replace(old, new)
    assert text != STATED
    (stated_set / "set.yaml").write_text(text, "utf-8")
    assert cli.main(["pin", str(stated_set)]) == 4
    check_wording(caplog.messages[-1])


def test_inspect_shows_members_and_states(
    stated_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["pin", str(stated_set)])
    capsys.readouterr()
    assert cli.main(["inspect", str(stated_set)]) == 0
    shown = capsys.readouterr().out
    for word in ("first", "second", "begin", "other", "stand up", "way back", "fallback"):
        assert word in shown
