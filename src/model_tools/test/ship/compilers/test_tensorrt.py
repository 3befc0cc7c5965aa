# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Models for TensorRT: its parser takes them in every version, and they are the same function."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import F32
from policy_inference.backends.registry import open_backend
from testkit.wording import check_wording

from ...tiny_bundle import forward, make_bundle, observations, weights
from .conftest import compiled

# The double stands with the tests of the back end that it is one of.
machine: Any = importlib.import_module("src.policy_inference.test.backends.nvidia.machine")
flavours: Any = importlib.import_module("src.policy_inference.test.backends.nvidia.flavours")

Compile = Callable[..., JointBundle]
TOLERANCES = {"fp32": 1e-6, "fp16": 0.002, "int8": 0.05}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def compile_tensorrt(tiny_rows: Path, tmp_path: Path) -> Compile:
    source = make_bundle(tmp_path / "tiny")

    def apply(precision: str, **options: str) -> JointBundle:
        return compiled(
            JointBundle,
            "tensorrt",
            bundle=source,
            precision=precision,
            rows=tiny_rows if precision == "int8" else None,
            output=tmp_path / "made",
            options=options,
        )

    return apply


@pytest.mark.parametrize("flavour", flavours.FLAVOURS)
@pytest.mark.parametrize("precision", TOLERANCES)
def test_every_version_builds_an_engine_of_it(
    compile_tensorrt: Compile, monkeypatch: pytest.MonkeyPatch, flavour: str, precision: str
) -> None:
    bundle = compile_tensorrt(precision)
    machine.put_doubles(monkeypatch, flavour)

    backend, _ = open_backend(bundle, ["tensorrt"], {"tensorrt": {"build": "yes"}})
    for row in observations(20, seed=3):
        backend.inputs["obs"][:] = row
        backend.run()
        actions: F32 = backend.outputs["actions"].astype(np.float32)
        np.testing.assert_allclose(
            actions, forward(row[None], weights()), rtol=0.0, atol=TOLERANCES[precision]
        )
    backend.close()


def test_biases_stay_in_float32_and_weights_have_pairs_of_their_own(
    compile_tensorrt: Compile,
) -> None:
    model = onnx.load(compile_tensorrt("int8").artifact("tensorrt")[1])
    constants = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    quantised = [
        constants.get(node.input[0])
        for node in model.graph.node
        if node.op_type == "DequantizeLinear"
    ]

    assert quantised
    assert set(quantised) == {None}


def test_a_build_here_proves_it_and_is_reported(
    compile_tensorrt: Compile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gpu = machine.put_doubles(monkeypatch, "10.3")

    entry, _ = compile_tensorrt("fp16", build="yes").artifact("tensorrt")

    assert entry.made is not None
    check_wording(entry.made)
    assert gpu.calls.count("build") == 1
    backend, _ = open_backend(load_bundle(tmp_path / "made", kind=JointBundle), ["tensorrt"])
    assert "cache" in backend.details["engine"]
    backend.close()
