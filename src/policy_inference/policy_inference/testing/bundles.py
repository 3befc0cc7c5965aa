# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Files for tests: the smallest bundle, with one joint, and an installed package's metadata."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import yaml

_CONTRACT = """
schema_version: 1
kind: joint
name: tiny
version: "1.0.0"
rate_hz: 50
joints: {names: [hip], default_position: 0, position_min: -1, position_max: 1, velocity_limit: 1,
         effort_limit: 1, stiffness: 1, damping: 1}
stand: {position: 0, stiffness: 1, damping: 1, duration_s: 1}
damp: {damping: 1}
observations: {obs: {terms: [{term: joint_pos}, {term: joint_vel}]}}
action: {output: actions, terms: [{joints: [hip], kind: position}]}
model:
  inputs: {obs: {shape: [1, 2]}}
  outputs: {actions: {shape: [1, 1]}}
safety: {on_fault: damp}
provenance: {source: a test, licence: Apache-2.0}
"""


def write_contract(file: Path, backend: str, precision: str, target: str | None = None) -> Path:
    """Write the `policy.yaml` for a model next to it; return the folder, which is then a bundle.

    Args:
        file: Model with the input obs float32[1, 2] and the output actions float32[1, 1].
        backend: Back end of the file; existing entries of other back ends are kept.
        precision: Precision for the contract.
        target: Chip for the contract.
    """
    path = file.parent / "policy.yaml"
    contract = yaml.safe_load(path.read_text("utf-8") if path.exists() else _CONTRACT)
    artifact = {
        "file": file.name,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "precision": precision,
    }
    artifacts = contract["model"].setdefault("artifacts", {})
    artifacts[backend] = artifact if target is None else {**artifact, "target": target}
    path.write_text(yaml.safe_dump(contract, sort_keys=False), "utf-8")
    return file.parent


def register(site: Path, distribution: str, group: str, entries: Mapping[str, str]) -> None:
    """Write pip's metadata for a package with entry points; there is no module to import yet.

    Args:
        site: Folder for sys.path.
        distribution: Name of the package, version 1.0.
        group: Group of the entry points.
        entries: Object for each name: ``module:Class``.
    """
    info = site / f"{distribution}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Name: {distribution}\nVersion: 1.0\n", "utf-8")
    lines = [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join([*lines, ""]), "utf-8")
