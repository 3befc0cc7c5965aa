# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The policy that ships, compiled for an RK3588: nearly the same function, and it still walks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from model_tools import cli
from model_tools.ship.compilers.compile_request import CompileRequest
from model_tools.ship.compilers.compiled_bundle import compile_bundle
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_inference.backends.registry import open_backend
from policy_inference.commands.main import main

pytestmark = pytest.mark.slow

OURS = Path(__file__).resolve().parents[2] / "config" / "bundles" / "lite3_walk"
Compile = Callable[[str], Path]


@pytest.fixture
def compile_ours(tmp_path: Path) -> Compile:
    def apply(precision: str) -> Path:
        samples = None if precision == "fp16" else OURS / "golden.npz"
        return compile_bundle(
            CompileRequest(
                compiler="rknn",
                bundle=OURS,
                precision=precision,
                target="rk3588",
                rows=samples,
                samples=512,
                output=tmp_path / precision,
            )
        )

    return apply


def test_in_integers_of_16_bits_it_is_nearly_the_same_function(compile_ours: Compile) -> None:
    bundle = compile_ours("w16a16i_dfp")

    assert cli.main(["compare", str(bundle), "--backend", "onnx,rknn_sim"]) == 0


@pytest.mark.parametrize("precision", ["fp16", "w8a8"])
def test_on_the_simulated_robot_it_still_walks(compile_ours: Compile, precision: str) -> None:
    bundle = compile_ours(precision)

    assert cli.main(["compare", str(bundle), "--backend", "onnx,rknn_sim", "--closed-loop"]) == 0


def test_a_bundle_with_the_onnx_model_alone_is_simulated_in_fp16() -> None:
    backend, _ = open_backend(load_bundle(OURS, kind=JointBundle), ["rknn_sim"])

    assert backend.details["precision"] == "fp16"
    assert backend.details["built"].endswith("from policy.onnx")
    backend.close()


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
