# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The conformance cases of the back end `tensorrt`: against its double in every flavour."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest

from policy_core.interfaces import TensorSpec
from policy_inference.backends.tensorrt.backend import TensorRtBackend
from policy_inference.backends.tensorrt.cache import cache_folder
from policy_inference.testing.case import BackendCase

from . import machine
from .gpu import CudaError, Gpu

BUILDING = partial(TensorRtBackend, options={"build": "yes"})


def _failing(monkeypatch: pytest.MonkeyPatch, code: str, call: str = "") -> None:
    """Let every call, or one, give this error."""
    work = Gpu.enter

    def enter(gpu: Gpu, name: str) -> None:
        if name == (call or name):
            raise CudaError(code)
        work(gpu, name)

    monkeypatch.setattr(Gpu, "enter", enter)


_LOST = partial(_failing, code="cudaErrorLaunchFailure")
_NO_GPU = {"; no GPU is visible": partial(_failing, code="cudaErrorNoDevice")}
_NO_DRIVER = {"; there is no CUDA driver": partial(_failing, code="cudaErrorInsufficientDriver")}


def _case(flavour: str, cuda: str) -> BackendCase:
    wide = ("float32", "int32", "int64") if flavour[0] == "1" else ("float32", "int32")
    return BackendCase(
        name="tensorrt",
        backend=TensorRtBackend,
        package="tensorrt",
        options={"build": "yes"},
        reads_tensors=True,
        prepare=partial(machine.put_doubles, flavour=flavour, cuda=cuda),
        dtypes=wide,
        without_device={**_NO_GPU, **_NO_DRIVER},
        failing_runs={"every CUDA call gives an error": _LOST},
        failing_close=_LOST,
    )


def built_plan(model: Path) -> Path:
    """Build a plan from an ONNX file, and put it with its JSON beside that."""
    graph = onnx.load(str(model)).graph

    def specs(values: list[onnx.ValueInfoProto]) -> list[TensorSpec]:
        found = [(v.name, v.type.tensor_type) for v in values]
        return [
            TensorSpec(
                name=name,
                shape=tuple(axis.dim_value or 1 for axis in kind.shape.dim),
                dtype=np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)).name,
            )
            for name, kind in found
        ]

    before = set(cache_folder().glob("*.plan"))
    BUILDING(model, specs(list(graph.input)), specs(list(graph.output))).close()
    (plan,) = set(cache_folder().glob("*.plan")) - before or before
    place = model.with_suffix(".plan")
    place.write_bytes(plan.read_bytes())
    place.with_name(f"{place.name}.json").write_bytes(
        plan.with_name(f"{plan.name}.json").read_bytes()
    )
    return place


TENSORRT = _case("10.3", "cuda-python")
_JETPACK_6 = _case("8.6", "cuda-python of old")
MORE = {
    # Without CUDA graphs, so that each run asks TensorRT.
    "tensorrt 8.6, cuda-python of old": replace(
        _JETPACK_6,
        options={"build": "yes", "cuda_graph": "no"},
        failing_runs={**_JETPACK_6.failing_runs, "False": partial(_LOST, call="execute_async_v3")},
    ),
    "tensorrt 11.4": _case("11.4", "cuda-python"),
    "tensorrt, own plan": replace(
        TENSORRT, options={}, compile=built_plan, reads_tensors=False, other_precision="fp16"
    ),
}
