# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The self-test of the simulator: numbers are judged, speed is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from policy_inference.commands.main import main

OURS = Path(__file__).resolve().parents[2] / "config" / "bundles" / "lite3_walk"


def test_a_simulated_npu_is_judged_on_its_numbers_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main(["self-test", "--backend", "rknn_sim", "--seconds", "1", str(OURS)]) == 0

    told = json.loads(Path("self_test_lite3_walk_rknn_sim.json").read_text("utf-8"))
    assert told["artifact"]["precision"] == "fp16"
    assert 0.0 < told["parity"]["outputs"]["action"]["mae"] < 1e-3
    assert {check["what"] for check in told["verdict"]["checks"]} == {
        "mean absolute error",
        "ticks with NaN or infinite outputs",
    }
    assert told["verdict"]["left_out"][0].startswith("latency and power")
    assert told["at_rate"]["processes"]["runtime"]["peak_bytes"] > 50e6
