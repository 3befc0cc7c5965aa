# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Engines built from ONNX: what each version of TensorRT is asked for, and what it refuses."""

import json
import threading
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnxruntime.transformers.float16 import convert_float_to_float16

from policy_core.errors import BackendError
from policy_core.interfaces import TensorSpec
from policy_inference.backends.tensorrt.cache import PlanCache
from policy_inference.backends.tensorrt.sidecar import Fingerprint
from policy_inference.testing.models import save, save_linear, save_quantised
from testkit.wording import refusal

from .conftest import FROM_CACHE, Install, Open
from .flavours import FLAVOURS

OLD = [name for name, flavour in FLAVOURS.items() if flavour.precision_flags]
MIB = 1 << 20


def plan_header(cache: Path) -> dict[str, Any]:
    """Return what the double wrote into the one plan of the cache."""
    (plan,) = cache.glob("*.plan")
    content = plan.read_bytes()
    found: dict[str, Any] = json.loads(content[8 : 8 + int.from_bytes(content[4:8], "little")])
    return found


save_single = partial(save_linear, inputs=5, outputs=3)
save_integers = partial(save_quantised, inputs=5, outputs=3)


def save_half(file: Path) -> Path:
    """Save the small model with weights and activations in float16, tensors in float32."""
    model = onnx.load(str(save_single(file)))
    onnx.save(convert_float_to_float16(model, keep_io_types=True), str(file))
    return file


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
    ("flavour", "precision"), [("11.4", "fp16"), ("11.4", "int8"), ("10.3", "w8a8")]
)
def test_an_engine_would_not_have_the_precision_that_the_contract_states(
    install_gpu: Install, open_trt: Open, flavour: str, precision: str
) -> None:
    install_gpu(flavour)
    with refusal(BackendError):
        open_trt(precision=precision)


def test_workspace_is_limited_where_that_is_asked_for(
    install_gpu: Install, open_trt: Open, cache: Path
) -> None:
    install_gpu()
    open_trt(workspace_mib="64")
    assert plan_header(cache)["workspace"] == 64 * MIB


def test_an_open_batch_axis_gets_a_profile_of_the_contracts_size(
    install_gpu: Install, open_trt: Open, cache: Path, tmp_path: Path
) -> None:
    install_gpu()
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


PRINT = Fingerprint(
    model_sha256="0" * 64,
    precision="fp32",
    tensorrt="10.3.0",
    gpu="Orin",
    compute_capability="8.7",
    cuda="12.6",
    driver="12.6",
    flags="none",
)


def test_an_engine_is_built_once_and_only_with_leave(
    install_gpu: Install, open_trt: Open, cache: Path
) -> None:
    gpu = install_gpu()
    with refusal(BackendError):
        open_trt(build="no")
    assert "build" not in gpu.calls
    assert not cache.exists()
    first, second = open_trt(), open_trt(build="no")
    assert gpu.calls.count("build") == 1
    assert first.details["engine"].startswith("built ")
    assert second.details["engine"] == FROM_CACHE


@pytest.mark.parametrize("field", [field.name for field in fields(Fingerprint)])
def test_every_part_of_the_fingerprint_counts(tmp_path: Path, field: str) -> None:
    cache = PlanCache(tmp_path)
    cache.store(PRINT, b"plan", Path("model.onnx"), 1.0)
    other = replace(PRINT, **{field: "other"})
    assert cache.find(PRINT) is not None
    assert cache.find(other) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda plan: plan.write_bytes(plan.read_bytes()[:-1]),
        lambda plan: plan.with_name(f"{plan.name}.json").unlink(),
        lambda plan: plan.with_name(f"{plan.name}.json").write_text("{", "utf-8"),
    ],
    ids=["cut off", "no JSON", "half a JSON"],
)
def test_a_damaged_engine_is_built_again(
    install_gpu: Install, open_trt: Open, cache: Path, damage: Callable[[Path], object]
) -> None:
    gpu = install_gpu()
    open_trt()
    (plan,) = cache.glob("*.plan")
    damage(plan)
    open_trt()
    assert gpu.calls.count("build") == 2
    assert open_trt().details["engine"] == FROM_CACHE


def test_two_that_build_at_once_build_once(install_gpu: Install, open_trt: Open) -> None:
    gpu = install_gpu()
    begun, go_on = threading.Event(), threading.Event()
    details: list[str] = []

    class Waiting(list[str]):
        def append(self, call: str) -> None:
            super().append(call)
            if call == "build":
                begun.set()
                go_on.wait(10.0)

    gpu.calls = Waiting()

    def run() -> None:
        details.append(open_trt().details["engine"])

    threads = [threading.Thread(target=run) for _ in range(2)]
    threads[0].start()
    assert begun.wait(10.0)
    threads[1].start()
    go_on.set()
    for thread in threads:
        thread.join(10.0)
    assert gpu.calls.count("build") == 1
    assert sorted(text.split()[0] for text in details) == ["built", "from"]
