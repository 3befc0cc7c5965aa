# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Bundles of chunk policies: what is shown of them, and what is odd."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from model_tools.prove.inspect.registry import inspect_path
from policy_core.interfaces import Tensor
from testkit.chunk_bundles import write_chunk_bundle
from testkit.numbers import numbers_in
from testkit.wording import check_wording

POLICY = "BPU_ACTPolicy_TransformerLayers"
IMAGENET: Any = {"mode": "mean_std", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
EQUAL = {
    "sizes": {"laptop": (8, 8), "phone": (8, 8)},
    "alike": True,
    **{f"cameras.{name}.normalisation": IMAGENET for name in ("laptop", "phone")},
}


def change_golden(folder: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    """Change the golden rows, and their hash in the contract."""
    file, contract_file = folder / "golden.npz", folder / "policy.yaml"
    with np.load(file) as data:
        arrays = dict(data)
    change(arrays)
    np.savez(file, **arrays)
    contract = yaml.safe_load(contract_file.read_text("utf-8"))
    contract["golden"]["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    contract_file.write_text(yaml.safe_dump(contract, sort_keys=False), "utf-8")


def test_cameras_units_chunk_and_graphs_are_shown(tmp_path: Path) -> None:
    report = inspect_path(
        write_chunk_bundle(
            tmp_path / "arm", environment=2, **{"cameras.phone.normalisation": IMAGENET}
        )
    )

    assert report.suspicions == []
    contract = {key: value for key, value, _ in report.tables[0].rows}
    assert {
        "cameras.laptop.encoder",
        "cameras.phone.timeout_s",
        "pairing.rule",
        "units.elbow_flex",
        "units.gripper",
        f"graphs.{POLICY}.inputs.states",
        "environment_state.topic",
        "golden",
        "action.normalisation",
    } <= contract.keys()
    assert numbers_in(str(contract["cameras.laptop.normalisation"]))[:6] == [
        *(0.5, 0.4, 0.3, 0.25, 0.2, 0.22)
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"state.normalisation.std": [20.0, 0.0, 25.0]},
        {"cameras.phone.normalisation.std": [0.0, 0.2, 0.2]},
        {"environment": 2, "environment_state.normalisation.max": [-1.0, 3.0]},
        {"cameras.phone.normalisation.mean": [127.0, 0.4, 0.4]},
        EQUAL,
        {"action.normalisation.mean": [0.0, 10.0, 130.0]},
        {"units.shoulder_pan": {"unit": "radians"}, "state.normalisation.mean": [40.0, 5, 40]},
        {f"graphs.{POLICY}.artifacts.onnx.precision": "fp16"},
        {"limits": {"bpu": {"max_abs": 0.1}}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_is_odd_is_said(tmp_path: Path, changes: dict[str, Any]) -> None:
    check_wording(*inspect_path(write_chunk_bundle(tmp_path / "arm", **changes)).suspicions)


def test_degrees_that_look_like_radians_are_said(tmp_path: Path) -> None:
    statistics: Any = {"mode": "mean_std", "mean": [0.1, 0.2, 40.0], "std": [0.5, 0.4, 20.0]}
    folder = write_chunk_bundle(tmp_path / "arm", **{"state.normalisation": statistics})

    def in_rad(arrays: dict[str, Tensor]) -> None:
        arrays["state"] = np.radians(arrays["state"].astype(np.float32))

    change_golden(folder, in_rad)

    check_wording(*inspect_path(folder).suspicions)


def test_golden_images_that_are_the_same_are_said(tmp_path: Path) -> None:
    folder = write_chunk_bundle(tmp_path / "arm", sizes={"laptop": (8, 8), "phone": (8, 8)})

    def copied(arrays: dict[str, Tensor]) -> None:
        arrays["cameras.phone"] = arrays["cameras.laptop"]

    change_golden(folder, copied)

    check_wording(*inspect_path(folder).suspicions)


def test_missing_and_changed_files_are_said(tmp_path: Path) -> None:
    folder = write_chunk_bundle(tmp_path / "arm")
    (folder / POLICY / f"{POLICY}.onnx").unlink()
    (folder / "golden.npz").write_bytes(b"")

    check_wording(*inspect_path(folder).problems)
