# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The store takes bundles of chunk policies as it takes those of joint policies."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from model_tools.ship.store.activation import way_back
from model_tools.ship.store.inventory import verify
from policy_inference.bundle.bundle import ChunkBundle
from policy_inference.bundle.load import load_bundle
from policy_inference.bundle.store import current_version, versions_of
from policy_inference.errors import PolicyError
from policy_inference.testing.chunk_bundles import write_chunk_bundle

from .conftest import Bundles
from .stores import run

ARM = "small_arm"
GRAPHS = (
    "BPU_ACTPolicy_VisionEncoder_16x24",
    "BPU_ACTPolicy_VisionEncoder_12x16",
    "BPU_ACTPolicy_TransformerLayers",
)


@pytest.fixture
def arms(tmp_path: Path) -> Callable[[str], Path]:
    """Return what makes a chunk policy's bundle of a version."""
    return lambda version: write_chunk_bundle(tmp_path / version, version=version)


@pytest.fixture
def root(tmp_path: Path, arms: Callable[[str], Path]) -> Path:
    """A root with two versions, of which the second is in use."""
    root = tmp_path / "models"
    for version in ("1.0.0", "1.1.0"):
        assert run("install", arms(version), "--activate", "--root", root) == 0
    return root


def test_versions_are_installed_listed_rolled_back_and_pruned(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (current_version(root / ARM), way_back(root / ARM)) == ("1.1.0", ["1.0.0"])
    assert not [one.problem for one in verify(root) if one.problem]
    assert run("rollback", ARM, "--root", root) == 0
    assert current_version(root / ARM) == "1.0.0"
    assert run("list", "--root", root) == 0
    assert ARM in capsys.readouterr().out
    assert run("prune", ARM, "--keep", "0", "--force", "--root", root) == 0
    assert versions_of(root / ARM) == ["1.0.0"]


def test_a_name_opens_the_version_in_use_with_all_its_graphs(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLICY_INFERENCE_MODELS", str(root))

    bundle = load_bundle(ARM, kind=ChunkBundle)
    bundle.verify()

    assert bundle.path == root / ARM / "1.1.0"
    assert list(bundle.contract.graphs) == list(GRAPHS)


def test_record_has_the_hash_of_every_graph(root: Path) -> None:
    record = json.loads((root / ARM / "1.0.0/model_version.json").read_text("utf-8"))

    contract = load_bundle(str(root / ARM / "1.0.0"), kind=ChunkBundle).contract
    assert record["onnx_hash"] == {
        name: f"sha256:{contract.graphs[name].artifacts['onnx'].sha256}" for name in GRAPHS
    }
    assert set(record["files"]) == {
        "policy.yaml",
        "golden.npz",
        *(f"{name}/{name}.onnx" for name in GRAPHS),
    }


@pytest.mark.parametrize("name", GRAPHS)
def test_damaged_graph_is_found_and_never_activated(root: Path, name: str) -> None:
    file = root / ARM / "1.0.0" / name / f"{name}.onnx"
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:-1])

    (problem,) = [one.problem for one in verify(root) if one.problem]
    assert f"{name}.onnx: expected sha256:" in problem
    assert run("activate", ARM, "1.0.0", "--root", root) == 4
    assert current_version(root / ARM) == "1.1.0"


@pytest.mark.parametrize("name", GRAPHS)
def test_bundle_without_one_of_its_graphs_is_not_installed(
    tmp_path: Path, arms: Callable[[str], Path], name: str
) -> None:
    bundle = arms("1.0.0")
    (bundle / name / f"{name}.onnx").unlink()

    assert run("install", bundle, "--root", tmp_path / "models") == 4
    assert versions_of(tmp_path / "models" / ARM) == []


def test_signed_bundle_is_installed_and_a_changed_one_is_refused(
    tmp_path: Path, arms: Callable[[str], Path]
) -> None:
    key, root = Ed25519PrivateKey.generate(), tmp_path / "models"
    private, public = tmp_path / "team.key", tmp_path / "team.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    signed, changed, keys = arms("1.0.0"), arms("1.1.0"), ("--public-key", public)
    for bundle in (signed, changed):
        assert run("sign", bundle, "--key", private) == 0
    contract = changed / "policy.yaml"
    contract.write_text(contract.read_text("utf-8").replace("steps: 4", "steps: 8"), "utf-8")

    assert run("install", signed, "--root", root, *keys) == 0
    assert run("install", changed, "--root", root, *keys) == 4
    assert versions_of(root / ARM) == ["1.0.0"]


def test_both_kinds_live_in_one_store(
    root: Path, bundles: Bundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("install", bundles("1.0.0"), "--activate", "--root", root) == 0
    monkeypatch.setenv("POLICY_INFERENCE_MODELS", str(root))

    assert [load_bundle(name).contract.kind for name in (ARM, "tiny")] == ["chunk", "joint"]
    with pytest.raises(PolicyError, match="kind: expected chunk, found joint; joint_policy_node "):
        load_bundle("tiny", kind=ChunkBundle)


def test_a_workspace_of_a_compiler_stays_behind(
    tmp_path: Path, arms: Callable[[str], Path]
) -> None:
    bundle, root = arms("1.0.0"), tmp_path / "models"
    behind = (
        f"{GRAPHS[0]}/calibration_data_{GRAPHS[0]}/laptop_0000000000.npy",
        f"{GRAPHS[0]}/build_{GRAPHS[0]}.sh",
        f"bpu_output/{GRAPHS[0]}.hbm",
        "workspace.json",
        "build_all.sh",
        "build.log",
    )
    for name in (*behind, "LICENCE"):
        (bundle / name).parent.mkdir(parents=True, exist_ok=True)
        (bundle / name).write_text("of a workspace", "utf-8")

    assert run("install", bundle, "--root", root) == 0

    installed = root / ARM / "1.0.0"
    assert not [name for name in behind if (installed / name).exists()]
    assert (installed / "LICENCE").is_file()
    assert not [one.problem for one in verify(root) if one.problem]
    assert run("install", bundle, "--root", root) == 0  # is the same as before
