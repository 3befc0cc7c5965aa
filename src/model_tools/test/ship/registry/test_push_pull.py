# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""MakeVersion go to the distribution's registry and come back, in part where that was asked for."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from model_tools.ship.push import bundle_digest
from policy_core.bundle.load import load_bundle
from policy_core.errors import BundleError, PolicyError
from policy_store.inventory import verify
from policy_store.registry import client
from policy_store.registry import pull as pull_module
from policy_store.registry.manifest import parse_reference
from testkit.disks import fill_up, small_disk
from testkit.store import (
    NAME,
    MakeVersion,
    hidden_names,
    in_use,
    run_as_robot,
    tool,
    tool_refused,
    verify_problems,
)
from testkit.wording import refusal

from ..conftest import SET
from .conftest import OTHER_MODEL, Pull, RegistrySite, Signer, push

TwoBackends = Callable[..., Path]


def test_bundle_is_pushed_pulled_verified_and_put_into_use(
    tmp_path: Path,
    two_backends: TwoBackends,
    signer: Signer,
    repository: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle, root = signer.sign(two_backends()), tmp_path / "models"
    capsys.readouterr()
    push(bundle, repository)
    digest = bundle_digest(load_bundle(bundle))
    assert capsys.readouterr().out == f"{repository}:1.0.0 {digest}\n"

    options = ("--install", "--activate", "--root", root, "--public-key", signer.public)
    assert tool("pull", f"{repository}:1.0.0", *options) == 0
    assert in_use(root) == ("1.0.0", [])
    assert verify_problems(root) == []
    folder = root / NAME / "1.0.0"
    assert (folder / "rknn/policy.rknn").read_bytes() == OTHER_MODEL
    record = json.loads((folder / "model_version.json").read_text("utf-8"))
    assert record["installed_from"] == f"{repository}@{digest}"
    assert record["signed_by"] is not None
    assert hidden_names(root) == []
    # The address for good.
    assert tool("pull", f"{repository}@{digest}", "--output", tmp_path / "again") == 0
    assert (tmp_path / "again/policy.yaml").read_bytes() == (bundle / "policy.yaml").read_bytes()


@pytest.mark.parametrize("to_store", [False, True])
def test_pull_deletes_nothing_behind_a_link_that_another_user_made(
    to_store: bool, tmp_path: Path, make_version: MakeVersion, repository: str
) -> None:
    bundle, root, others = make_version(), tmp_path / "models", tmp_path / "others"
    push(bundle, repository)
    digest = bundle_digest(load_bundle(bundle)).removeprefix("sha256:")[:8]
    others.mkdir()
    (others / "file").write_text("precious")
    (root / NAME).mkdir(parents=True)
    (root / NAME / f".pulling.{digest}").symlink_to(others)
    (root / f".x.{digest}").symlink_to(others)
    options = ("--install", "--root", root) if to_store else ("--output", root / "x")
    status = tool("pull", f"{repository}:1.0.0", *options)
    assert status == (4 if to_store else 0)
    assert [path.name for path in others.iterdir()] == ["file"]
    assert to_store or (root / "x/policy.yaml").is_file()


def test_an_interrupted_pull_to_a_folder_leaves_nothing(
    tmp_path: Path, make_version: MakeVersion, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(make_version(), repository)

    def fail(*_: object, **__: object) -> None:
        raise PolicyError("interrupted")

    monkeypatch.setattr(pull_module, "load_bundle", fail)
    assert tool("pull", f"{repository}:1.0.0", "--output", tmp_path / "new/x") == 4
    assert list((tmp_path / "new").iterdir()) == []


def test_robot_pulls_the_models_of_its_back_end_only(
    two_backends: TwoBackends, site: RegistrySite
) -> None:
    push(site.signer.sign(two_backends()), site.repository)
    done = site.pull(f"{site.repository}:1.0.0", site.signer.trusted, backends=["onnx"])
    assert done.absent == ["rknn"]
    assert not (done.folder / "rknn").exists()
    root = site.folder / "models"
    assert verify_problems(root) == []
    assert tool("activate", NAME, "1.0.0", "--root", root, "--public-key", site.signer.public) == 0
    record = json.loads((done.folder / "model_version.json").read_text("utf-8"))
    assert record["backends"] == ["onnx"]
    assert "rknn_hash" not in record or record["rknn_hash"] is None
    with refusal(BundleError):
        done.bundle.models[0].artifact("rknn")
    with refusal(BundleError):
        site.pull(f"{site.repository}:1.0.0", site.signer.trusted)  # with all back ends
    with refusal(PolicyError):
        site.pull(f"{site.repository}:1.0.0", site.signer.trusted, backends=["bpu"])


def test_bundle_for_some_back_ends_is_installed_from_its_folder_for_these(
    tmp_path: Path, two_backends: TwoBackends, repository: str, capsys: pytest.CaptureFixture[str]
) -> None:
    push(two_backends(), repository)
    folder, root = tmp_path / "part", tmp_path / "models"
    assert tool("pull", f"{repository}:1.0.0", "--backend", "onnx", "--output", folder) == 0
    assert tool("install", folder, "--root", root) == 4  # not whole for all
    assert tool("install", folder, "--backend", "onnx", "--root", root) == 0
    assert verify_problems(root) == []


def test_pulled_again_nothing_is_downloaded(
    make_version: MakeVersion, repository: str, pull: Pull, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(make_version(), repository)
    pull(f"{repository}:1.0.0")
    monkeypatch.setattr(client.RegistryRepository, "download", None)
    assert not pull(f"{repository}:1.0.0").is_new


def test_tag_is_not_moved_without_force(make_version: MakeVersion, repository: str) -> None:
    push(make_version(), repository)
    push(make_version(), repository)  # the same content
    other = make_version("1.0.0", ("source: a test", "source: another test"))
    assert tool("push", other, repository) == 4
    push(other, repository, "--force")


@pytest.mark.parametrize("kib_left", [0, 4, 12])
def test_disk_that_fills_up_during_a_pull_keeps_what_is_in_use(
    make_version: MakeVersion,
    repository: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kib_left: int,
) -> None:
    for version in ("1.0.0", "1.1.0"):
        push(make_version(version), repository)
    with small_disk(tmp_path / "disk", 128) as disk:
        pulls = ("pull", f"{repository}:1.1.0", "--install", "--activate", "--root", disk)
        assert tool("install", make_version("1.0.0"), "--activate", "--root", disk) == 0
        fill_up(disk / "of_others", 1024 * kib_left)
        with monkeypatch.context() as patch:  # others write what was free a moment ago
            for module in ("registry.pull", "install"):
                patch.setattr(f"policy_store.{module}.room_bytes", lambda _: 1 << 30)
            tool_refused(*pulls)
        assert in_use(disk) == ("1.0.0", [])
        (disk / "of_others").unlink()
        assert tool(*pulls) == 0
        assert in_use(disk) == ("1.1.0", ["1.0.0"])
        assert verify_problems(disk) == []
        assert hidden_names(disk) == []


def test_pull_needs_only_what_a_robot_has(
    tmp_path: Path, make_version: MakeVersion, repository: str
) -> None:
    push(make_version(), repository)
    root = str(tmp_path / "models")
    run_as_robot([["pull", f"{repository}:1.0.0", "--install", "--activate", "--root", root]])
    assert in_use(tmp_path / "models") == ("1.0.0", [])


def test_what_a_pull_is_writing_is_no_leftover(
    monkeypatch: pytest.MonkeyPatch, site: RegistrySite
) -> None:
    push(site.make_version("1.3.0"), site.repository)
    real = client.RegistryRepository.download

    def meets(self: client.RegistryRepository, *args: object) -> None:
        assert tool("verify", "--root", site.root) == 0
        assert not [note for one in verify(site.root) for note in one.notes]
        assert tool("prune", NAME, "--force", "--root", site.root) == 0
        real(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(client.RegistryRepository, "download", meets)
    assert site.pull(f"{site.repository}:1.3.0", root=site.root).is_new
    assert hidden_names(site.root) == []


@pytest.mark.parametrize(
    "text",
    [
        "tiny",
        "host/Tiny",
        "host/tiny:",
        "http://host/tiny",
        "host/tiny@sha256:1",
        "user:pw@host/tiny",
        "host/../tiny",
        "host/tiny:1.0.0@sha256:" + "0" * 64,
        "x" * 5000,
        "host/fleet-tiny",
    ],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(PolicyError):
        parse_reference(text)


def test_policy_set_is_pushed_with_its_members_and_pulled_as_one_version(
    gathered_set: Path, site: RegistrySite
) -> None:
    site.repository = site.repository.replace(f"/{NAME}", f"/{SET}")
    (gathered_set / "first" / "notes.txt").write_text("private", "utf-8")
    push(site.signer.sign(gathered_set), site.repository)
    done = site.pull(f"{site.repository}:1.0.0", site.signer.trusted)
    assert {str(file.relative_to(done.folder)) for file in done.folder.rglob("*.*")} == {
        *(
            f"{name}/{file}"
            for name in ("first", "second")
            for file in ("golden.npz", "policy.onnx", "policy.yaml")
        ),
        "model_version.json",
        "set.yaml",
        "set.yaml.sig",
    }
    assert not site.pull(f"{site.repository}:1.0.0", site.signer.trusted).is_new
    root = site.folder / "models"
    assert tool("activate", SET, "1.0.0", "--root", root, "--public-key", site.signer.public) == 0
    assert verify_problems(root) == []
