# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The conformance cases of the back end `tensorrt`: against its double in every flavour."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx

from policy_inference.backends.tensorrt.backend import TensorRtBackend
from policy_inference.backends.tensorrt.cache import cache_folder
from policy_inference.interfaces import TensorSpec

from ..case import BackendCase
from . import machine

BUILDING = partial(TensorRtBackend, options={"build": "yes"})


def _case(flavour: str, cuda: str) -> BackendCase:
    wide = ("float32", "int32", "int64") if flavour[0] == "1" else ("float32", "int32")
    return BackendCase(load=lambda: BUILDING, package="tensorrt", dtypes=wide,
                       prepare=partial(machine.install, flavour=flavour, cuda=cuda))


def built_plan(model: Path) -> Path:
    """Build a plan from an ONNX file, and put it with its JSON beside that."""
    graph = onnx.load(str(model)).graph

    def specs(values: list[onnx.ValueInfoProto]) -> list[TensorSpec]:
        found = [(v.name, v.type.tensor_type) for v in values]
        return [TensorSpec(
            name=name, shape=tuple(axis.dim_value or 1 for axis in kind.shape.dim),
            dtype=np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)).name,
        ) for name, kind in found]

    before = set(cache_folder().glob("*.plan"))
    BUILDING(model, specs(list(graph.input)), specs(list(graph.output))).close()
    (plan,) = set(cache_folder().glob("*.plan")) - before or before
    place = model.with_suffix(".plan")
    place.write_bytes(plan.read_bytes())
    place.with_name(f"{place.name}.json").write_bytes(
        plan.with_name(f"{plan.name}.json").read_bytes())
    return place


TENSORRT = _case("10.3", "cuda-python")
MORE = {
    "tensorrt 8.5, pycuda": _case("8.5", "pycuda"),
    "tensorrt 8.6, cuda-python of old": _case("8.6", "cuda-python of old"),
    "tensorrt 10.16": _case("10.16", "cuda-python"),
    "tensorrt 11.4": _case("11.4", "cuda-python"),
    "tensorrt, own plan": replace(TENSORRT, load=lambda: TensorRtBackend, compile=built_plan),
}
