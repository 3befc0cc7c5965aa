# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Engines built from ONNX: what each version of TensorRT is asked for, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnxruntime.transformers.float16 import convert_float_to_float16

from policy_core.errors import BackendError
from policy_core.interfaces import TensorSpec
from policy_inference.testing.case import ACTIONS, OBS
from policy_inference.testing.models import save, save_linear
from testkit.wording import refusal

from .conftest import Install, Open
from .flavours import FLAVOURS

OLD = [name for name, flavour in FLAVOURS.items() if flavour.precision_flags]
MIB = 1 << 20


def plan_header(cache: Path) -> dict[str, Any]:
    """Return what the double wrote into the one plan of the cache."""
    (plan,) = cache.glob("*.plan")
    content = plan.read_bytes()
    found: dict[str, Any] = json.loads(content[8 : 8 + int.from_bytes(content[4:8], "little")])
    return found


def save_single(file: Path) -> Path:
    return save_linear(file, 5, 3)


def save_half(file: Path) -> Path:
    """Save the small model with weights and activations in float16, tensors in float32."""
    model = onnx.load(str(save_single(file)))
    onnx.save(convert_float_to_float16(model, keep_io_types=True), str(file))
    return file


def save_integers(file: Path, shift: int = 0) -> Path:
    """Save actions = dequantised(quantised(obs)) @ weights."""
    nodes = [
        helper.make_node("QuantizeLinear", ["obs", "scale", "shift"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "shift"], ["dq"]),
        helper.make_node("MatMul", ["dq", "w"], ["actions"]),
    ]
    constants: dict[str, Any] = {
        "scale": np.float32(0.1),
        "shift": np.int8(shift),
        "w": np.ones((5, 3), np.float32),
    }
    return save(file, nodes, {"obs": (1, 5)}, {"actions": (1, 3)}, constants=constants)


ENGINES: list[tuple[str, str, Callable[[Path], Path], list[str]]] = [
    *((flavour, "fp32", save_single, []) for flavour in FLAVOURS),
    *((flavour, "fp16", save, ["FP16"]) for flavour in OLD for save in (save_single, save_half)),
    *((flavour, "int8", save_integers, ["INT8"]) for flavour in OLD),
    # Without flags, the precision is that of the model.
    ("11.4", "fp16", save_half, []),
    ("11.4", "int8", save_integers, []),
]


@pytest.mark.parametrize(("flavour", "precision", "save", "flags"), ENGINES)
def test_precision_is_asked_for_where_there_is_a_flag_and_never_rounded_to_tf32(
    install_gpu: Install,
    open_trt: Open,
    cache: Path,
    tmp_path: Path,
    flavour: str,
    precision: str,
    save: Callable[[Path], Path],
    flags: list[str],
) -> None:
    install_gpu(flavour)
    backend = open_trt(save(tmp_path / "model.onnx"), precision)
    found = plan_header(cache)
    assert (found["flags"], found["typed"]) == (flags, flavour not in OLD)
    assert precision != "fp32" or not found["tf32"]
    assert found["workspace"] is None
    assert backend.details["precision"] == precision


@pytest.mark.parametrize(
    ("flavour", "precision"),
    [("11.4", "fp16"), ("11.4", "int8"), ("8.6", "int8"), ("10.3", "w8a8")],
)
def test_an_engine_would_not_have_the_precision_that_the_contract_states(
    install_gpu: Install, open_trt: Open, flavour: str, precision: str
) -> None:
    install_gpu(flavour)
    with refusal(BackendError):
        open_trt(precision=precision)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_workspace_is_limited_where_that_is_asked_for(
    install_gpu: Install, open_trt: Open, cache: Path, flavour: str
) -> None:
    install_gpu(flavour)
    open_trt(workspace_mib="64")
    assert plan_header(cache)["workspace"] == 64 * MIB


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_an_open_batch_axis_gets_a_profile_of_the_contracts_size(
    install_gpu: Install, open_trt: Open, cache: Path, tmp_path: Path, flavour: str
) -> None:
    install_gpu(flavour)
    file = save_linear(tmp_path / "open.onnx", 5, 3, batch="batch")
    obs, actions = TensorSpec(name="obs", shape=(4, 5)), TensorSpec(name="actions", shape=(4, 3))
    backend = open_trt(file, inputs=[obs], outputs=[actions])
    backend.inputs["obs"][:] = np.arange(20).reshape(4, 5)
    backend.run()
    assert plan_header(cache)["shapes"] == {"obs": [4, 5]}
    assert len({row.tobytes() for row in backend.outputs["actions"]}) == 4


@pytest.mark.parametrize(("name", "batch"), [("observation", 1), ("obs", 0)])
def test_an_open_axis_without_a_size_that_tensorrt_takes_is_named(
    install_gpu: Install, open_trt: Open, tmp_path: Path, name: str, batch: int
) -> None:
    install_gpu()
    file = save_linear(tmp_path / "open.onnx", 5, 3, batch="batch")
    with refusal(BackendError):
        open_trt(file, inputs=[TensorSpec(name=name, shape=(batch, 5))])


def test_an_output_whose_size_is_another_when_it_runs_is_refused(
    install_gpu: Install, open_trt: Open, tmp_path: Path
) -> None:
    """Its memory would be too small, which the GPU does not notice."""
    install_gpu()
    nodes = [helper.make_node("Reshape", ["obs", "shape"], ["actions"])]
    file = save(
        tmp_path / "pairs.onnx",
        nodes,
        {"obs": ("batch", 5)},
        {"actions": ("half", 10)},
        constants={"shape": np.array([-1, 10])},
    )
    obs, actions = TensorSpec(name="obs", shape=(2, 5)), TensorSpec(name="actions", shape=(2, 10))
    with refusal(BackendError):
        open_trt(file, inputs=[obs], outputs=[actions])


def test_a_build_that_fails_says_what_tensorrt_said(
    install_gpu: Install, open_trt: Open, cache: Path
) -> None:
    gpu = install_gpu()
    gpu.failing["build"] = "Could not find any implementation for node MatMul"
    with refusal(BackendError):
        open_trt()
    assert not list(cache.glob("*.plan*"))


def test_a_type_that_no_contract_can_state_is_named(
    install_gpu: Install, open_trt: Open, tmp_path: Path
) -> None:
    install_gpu()
    nodes = [helper.make_node("Greater", ["obs", "obs"], ["actions"])]
    file = save(
        tmp_path / "bool.onnx",
        nodes,
        {"obs": (1, 5)},
        {"actions": (1, 5)},
        dtypes={"actions": "bool"},
    )
    with refusal(BackendError):
        open_trt(file, inputs=[OBS], outputs=[ACTIONS])
