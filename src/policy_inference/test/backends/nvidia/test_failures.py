# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with TensorRT and CUDA, one sentence each: cause and remedy."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import pytest

from policy_inference.errors import BackendError
from policy_inference.interfaces import TensorSpec
from policy_inference.testing.models import save_sum

from .cases import built_plan
from .conftest import Install, Open
from .gpu import Gpu

CUDAS = ("cuda-python", "pycuda")


class Broken:
    """Stands in `sys.meta_path`: a package whose libraries are missing."""

    def __init__(self, package: str, library: str) -> None:
        self._package, self._library = package, library

    def find_spec(self, name: str, *_: object) -> None:
        if name == self._package:
            raise ImportError(f"{self._library}: cannot open shared object file")


def test_missing_libraries_are_distinguished_from_a_missing_package(
    install: Install, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    install()
    monkeypatch.delitem(sys.modules, "tensorrt")
    broken = Broken("tensorrt", "libnvonnxparser.so.11")
    monkeypatch.setattr(sys, "meta_path", [broken, *sys.meta_path])

    with pytest.raises(
        BackendError,
        match="tensorrt: the Python package is there, its libraries "
        r"are not: libnvonnxparser.so.11.*; install those",
    ):
        opened()


def test_a_missing_package_names_what_to_install(
    install: Install, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    install()
    monkeypatch.setitem(sys.modules, "tensorrt", None)

    with pytest.raises(
        BackendError,
        match=r"apt install python3-libnvinfer.*--system-site-packages"
        r".*pip install tensorrt",
    ):
        opened()


def test_missing_cuda_packages_are_named_for_each_jetpack(install: Install, opened: Open) -> None:
    install(cuda="none")

    with pytest.raises(
        BackendError,
        match=r"expected cuda-python or pycuda, found neither .*"
        r"JetPack 5 `pip install pycuda`, .*, JetPack 6 ",
    ):
        opened()


def test_a_cuda_package_that_does_not_load_is_distinguished_from_a_missing_one(
    install: Install, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pycuda in a container without the NVIDIA runtime."""
    install(cuda="none")
    for name in ("pycuda", "pycuda.driver"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Broken("pycuda", "libcuda.so.1"), *sys.meta_path])

    with pytest.raises(
        BackendError,
        match=r"for CUDA is there, and does not load: libcuda.so.1: .*"
        r"; without libcuda.so there is no driver",
    ):
        opened()


@pytest.mark.parametrize(
    ("cuda", "code", "remedy"),
    [
        (
            "cuda-python",
            "cudaErrorInsufficientDriver",
            "no CUDA driver is there, or one older than this CUDA package",
        ),
        (
            "cuda-python of old",
            "cudaErrorInsufficientDriver",
            "no CUDA driver is there, or one older than this CUDA package",
        ),
        ("cuda-python", "cudaErrorNoDevice", "no GPU is visible; check CUDA_VISIBLE_DEVICES"),
        ("pycuda", "cudaErrorNoDevice", "no GPU is visible; check CUDA_VISIBLE_DEVICES"),
    ],
)
def test_a_missing_driver_or_gpu_is_named(
    install: Install, opened: Open, cuda: str, code: str, remedy: str
) -> None:
    gpu = install(cuda=cuda)
    gpu.failing["*"] = code

    with pytest.raises(BackendError, match=rf"\({code}\); {remedy}"):
        opened()


def test_a_pycuda_of_old_is_refused(install: Install, opened: Open) -> None:
    install(cuda="pycuda of old")

    with pytest.raises(BackendError, match=r"expected pycuda 2020.1 or newer"):
        opened()


def test_a_library_that_does_not_start_is_reported_with_its_own_words(
    install: Install, opened: Open
) -> None:
    install(broken=True)

    with pytest.raises(
        BackendError,
        match=r"the library does not start \(pybind11::init.*\), as "
        "without a working CUDA driver; .*; TensorRT says: CUDA "
        "initialization failure with error: 35",
    ):
        opened()


@pytest.mark.parametrize(
    ("cuda", "calls"),
    [
        ("cuda-python", ("cudaMalloc", "cudaHostAlloc")),
        ("pycuda", ("cuMemAlloc", "cuMemHostAlloc")),
    ],
)
def test_full_memory_is_said(
    install: Install, opened: Open, cuda: str, calls: tuple[str, ...]
) -> None:
    for call in calls:
        gpu = install(cuda=cuda)
        gpu.failing[call] = "cudaErrorMemoryAllocation"

        with pytest.raises(
            BackendError,
            match=rf"tensorrt: {call}: out of memory "
            r"\(cudaErrorMemoryAllocation\); memory is full",
        ):
            opened()
        assert not gpu.memory
        assert not any(gpu.contexts.values())


def test_no_memory_for_a_context_is_said(install: Install, opened: Open) -> None:
    gpu = install()
    gpu.failing["context"] = "Requested amount of GPU memory could not be allocated"

    with pytest.raises(
        BackendError,
        match=r"create_execution_context gave none: memory is full; .*"
        r"; TensorRT says: Requested amount of GPU memory",
    ):
        opened()


@pytest.mark.parametrize(
    ("cuda", "call"), [("cuda-python", "cudaStreamSynchronize"), ("pycuda", "cuStreamSynchronize")]
)
def test_a_gpu_that_is_lost_is_an_error_of_the_run(
    install: Install, opened: Open, cuda: str, call: str, caplog: pytest.LogCaptureFixture
) -> None:
    gpu = install(cuda=cuda)
    backend = opened()
    gpu.failing["kernel"] = "cudaErrorLaunchFailure"

    with pytest.raises(
        BackendError,
        match=f"tensorrt: {call}: unspecified launch failure .*; after"
        " most such errors the process cannot use the GPU any more",
    ):
        backend.run()
    gpu.failing["*"] = "cudaErrorLaunchFailure"
    with caplog.at_level(logging.WARNING, "policy_inference"):
        backend.close()

    assert "while closing: tensorrt: cu" in caplog.text


@pytest.mark.parametrize("cuda", CUDAS)
def test_a_run_that_cannot_be_enqueued_is_reported_with_tensorrts_words(
    install: Install, opened: Open, linear: Path, cuda: str
) -> None:
    gpu = install(cuda=cuda)
    backend = opened(cuda_graph="no")
    gpu.failing["execute_async_v3"] = "cudaErrorLaunchFailure"

    with pytest.raises(
        BackendError,
        match=rf"tensorrt: {linear}: execute_async_v3 failed; TensorRT"
        r" says: Cuda Runtime \(cudaErrorLaunchFailure\)",
    ):
        backend.run()
    del gpu.failing["execute_async_v3"]
    backend.run()


def test_shape_tensors_are_refused(install: Install, opened: Open) -> None:
    gpu = install()
    gpu.failing["location"] = "host"

    with pytest.raises(BackendError, match="tensor obs: expected numbers, found a shape"):
        opened()


def test_a_type_that_an_older_version_narrows_is_named(
    install: Install, opened: Open, tmp_path: Path
) -> None:
    """Up to 8.6 there is no int64: the parser casts, and the engine takes int32."""
    install("8.6")
    file = save_sum(tmp_path / "steps.onnx", {"step": "int64"}, size=3)

    with pytest.raises(
        BackendError,
        match=r"step: expected step int64\[1, 3\] as in policy.yaml, "
        r"found step int32\[1, 3\]",
    ):
        opened(file, inputs=[TensorSpec(name="step", shape=(1, 3), dtype="int64")])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"build": "maybe"}, "option build: expected no or yes, found 'maybe'"),
        ({"cuda_graph": "on"}, "option cuda_graph: expected auto, yes or no, found 'on'"),
        *(
            ({"workspace_mib": value}, f"option workspace_mib: .* above 0, found '{value}'")
            for value in ("0", "-1", "1.5", "much", "", "²")
        ),
        ({"fast": "yes"}, "expected options among build, workspace_mib, cuda_graph, found fast"),
    ],
)
def test_options_that_are_none_are_refused(
    install: Install, opened: Open, options: dict[str, str], message: str
) -> None:
    install()

    with pytest.raises(BackendError, match=message):
        opened(**options)


def test_a_file_of_another_kind_is_refused(install: Install, opened: Open, tmp_path: Path) -> None:
    install()
    file = tmp_path / "policy.pt"
    file.touch()

    with pytest.raises(BackendError, match=r"ends with .onnx, .plan or .engine, found '.pt'"):
        opened(file)


@pytest.mark.parametrize(
    ("gpu", "flavour", "found"),
    [
        (Gpu(), "8.6", r"TensorRT 10.3.0 \(here 8.6.2.3\)"),
        (
            Gpu(name="Thor", capability=(11, 0)),
            "10.3",
            r"GPU Orin \(here Thor\), compute capability 8.7 \(here 11.0\)",
        ),
    ],
)
def test_a_plan_of_another_machine_is_refused_before_the_runtime_sees_it(
    install: Install, opened: Open, linear: Path, gpu: Gpu, flavour: str, found: str
) -> None:
    install()
    plan = built_plan(linear)
    install(flavour, gpu=gpu)

    with pytest.raises(
        BackendError,
        match=rf"{plan}: expected a plan for this machine, found one "
        rf"that was built for {found}; compile it again here",
    ):
        opened(plan)


@pytest.mark.parametrize(
    ("built_with", "capability", "lie", "said"),
    [
        (
            "10.3",
            (8, 6),
            ('"8.7"', '"8.6"'),
            "engine plan file is generated on an incompatible device",
        ),
        (
            "8.6",
            (8, 7),
            ('"8.6.2.3"', '"10.3.0"'),
            "Serialization assertion .* Version tag does not",
        ),
    ],
)
def test_a_plan_that_the_runtime_refuses_all_the_same_is_reported_with_its_words(
    install: Install,
    opened: Open,
    linear: Path,
    built_with: str,
    capability: tuple[int, int],
    lie: tuple[str, str],
    said: str,
) -> None:
    install(built_with)
    plan = built_plan(linear)
    told = plan.with_name(f"{plan.name}.json")
    gpu = install(gpu=Gpu(capability=capability))
    told.write_text(told.read_text("utf-8").replace(*lie), "utf-8")

    with pytest.raises(
        BackendError,
        match=f"{plan}: expected a plan that TensorRT 10.3.0 loads on "
        f"this GPU, found none such; TensorRT says: {said}",
    ):
        opened(plan)
    assert not gpu.memory


def test_a_plan_without_its_json_is_refused(install: Install, opened: Open, linear: Path) -> None:
    install()
    plan = built_plan(linear)
    plan.with_name(f"{plan.name}.json").unlink()

    with pytest.raises(
        BackendError,
        match=r"expected linear.plan.json beside it, which says what "
        "the plan was built for",
    ):
        opened(plan)


def test_a_plan_of_another_precision_than_the_contract_states_is_refused(
    install: Install, opened: Open, linear: Path
) -> None:
    install()
    plan = built_plan(linear)

    with pytest.raises(BackendError, match=r"expected fp16 as in policy.yaml, found fp32"):
        opened(plan, "fp16")


def test_outputs_can_be_read_after_close(install: Install, opened: Open) -> None:
    """Page-locked memory that went away under an array would end the process."""
    gpu = install()
    backend = opened()
    backend.inputs["obs"][:] = 1.0
    backend.run()
    outputs = backend.outputs["actions"]

    backend.close()

    assert np.isfinite(outputs).all()
    assert not gpu.memory
    assert not gpu.streams
    assert gpu.calls.count("cudaGraphExecDestroy") == 1
