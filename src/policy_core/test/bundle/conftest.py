# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A small bundle that is right in everything, and fixtures that make it wrong."""

import copy
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import yaml

from policy_core.bundle.body import AnyContract
from policy_core.bundle.load import parse_contract
from policy_inference.testing.models import save_linear, weights
from testkit.chunk_bundles import write_chunk_bundle
from testkit.edits import Edits, set_key, with_edits

from .editing import CONTRACT, file_sha256


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a bundle without fault, to be copied."""
    folder = tmp_path_factory.mktemp("two_joints")
    rng = np.random.default_rng(7)
    obs = rng.normal(size=(5, 12)).astype(np.float32)
    save_linear(folder / "policy.onnx", inputs=12, outputs=2)
    np.savez(folder / "golden.npz", obs=obs, actions=obs @ weights(12, 2))
    np.savez(folder / "obs_stats.npz", mean=np.arange(12.0), std=np.arange(12.0))
    files = {"MODEL": "policy.onnx", "GOLDEN": "golden.npz", "STATS": "obs_stats.npz"}
    text = re.sub("|".join(files), lambda m: file_sha256(folder / files[m[0]]), CONTRACT)
    (folder / "policy.yaml").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def parsed(template: Path) -> dict[str, Any]:
    """The contract without fault as YAML gives it, to be copied."""
    contract: dict[str, Any] = yaml.safe_load((template / "policy.yaml").read_text("utf-8"))
    return contract


@pytest.fixture(scope="session")
def chunk_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a chunk policy's bundle without fault, to be copied."""
    return write_chunk_bundle(
        tmp_path_factory.mktemp("small_arm"),
        environment=4,
        pairing={"rule": "frame_time", "tolerance_s": 0.05},
        nominal={
            "source": "ten seconds of reaching",
            "ticks": 300,
            "target_step": 0.05,
            "effort_demand": [1.0, 2.0, 2.0],
        },
    )


@pytest.fixture(scope="session")
def chunk_parsed(chunk_template: Path) -> dict[str, Any]:
    """The chunk policy's contract as YAML gives it, to be copied."""
    contract: dict[str, Any] = yaml.safe_load((chunk_template / "policy.yaml").read_text("utf-8"))
    return contract


@pytest.fixture(scope="session")
def parse_edited(
    parsed: dict[str, Any], chunk_parsed: dict[str, Any]
) -> Callable[[str, Edits], AnyContract]:
    """Parse the contract without fault of a kind after some of its keys were set."""
    valid = {"joint": parsed, "chunk": chunk_parsed}

    def parse(kind: str, edits: Edits) -> AnyContract:
        text = yaml.safe_dump(with_edits(valid[kind], edits), sort_keys=False)
        return parse_contract(text.encode(), "policy.yaml")

    return parse


@pytest.fixture
def chunk_dir(chunk_template: Path, tmp_path: Path) -> Path:
    return shutil.copytree(chunk_template, tmp_path / "small_arm")


@pytest.fixture
def edit_chunk(chunk_dir: Path, chunk_parsed: dict[str, Any]) -> Callable[[Edits], Path]:
    """Set keys of the chunk policy's contract, as `edit_joint`."""
    return _editor(chunk_dir / "policy.yaml", chunk_parsed)


@pytest.fixture
def bundle_dir(template: Path, tmp_path: Path) -> Path:
    return shutil.copytree(template, tmp_path / "two_joints")


@pytest.fixture
def edit_joint(bundle_dir: Path, parsed: dict[str, Any]) -> Callable[[Edits], Path]:
    """Set keys of the contract, named like ``observations.obs.terms.0.scale``."""
    return _editor(bundle_dir / "policy.yaml", parsed)


def _editor(file: Path, parsed: dict[str, Any]) -> Callable[[Edits], Path]:
    contract = copy.deepcopy(parsed)

    def apply(edits: Edits) -> Path:
        for key, value in edits.items():
            set_key(contract, key, value)
        file.write_text(yaml.safe_dump(contract, sort_keys=False), encoding="utf-8")
        return file

    return apply


@pytest.fixture
def replace_text(bundle_dir: Path) -> Callable[[str, str], Path]:
    """Replace a piece of the contract's text that stands there once."""
    file = bundle_dir / "policy.yaml"

    def apply(old: str, new: str) -> Path:
        text = file.read_text(encoding="utf-8")
        assert text.count(old) == 1
        file.write_text(text.replace(old, new), encoding="utf-8")
        return file

    return apply


@pytest.fixture
def use_arrays(bundle_dir: Path, edit_joint: Callable[[Edits], Path]) -> Callable[..., Path]:
    """Write arrays to a file of the bundle and its hash to the entry `key` of the contract."""

    def apply(key: str, name: str, **arrays: npt.ArrayLike) -> Path:
        file = bundle_dir / name
        np.savez(file, **arrays)  # type: ignore[arg-type]  # taken for savez's own flag
        edit_joint({f"{key}.sha256": file_sha256(file)})
        return file

    return apply
