# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The store takes bundles of chunk policies as it takes those of joint policies."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.load import load_bundle
from testkit.chunk_bundles import write_chunk_bundle
from testkit.store import tool, verify_problems

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
def arm_root(tmp_path: Path, arms: Callable[[str], Path]) -> Path:
    """A root with two versions, of which the second is in use."""
    root = tmp_path / "models"
    for version in ("1.0.0", "1.1.0"):
        assert tool("install", arms(version), "--activate", "--root", root) == 0
    return root


def test_record_has_the_hash_of_every_graph(arm_root: Path) -> None:
    record = json.loads((arm_root / ARM / "1.0.0/model_version.json").read_text("utf-8"))

    contract = load_bundle(str(arm_root / ARM / "1.0.0"), kind=ChunkBundle).contract
    assert record["onnx_hash"] == {
        name: f"sha256:{contract.graphs[name].artifacts['onnx'].sha256}" for name in GRAPHS
    }
    assert set(record["files"]) == {
        "policy.yaml",
        "golden.npz",
        *(f"{name}/{name}.onnx" for name in GRAPHS),
    }


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

    assert tool("install", bundle, "--root", root) == 0

    installed = root / ARM / "1.0.0"
    assert not [name for name in behind if (installed / name).exists()]
    assert (installed / "LICENCE").is_file()
    assert verify_problems(root) == []
    assert tool("install", bundle, "--root", root) == 0  # is the same as before
