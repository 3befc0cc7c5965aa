# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Bundles by name: installed versions, and those that come with the package."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import bundle_folder, load_bundle
from policy_core.errors import PolicyError
from testkit.wording import check_wording, refusal

from .editing import file_sha256, refused_problems

SHARE = Path("share/policy_inference/config/bundles")


@pytest.fixture(autouse=True)
def workspace_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
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


def install_version(template: Path, folder: Path, **record: str) -> Path:
    """Install a bundle as a version whose record says something else where that is given."""
    name, version = folder.parent.name, folder.name
    shutil.copytree(template, folder)
    file = folder / "policy.yaml"
    text = file.read_text("utf-8").replace("name: two_joints", f"name: {name}")
    file.write_text(re.sub(r'version: ".*"', f'version: "{version}"', text), "utf-8")
    (folder / "model_version.json").write_text(
        json.dumps(
            {
                "model": name,
                "version": version,
                "policy_hash": f"sha256:{file_sha256(file)}",
                "files": {},
                "installed_time": "2026-01-01T00:00:00Z",
                **record,
            }
        )
    )
    return folder


@pytest.fixture
def walk_model(tmp_path: Path, template: Path) -> Path:
    """Folder of the bundle `walk` with two installed versions, of which one is in use."""
    model = tmp_path / "models/walk"
    for version in ("1.9.0", "1.10.0"):
        install_version(template, model / version)
    (model / "current").symlink_to("1.9.0")
    return model


def link_current(model: Path, target: str) -> None:
    (model / "current").unlink()
    (model / "current").symlink_to(target)


def test_name_of_an_installed_bundle_is_its_folder(workspace_prefix: Path) -> None:
    assert bundle_folder("walk") == workspace_prefix / SHARE / "walk"


def test_folder_that_is_there_comes_before_an_installed_one() -> None:
    assert bundle_folder("mine") == Path("mine")
    assert bundle_folder("some/walk") == Path("some/walk")


@pytest.mark.parametrize("name", ["crawl", "policy.schema.json"])
def test_other_names_are_refused_with_those_that_there_are(name: str) -> None:
    with refusal(PolicyError):
        bundle_folder(name)


def test_version_in_use_comes_before_what_the_package_brings(walk_model: Path) -> None:
    folder = bundle_folder("walk")
    assert folder == walk_model / "1.9.0"
    link_current(walk_model, "1.10.0")
    assert folder.is_dir()
    assert folder.name == "1.9.0"  # what a node has opened stays that
    assert bundle_folder("walk") == walk_model / "1.10.0"


@pytest.mark.parametrize("version", ["2.0.0", "..", "current"])
def test_version_that_is_not_installed_is_refused_with_those_that_are(
    walk_model: Path, version: str
) -> None:
    with refusal(PolicyError):
        bundle_folder(f"walk@{version}")


def test_no_bundle_of_the_package_replaces_an_installed_one_without_a_version_in_use(
    walk_model: Path, workspace_prefix: Path
) -> None:
    """A robot may have lost its link, or have one that leads nowhere."""
    link = walk_model / "current"
    (walk_model / "1.10.0").rename(walk_model / ".walk.old")
    for target in ("3.0.0", "/opt/models/walk/1.9.0", "../walk/1.9.0", ".walk.old"):
        link_current(walk_model, target)
        with refusal(PolicyError):
            bundle_folder("walk")
    link.unlink()
    with refusal(PolicyError):
        bundle_folder("walk")
    link.mkdir()
    with refusal(PolicyError):
        bundle_folder("walk")
    assert bundle_folder("walk@1.9.0") == walk_model / "1.9.0"
    shutil.rmtree(walk_model)
    walk_model.touch()
    assert bundle_folder("walk") == workspace_prefix / SHARE / "walk"


@pytest.mark.parametrize("by", [bundle_folder, load_bundle])
def test_link_to_a_version_that_is_itself_a_link_is_refused(
    walk_model: Path, tmp_path: Path, template: Path, by: Callable[[str], object]
) -> None:
    install_version(template, tmp_path / "walk/3.0.0")
    (walk_model / "3.0.0").symlink_to(tmp_path / "walk/3.0.0")
    link_current(walk_model, "3.0.0")
    with refusal(PolicyError):
        by("walk")
    with refusal(PolicyError):
        by("walk@3.0.0")


@pytest.mark.parametrize("by", [bundle_folder, load_bundle])
def test_version_that_was_copied_there_by_hand_is_refused(
    walk_model: Path, template: Path, by: Callable[[str], object]
) -> None:
    shutil.copytree(walk_model / "1.9.0", walk_model / "9.9.9")
    for link in ("1.9.0", "9.9.9"):
        link_current(walk_model, link)
        problems = refused_problems(lambda: by("walk@9.9.9"))
        found = {Path(problem.file).name for problem in problems}
        assert found == {"policy.yaml", "model_version.json"}
        check_wording(problems[0])
    (walk_model / "9.9.9/model_version.json").unlink()
    (problem,) = refused_problems(lambda: by("walk"))
    assert Path(problem.file).name == "model_version.json"


@pytest.mark.parametrize("by", [bundle_folder, load_bundle])
@pytest.mark.parametrize(
    "record", [{"model": "run"}, {"version": "1.0.0"}, {"policy_hash": "sha256:00"}], ids=str
)
def test_version_that_its_record_does_not_mean_is_refused(
    walk_model: Path, template: Path, by: Callable[[str], object], record: dict[str, str]
) -> None:
    install_version(template, walk_model / "2.0.0", **record)
    (problem,) = refused_problems(lambda: by("walk@2.0.0"))
    file = "policy.yaml" if "policy_hash" in record else "model_version.json"
    assert Path(problem.file).name == file
    assert problem.remedy


@pytest.mark.parametrize("name", [".@1.9.0", "..@1.9.0", "Walk@1.9.0", "@1.9.0"])
def test_name_that_no_bundle_can_have_is_refused(
    walk_model: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLICY_INFERENCE_MODELS", str(walk_model))
    with refusal(PolicyError):
        bundle_folder(name)


def test_installed_version_is_loaded_and_a_path_needs_no_record(
    walk_model: Path, template: Path
) -> None:
    assert load_bundle("walk", kind=JointBundle).contract.version == "1.9.0"
    assert load_bundle(str(template), kind=JointBundle).path == template
