# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Bundles in several versions, keys, and a root in which three versions were in use in turn."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ..tiny_bundle import make_bundle
from .stores import NAME, tool

MakeVersion = Callable[..., Path]
SET = "ways"
STATED = """\
schema_version: 1
kind: set
name: ways
version: "1.0.0"
members:
  first:
    bundle: ../one
  second:
    bundle: ../two
initial: begin
states:
  begin: {members: [first], stand: true, to: {other: {}}}
  other: {members: [second], to: {begin: {}}, way_back: begin, fallback: begin}
"""
VERSIONS = ("1.0.0", "1.1.0", "1.2.0")


@pytest.fixture(autouse=True)
def usual_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a root nor keys of the machine that runs the tests."""
    for variable in (
        "POLICY_INFERENCE_MODELS",
        "POLICY_INFERENCE_PUBLIC_KEY",
        "POLICY_INFERENCE_KEY_PASSWORD",
    ):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(scope="session")
def make_version(tmp_path_factory: pytest.TempPathFactory) -> MakeVersion:
    """Return what makes a bundle of a version, with more changes to its contract if wanted."""
    template = make_bundle(tmp_path_factory.mktemp("template"))

    def make(version: str = "1.0.0", *changes: tuple[str, str]) -> Path:
        folder = shutil.copytree(template, tmp_path_factory.mktemp("bundle") / NAME)
        file = folder / "policy.yaml"
        text = file.read_text("utf-8")
        for old, new in (('version: "1.0.0"', f'version: "{version}"'), *changes):
            assert old in text
            text = text.replace(old, new)
        file.write_text(text, "utf-8")
        return folder

    return make


@pytest.fixture(scope="session")
def three(make_version: MakeVersion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with three versions that were activated in their order; to be copied."""
    root = tmp_path_factory.mktemp("three") / "models"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("POLICY_INFERENCE_PUBLIC_KEY", raising=False)
        for version in VERSIONS:
            assert tool("install", make_version(version), "--activate", "--root", root) == 0
    return root


@pytest.fixture
def root(three: Path, tmp_path: Path) -> Path:
    """That root, the test's own."""
    return shutil.copytree(three, tmp_path / "models", symlinks=True)


@pytest.fixture
def stated_set(make_version: MakeVersion, tmp_path: Path) -> Path:
    """A set whose members lie beside it."""
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
