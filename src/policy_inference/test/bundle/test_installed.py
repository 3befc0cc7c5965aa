# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Bundles by name."""

from pathlib import Path

import pytest

from policy_inference.bundle.installed import bundle_folder
from policy_inference.errors import PolicyError

SHARE = Path("share/policy_inference/config/bundles")


@pytest.fixture(autouse=True)
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed workspace with two bundles, and a current folder that has one."""
    prefix = tmp_path / "install"
    for name in ("walk", "run"):
        (prefix / SHARE / name).mkdir(parents=True)
    (prefix / SHARE / "policy.schema.json").touch()
    (tmp_path / "here/mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{tmp_path / 'other'}:{prefix}")
    return prefix


def test_name_of_an_installed_bundle_is_its_folder(prefix: Path) -> None:
    assert bundle_folder("walk") == prefix / SHARE / "walk"


def test_folder_that_is_there_comes_before_an_installed_one() -> None:
    assert bundle_folder("mine") == Path("mine")


def test_path_stays_a_path_even_if_nothing_is_there() -> None:
    assert bundle_folder("some/walk") == Path("some/walk")


@pytest.mark.parametrize("name", ["crawl", "policy.schema.json"])
def test_other_names_are_refused_with_those_that_there_are(name: str) -> None:
    with pytest.raises(PolicyError, match=rf"\(run, walk\), found '{name}'"):
        bundle_folder(name)


def test_shell_without_workspace_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AMENT_PREFIX_PATH")

    with pytest.raises(PolicyError, match="source the workspace"):
        bundle_folder("walk")
