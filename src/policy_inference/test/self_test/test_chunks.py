# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A chunk policy on its machine: golden rows from image to chunk, and how long a chunk takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy_core.bundle.verified import sha256_of
from policy_inference.self_test.document import document
from testkit.wording import check_wording

from .bundles import vendor_arm
from .conftest import Test, failed_names, missing_evidence
from .vendor import Device

POLICY = "BPU_ACTPolicy_TransformerLayers"
ROWS = 5
CHUNKS_AT_RATE = 76
"""In 10 s, one whenever 4 steps of 33 333 333 ns are used up."""


def test_device_that_is_right_and_fast_holds_with_the_time_of_each_graph(
    test: Test, tmp_path: Path
) -> None:
    found = test(vendor_arm(tmp_path / "arm"))
    assert found, found.error
    told = json.loads(json.dumps(document(found), allow_nan=False))
    assert told["parity"]["count"] == told["parity_again"]["count"] == ROWS
    assert told["parity"]["outputs"]["Actions"]["max_abs"] < 1e-5
    assert list(told["artifacts"]) == [
        "BPU_ACTPolicy_VisionEncoder_16x24",
        "BPU_ACTPolicy_VisionEncoder_12x16",
        POLICY,
    ]
    assert told["back_to_back"]["max_s"] == pytest.approx(0.6e-3)  # three graphs
    assert told["graphs"][POLICY]["max_s"] == pytest.approx(0.2e-3)
    assert told["graphs"]["preprocessing"]["max_s"] == pytest.approx(0.0, abs=1e-9)
    assert told["at_rate"]["ticks"] == CHUNKS_AT_RATE
    check_wording(told["verdict"]["left_out"][-1])


def test_encoder_that_serves_two_cameras_counts_twice(test: Test, tmp_path: Path) -> None:
    found = test(vendor_arm(tmp_path / "arm", sizes={"laptop": (8, 8), "phone": (8, 8)}))
    assert {name: round(one.percentile_s(50) * 1e3, 3) for name, one in found.graphs.items()} == {
        "BPU_ACTPolicy_VisionEncoder": 0.4,
        POLICY: 0.2,
        "preprocessing": 0.0,
    }


@pytest.mark.parametrize("graph_ms", [10.0, 40.0, 50.0])
def test_chunk_must_be_there_before_the_last_one_is_used_up(
    test: Test, tmp_path: Path, vendor_device: Device, graph_ms: float
) -> None:
    vendor_device.run_ms = lambda time_s: graph_ms
    found = test(vendor_arm(tmp_path / "arm"))
    assert bool(found) is (graph_ms < 50.0)
    assert found.verdict is not None
    check_wording(failed_names(found), found.verdict.left_out[-1])


@pytest.mark.parametrize(
    ("precision", "axes", "change"),
    [
        pytest.param("fp32", 4, lambda output: output[..., ::-1].copy(), id="mirrored features"),
        pytest.param("int8", 3, lambda output: np.sign(output) * 0.4, id="a few values"),
    ],
)
def test_graph_that_computes_something_else_fails(
    test: Test,
    tmp_path: Path,
    vendor_device: Device,
    precision: str,
    axes: int,
    change: Callable[[Any], Any],
) -> None:
    def change_one(time_s: float, output: Any) -> None:
        if output.ndim == axes:
            output[:] = change(output)

    vendor_device.change = change_one
    check_wording(failed_names(test(vendor_arm(tmp_path / "arm", precision=precision))))


def test_golden_rows_that_are_all_the_same_are_not_judged(test: Test, tmp_path: Path) -> None:
    folder = vendor_arm(tmp_path / "arm")
    with np.load(folder / "golden.npz") as data:
        arrays = {name: np.repeat(array[:1], ROWS, axis=0) for name, array in data.items()}
    before = sha256_of(folder / "golden.npz")
    np.savez(folder / "golden.npz", **arrays)  # type: ignore[arg-type]  # taken for its own flag
    contract = folder / "policy.yaml"
    contract.write_text(
        contract.read_text("utf-8").replace(before, sha256_of(folder / "golden.npz")), "utf-8"
    )
    check_wording(missing_evidence(test(folder)))
