# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Bundles by name: installed versions, and those that come with the package."""

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
    monkeypatch.setenv("POLICY_INFERENCE_MODELS", str(tmp_path / "models"))
    return prefix


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Folder of the bundle `walk` with two installed versions, of which one is in use."""
    model = tmp_path / "models/walk"
    for version in ("1.9.0", "1.10.0"):
        (model / version).mkdir(parents=True)
    (model / "current").symlink_to("1.9.0")
    return model


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
    monkeypatch.delenv("POLICY_INFERENCE_MODELS")

    with pytest.raises(PolicyError, match="source the workspace"):
        bundle_folder("walk")


def test_version_in_use_comes_before_what_the_package_brings(model: Path) -> None:
    folder = bundle_folder("walk")
    assert folder == model / "1.9.0"
    (model / "current").unlink()
    (model / "current").symlink_to("1.10.0")
    assert folder.is_dir()
    assert folder.name == "1.9.0"  # what a node has opened stays that
    assert bundle_folder("walk") == model / "1.10.0"


def test_version_can_be_named(model: Path) -> None:
    assert bundle_folder("walk@1.10.0") == model / "1.10.0"


@pytest.mark.parametrize("version", ["2.0.0", "..", "current", "../walk"])
def test_version_that_is_not_installed_is_refused_with_those_that_are(
    model: Path, version: str
) -> None:
    if "/" in version:
        assert bundle_folder(f"walk@{version}") == Path(f"walk@{version}")
        return
    with pytest.raises(PolicyError, match=r"installed version of walk \(1.9.0, 1.10.0\), found"):
        bundle_folder(f"walk@{version}")


def test_installed_bundle_without_a_version_in_use_says_so(model: Path) -> None:
    model = model.rename(model.with_name("trot"))
    (model / "current").unlink()
    with pytest.raises(PolicyError, match=r"no version is in use: .* activate trot 1\.10"):
        bundle_folder("trot")


@pytest.mark.parametrize("target", ["3.0.0", "/opt/models/walk/1.9.0", "../walk/1.9.0"])
def test_link_that_is_broken_is_never_passed_over(model: Path, target: str) -> None:
    (model / "current").unlink()
    (model / "current").symlink_to(target)
    with pytest.raises(PolicyError, match=r"current: expected a link to one of the versions besid"):
        bundle_folder("walk")


def test_folder_in_the_place_of_the_link_is_never_taken(model: Path) -> None:
    (model / "current").unlink()
    (model / "current").mkdir()
    with pytest.raises(PolicyError, match=r"current: expected a link .* found something else"):
        bundle_folder("walk")
