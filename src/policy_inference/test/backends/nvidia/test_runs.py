# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""How a run goes: page-locked arrays, CUDA graphs, and threads that come and go."""

import gc
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from policy_core.errors import BackendError
from policy_core.interfaces import Tensor, TensorSpec
from policy_inference.backends.tensorrt.backend import TensorRtBackend
from policy_inference.testing.case import ACTIONS, OBS, assert_close, reference
from policy_inference.testing.models import save
from testkit.wording import check_wording, refusal

from .cases import built_plan
from .conftest import FROM_CACHE, Install, Open
from .gpu import Gpu


def test_page_locked_memory_is_freed_with_its_arrays(install_gpu: Install, linear: Path) -> None:
    gpu = install_gpu()
    backend = TensorRtBackend(linear, [OBS], [ACTIONS], options={"build": "yes"})
    outputs = backend.outputs["actions"]
    backend.close()
    del backend
    gc.collect()
    assert len(gpu.pinned) == 1
    del outputs
    gc.collect()
    assert not gpu.pinned


GRAPH = ["cudaGraphLaunch", "cudaStreamSynchronize"]
STREAM = ["cudaMemcpyAsync", "execute_async_v3", "cudaMemcpyAsync", "cudaStreamSynchronize"]


@pytest.mark.parametrize(("choice", "calls"), [("auto", GRAPH), ("yes", GRAPH), ("no", STREAM)])
def test_a_run_is_one_recorded_graph_or_is_put_into_the_stream(
    install_gpu: Install, open_trt: Open, choice: str, calls: list[str]
) -> None:
    gpu = install_gpu()
    backend = open_trt(cuda_graph=choice)
    gpu.calls.clear()
    backend.run()
    assert gpu.calls == calls
    assert backend.details["cuda_graph"] == ("no" if choice == "no" else "yes")


@pytest.mark.parametrize("graph", ["yes", "no"])
def test_nothing_of_tensorrt_outlives_close(
    install_gpu: Install, open_trt: Open, graph: str
) -> None:
    gpu = install_gpu()
    backend = open_trt(cuda_graph=graph)
    assert len(gpu.engines) == 2
    backend.close()
    assert not gpu.engines


def save_instance_norm(file: Path) -> Path:
    """Save actions[1, 3, 1] = obs[1, 3, 1], normalised over its last axis: one plugin."""
    nodes = [helper.make_node("InstanceNormalization", ["obs", "scale", "bias"], ["actions"])]
    return save(
        file,
        nodes,
        {"obs": (1, 3, 1)},
        {"actions": (1, 3, 1)},
        constants={"scale": np.ones(3, np.float32), "bias": np.zeros(3, np.float32)},
    )


def test_operators_that_are_plugins_of_tensorrt_are_built_and_loaded(
    install_gpu: Install, open_trt: Open, tmp_path: Path
) -> None:
    file = save_instance_norm(tmp_path / "normalised.onnx")
    tensors = [[TensorSpec(name=name, shape=(1, 3, 1))] for name in ("obs", "actions")]
    install_gpu()
    open_trt(file, inputs=tensors[0], outputs=tensors[1]).close()
    install_gpu()  # another process
    backend = open_trt(file, inputs=tensors[0], outputs=tensors[1], build="no")
    assert backend.details["engine"] == FROM_CACHE


FAULTS = {
    "cudaStreamBeginCapture": "cudaErrorStreamCaptureUnsupported",
    "cudaStreamEndCapture": "cudaErrorStreamCaptureInvalidated",
    "cudaGraphInstantiateWithFlags": "cudaErrorMemoryAllocation",
}


@pytest.mark.parametrize("call", FAULTS)
def test_a_graph_that_cannot_be_recorded_is_reported_and_done_without_unless_it_was_asked_for(
    install_gpu: Install, open_trt: Open, linear: Path, call: str, caplog: pytest.LogCaptureFixture
) -> None:
    install_gpu().failing[call] = FAULTS[call]
    with refusal(BackendError):
        open_trt(cuda_graph="yes")
    with caplog.at_level(logging.INFO, "policy_inference"):
        backend = open_trt()
    backend.inputs["obs"][:] = 1.0
    backend.run()
    assert_close(backend.outputs, reference(linear, backend.inputs), 0.0)
    check_wording(caplog.messages[-1])
    assert call in backend.details["cuda_graph"]


def test_arrays_of_the_caller_are_used_where_they_are_given(
    install_gpu: Install, linear: Path
) -> None:
    """As those that two processes share."""
    gpu = install_gpu()
    block: dict[str, Tensor] = {}

    def place(spec: TensorSpec) -> Tensor:
        _, owner = gpu.pin(4 * spec.shape[1])
        array: Tensor = np.frombuffer(memoryview(owner), np.float32).reshape(spec.shape)
        array.fill(0)
        return block.setdefault(spec.name, array)

    backend = TensorRtBackend(linear, [OBS], [ACTIONS], options={"build": "yes"}, place=place)
    block["obs"][:] = 1.0
    backend.run()
    backend.close()
    assert_close({"actions": block["actions"]}, reference(linear, {"obs": block["obs"]}), 0.0)


class Broken:
    """Stands in `sys.meta_path`: a package whose libraries are missing."""

    def __init__(self, package: str, library: str) -> None:
        self._package, self._library = package, library

    def find_spec(self, name: str, *_: object) -> None:
        if name == self._package:
            raise ImportError(f"{self._library}: cannot open shared object file")


@pytest.mark.parametrize(
    ("package", "library"),
    [("tensorrt", "libnvonnxparser.so.11"), ("cuda.bindings.runtime", "libcuda.so.1")],
)
def test_missing_libraries_are_distinguished_from_a_missing_package(
    install_gpu: Install,
    open_trt: Open,
    monkeypatch: pytest.MonkeyPatch,
    package: str,
    library: str,
) -> None:
    """As in a container without the NVIDIA runtime."""
    install_gpu()
    monkeypatch.delitem(sys.modules, package)
    if package.startswith("cuda"):
        monkeypatch.delattr(sys.modules["cuda.bindings"], "runtime")
    monkeypatch.setattr(sys, "meta_path", [Broken(package, library), *sys.meta_path])
    with refusal(BackendError):
        open_trt()


@pytest.mark.parametrize(
    ("installed", "failing"),
    [
        ({"cuda": "none"}, {}),
        ({"broken": True}, {}),
        ({"cuda": "cuda-python"}, {"*": "cudaErrorInsufficientDriver"}),
        ({"cuda": "cuda-python of old"}, {"*": "cudaErrorInsufficientDriver"}),
        ({"cuda": "cuda-python"}, {"cudaMalloc": "cudaErrorMemoryAllocation"}),
        ({}, {"context": "Requested amount of GPU memory could not be allocated"}),
        ({}, {"location": "host"}),
    ],
    ids=str,
)
def test_what_prevents_opening_is_named_and_nothing_is_left(
    install_gpu: Install, open_trt: Open, installed: dict[str, Any], failing: dict[str, str]
) -> None:
    gpu = install_gpu(**installed)
    gpu.failing.update(failing)
    with refusal(BackendError):
        open_trt()
    assert not gpu.memory


@pytest.mark.parametrize(
    "options",
    [
        {"build": "maybe"},
        {"cuda_graph": "on"},
        *({"workspace_mib": value} for value in ("0", "1.5")),
        {"fast": "yes"},
    ],
    ids=str,
)
def test_options_that_are_none_are_refused(
    install_gpu: Install, open_trt: Open, options: dict[str, str]
) -> None:
    install_gpu()
    with refusal(BackendError):
        open_trt(**options)


@pytest.mark.parametrize(
    ("gpu", "flavour"),
    [(Gpu(), "8.6"), (Gpu(name="Thor", capability=(11, 0)), "10.3")],
    ids=["TensorRT", "GPU"],
)
def test_a_plan_of_another_machine_is_refused_before_the_runtime_sees_it(
    install_gpu: Install, open_trt: Open, linear: Path, gpu: Gpu, flavour: str
) -> None:
    install_gpu()
    plan = built_plan(linear)
    install_gpu(flavour, gpu=gpu)
    with refusal(BackendError):
        open_trt(plan)


def test_a_plan_that_the_runtime_refuses_all_the_same_is_reported_with_its_words(
    install_gpu: Install, open_trt: Open, linear: Path
) -> None:
    install_gpu("8.6")
    plan = built_plan(linear)
    told = plan.with_name(f"{plan.name}.json")
    gpu = install_gpu()
    told.write_text(told.read_text("utf-8").replace('"8.6.2.3"', '"10.3.0"'), "utf-8")
    with refusal(BackendError):
        open_trt(plan)
    assert not gpu.memory


def test_a_file_of_another_kind_or_a_plan_without_its_json_is_refused(
    install_gpu: Install, open_trt: Open, linear: Path
) -> None:
    install_gpu()
    linear.with_suffix(".pt").touch()
    with refusal(BackendError):
        open_trt(linear.with_suffix(".pt"))
    plan = built_plan(linear)
    plan.with_name(f"{plan.name}.json").unlink()
    with refusal(BackendError):
        open_trt(plan)
