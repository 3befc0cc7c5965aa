# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A machine with a GPU, TensorRT and a CUDA package, put in the place of those that are missing."""

import sys
from types import ModuleType

import pytest

from . import cuda_double
from .flavours import FLAVOURS
from .gpu import Gpu
from .tensorrt_double import tensorrt

CUDA_MODULES = ("cuda", "cuda.bindings", "cuda.bindings.runtime")


def put_doubles(
    monkeypatch: pytest.MonkeyPatch,
    flavour: str = "10.3",
    cuda: str = "cuda-python",
    gpu: Gpu | None = None,
    *,
    broken: bool = False,
) -> Gpu:
    """Put doubles into `sys.modules`.

    Args:
        monkeypatch: Undoes it.
        flavour: Of TensorRT.
        cuda: `cuda-python`, `cuda-python of old` or `none`.
        gpu: The GPU; a new one if absent.
        broken: Whether TensorRT's library does not start.
    """
    gpu = gpu or Gpu()
    modules: dict[str, ModuleType | None] = dict.fromkeys(CUDA_MODULES)
    modules.update(_cuda(cuda, gpu))
    modules["tensorrt"] = tensorrt(FLAVOURS[flavour], gpu, broken=broken)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return gpu


def _cuda(kind: str, gpu: Gpu) -> dict[str, ModuleType]:
    if kind == "none":
        return {}
    cuda, bindings = ModuleType("cuda"), ModuleType("cuda.bindings")
    runtime = cuda_double.cuda_python(gpu, old=kind == "cuda-python of old")
    cuda.__path__, bindings.__path__ = [], []
    vars(bindings)["runtime"] = runtime
    vars(cuda)["bindings"] = bindings
    return {"cuda": cuda, "cuda.bindings": bindings, "cuda.bindings.runtime": runtime}
