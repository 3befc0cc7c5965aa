# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Bundles by path, and by name where they are installed."""

from pathlib import Path

import pytest

from policy_inference.bundle.installed import bundle_folder
from policy_inference.errors import PolicyError


def install(prefix: Path, *names: str) -> Path:
    bundles = prefix / "share" / "policy_inference" / "config" / "bundles"
    for name in names:
        (bundles / name).mkdir(parents=True)
    return bundles


@pytest.fixture(autouse=True)
def _two_workspaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Source a workspace over another; the present folder is empty."""
    install(tmp_path / "over", "walk", "run")
    install(tmp_path / "under", "walk", "jump")
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{tmp_path / 'over'}:{tmp_path / 'under'}:/nowhere")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def test_the_workspace_that_was_sourced_last_comes_first(tmp_path: Path) -> None:
    assert bundle_folder("walk").is_relative_to(tmp_path / "over")


def test_a_folder_comes_before_an_installed_bundle() -> None:
    Path("walk").mkdir()

    assert bundle_folder("walk") == Path("walk")


def test_a_path_is_taken_as_it_is_whether_it_is_there_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    assert bundle_folder("~/mine/walk") == tmp_path / "mine" / "walk"


def test_a_name_that_is_nowhere_is_told_with_those_that_are() -> None:
    with pytest.raises(PolicyError, match=r"installed bundles \(run, walk\), found 'fly'"):
        bundle_folder("fly")


def test_without_a_workspace_it_is_said_to_source_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AMENT_PREFIX_PATH")

    with pytest.raises(PolicyError, match="none; source the workspace"):
        bundle_folder("walk")
