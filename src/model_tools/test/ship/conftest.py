# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Bundles in several versions, keys, and a root in which three versions were in use in turn."""

import shutil
from pathlib import Path

import pytest

from testkit.store import MakeVersion, make_version, root, three, tool, usual_environment

from ..tiny_bundle import make_bundle

__all__ = ["make_version", "root", "three", "usual_environment"]
SET = "ways"
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


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose golden rows are those of its model."""
    return make_bundle(tmp_path_factory.mktemp("template"))


@pytest.fixture
def stated_set(make_version: MakeVersion, tmp_path: Path) -> Path:
    """A set whose members lie beside it; of one it states no hash, of the other a wrong one."""
    for name in ("one", "two"):
        shutil.copytree(make_version("1.0.0", ("name: tiny", f"name: {name}")), tmp_path / name)
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "set.yaml").write_text(STATED, "utf-8")
    return folder


@pytest.fixture
def gathered_set(stated_set: Path, tmp_path: Path) -> Path:
    """That set with its members in its folder."""
    assert tool("pin", stated_set, "--output", tmp_path / "out") == 0
    return tmp_path / "out"


def compile_oip(bundle: Path, output: Path, *options: str, precision: str = "fp32") -> None:
    """Compile a bundle for a server of the Open Inference Protocol."""
    given = ("--bundle", bundle, "--precision", precision, "--output", output)
    assert tool("compile", "oip", *given, *options) == 0
