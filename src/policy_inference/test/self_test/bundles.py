# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whole bundles with golden rows, for a vendor's back end."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from policy_core.bundle.verified import sha256_file
from policy_core.interfaces import F32
from policy_inference.testing.models import save_linear, save_recurrent, weights
from testkit.chunk_bundles import write_chunk_bundle

from ..nodes.bundles import write_bundle

ROWS, INPUTS, OUTPUTS = 20, 15, 2
STATE = ("inputs.h_in", "outputs.h_out")
HELD = {"what": "walks cut short", "value": 0.0, "limit": 0.0, "at_least": False, "where": ""}
"""A check of walks."""


def two_joint_bundle(
    folder: Path,
    *,
    precision: str = "fp32",
    backend: str = "vendor",
    recurrent: bool = False,
    golden: bool = True,
    rows: int = ROWS,
    different: int = ROWS,
    **sections: Any,
) -> Path:
    """Write a bundle of a robot with two joints, of which a back end has an artifact, too.

    Args:
        folder: Where.
        precision: That the contract states for the back end.
        backend: Which.
        recurrent: Whether the model adds a state to its output.
        golden: Whether it has golden rows.
        rows: How many.
        different: How many of them differ.
        sections: More sections and values of the contract.
    """
    folder.mkdir(parents=True)
    artifact = {"file": "policy.onnx", "sha256": "", "precision": precision}
    changes: dict[str, object] = {f"model.artifacts.{backend}": artifact, **sections}
    if recurrent:
        changes |= {f"model.{side}": {"shape": [1, OUTPUTS]} for side in STATE}
        changes["state"] = [{"input": "h_in", "output": "h_out"}]
    if golden:
        file = folder / "golden.npz"
        np.savez(file, allow_pickle=False, **_golden_rows(recurrent, rows, different))
        changes["model.golden"] = {"file": file.name, "sha256": sha256_file(file)}
    return write_bundle(folder, changes, save_recurrent if recurrent else save_linear)


def _golden_rows(recurrent: bool, rows: int, different: int) -> dict[str, F32]:
    random = np.random.default_rng(1)
    obs = random.uniform(-1, 1, (rows, INPUTS)).astype(np.float32)[np.arange(rows) % different]
    actions = obs @ weights(INPUTS, OUTPUTS)
    if not recurrent:
        return {"obs": obs, "actions": actions}
    state = random.uniform(-1, 1, (rows, OUTPUTS)).astype(np.float32)
    return {"obs": obs, "h_in": state, "actions": actions + state, "h_out": actions + state}


def contract_in(folder: Path) -> dict[str, Any]:
    contract: dict[str, Any] = yaml.safe_load((folder / "policy.yaml").read_text("utf-8"))
    return contract


def put_contract(folder: Path, contract: Mapping[str, Any]) -> None:
    (folder / "policy.yaml").write_text(yaml.safe_dump(dict(contract), sort_keys=False), "utf-8")


def keep_comparison(
    folder: Path,
    about: str,
    changes: Mapping[str, Any] | None = None,
    reference_precision: str = "fp32",
) -> None:
    """Keep a report on walking about a back end's model, less what is changed in it."""
    contract = contract_in(folder)
    walks = [{"command": [0.8, 0, 0], "error": [0.12, 0.12, 0.12]}]
    reference = {"backend": "onnx", "precision": reference_precision, "closed_loop": walks}
    entry = {
        "backend": about,
        "sha256": contract["model"]["artifacts"][about]["sha256"],
        "precision": "w8a8",
        "closed_loop": walks,
        "closed_loop_checks": [HELD],
        **(changes or {}),
    }
    text = json.dumps({"reference": "fp32", "artifacts": [reference, entry]}).encode()
    file = f"reports/comparison_{about}.json"
    (folder / "reports").mkdir(exist_ok=True)
    (folder / file).write_bytes(text)
    contract.setdefault("reports", {})[about] = {
        "file": file,
        "sha256": hashlib.sha256(text).hexdigest(),
    }
    put_contract(folder, contract)


def vendor_arm(
    folder: Path, precision: str = "fp32", backend: str = "vendor", **changes: Any
) -> Path:
    """Write a chunk policy's bundle that has its graphs for another back end besides onnx."""
    write_chunk_bundle(folder, **changes)
    contract = contract_in(folder)
    for graph in contract["graphs"].values():
        artifacts = graph["artifacts"]
        artifacts[backend] = {**artifacts["onnx"], "precision": precision}
    put_contract(folder, contract)
    return folder
