# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Commands about a policy set: `pin` and `inspect`."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from model_tools import cli
from policy_core.bundle.load import load_bundle
from policy_core.bundle.set_bundle import SetBundle
from policy_core.bundle.verified import sha256_of
from policy_core.errors import BundleError
from testkit.wording import check_wording

from ..tiny_bundle import make_bundle

STATED = """\
schema_version: 1
kind: set
name: ways
version: "1.0.0"
members:
  # The one that is used most.
  first:
    bundle: ../one
  second:
    bundle: ../two
    sha256: 0000000000000000000000000000000000000000000000000000000000000000
initial: begin
states:
  begin: {members: [first], stand: true, to: {other: {}}}
  other: {members: [second], to: {begin: {}}, way_back: begin, fallback: begin}
"""


@pytest.fixture(autouse=True)
def all_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


@pytest.fixture
def set_folder(tmp_path: Path) -> Path:
    """A set that states no hash of one member, and a wrong one of the other."""
    for name in ("one", "two"):
        make_bundle(tmp_path / name)
    made = tmp_path / "set"
    made.mkdir()
    (made / "set.yaml").write_text(STATED, "utf-8")
    return made


def test_pin_writes_the_hashes_of_the_members_once(
    set_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BundleError, match="sha256"):
        load_bundle(set_folder, kind=SetBundle)
    assert cli.main(["pin", str(set_folder)]) == 0
    loaded = load_bundle(set_folder, kind=SetBundle)
    assert {name: member.sha256 for name, member in loaded.members.items()} == {
        "first": sha256_of(set_folder.parent / "one" / "policy.yaml"),
        "second": sha256_of(set_folder.parent / "two" / "policy.yaml"),
    }
    before = (set_folder / "set.yaml").read_bytes()
    assert b"# The one" in before
    assert capsys.readouterr().out.count("(new)") == 2
    assert cli.main(["pin", str(set_folder)]) == 0
    assert (set_folder / "set.yaml").read_bytes() == before
    assert "(new)" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  first:\n    bundle: ../one\n", "  first: {bundle: ../one}\n"),
        ("../one", "../three"),
        ("    bundle: ../one\n", "    starts: clean\n"),
        (STATED[STATED.index("members:") : STATED.index("initial")], ""),
        ("to: {begin: {}}, way_back: begin", "to: {begin: {}}"),
    ],
)
def test_a_set_that_cannot_be_pinned_is_refused(
    set_folder: Path, old: str, new: str, caplog: pytest.LogCaptureFixture
) -> None:
    text = STATED.replace(old, new)
    assert text != STATED
    (set_folder / "set.yaml").write_text(text, "utf-8")
    assert cli.main(["pin", str(set_folder)]) == 4
    check_wording(caplog.messages[-1])


def test_inspect_shows_members_and_states(
    set_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["pin", str(set_folder)])
    capsys.readouterr()
    assert cli.main(["inspect", str(set_folder)]) == 0
    shown = capsys.readouterr().out
    for word in ("first", "second", "begin", "other", "stand up", "way back", "fallback"):
        assert word in shown
