# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Bundles of chunk policies: what is shown of them, and what is odd."""

from pathlib import Path
from typing import Any

import pytest

from model_tools.prove.inspect.registry import inspect_path
from testkit.chunk_bundles import write_chunk_bundle
from testkit.wording import check_wording

POLICY = "BPU_ACTPolicy_TransformerLayers"
IMAGENET: Any = {"mode": "mean_std", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
EQUAL = {
    "sizes": {"laptop": (8, 8), "phone": (8, 8)},
    "alike": True,
    **{f"cameras.{name}.normalisation": IMAGENET for name in ("laptop", "phone")},
}


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


def test_missing_and_changed_files_are_said(tmp_path: Path) -> None:
    folder = write_chunk_bundle(tmp_path / "arm")
    (folder / POLICY / f"{POLICY}.onnx").unlink()
    (folder / "golden.npz").write_bytes(b"")

    check_wording(*inspect_path(folder).problems)
