# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""TensorRT: an ONNX model with its precision, from which each machine builds its own engine.

An engine depends on its GPU and TensorRT version, so bundles contain no engines. TensorRT 11 takes
precision only from the model; older versions can do so too.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping

import onnxruntime

from model_tools.errors import ToolError
from model_tools.ship.compilers.compiler import MORE_SAMPLES, CompileOrder, Made
from model_tools.ship.compilers.onnx import quantise, refusals_named, write_fp16
from policy_inference.backends.onnx import OnnxBackend
from policy_inference.backends.tensorrt.backend import TensorRtBackend

_CHOICES = ("no", "yes")


class TensorRtCompiler:
    """Makes models for the `tensorrt` back end."""

    # Not the suffix of the `onnx` back end, whose file in the same precision is a different one.
    backend, suffix = "tensorrt", ".tensorrt.onnx"
    precisions: Mapping[str, bool] = {"fp32": False, "fp16": False, "int8": True}
    targets: tuple[str, ...] = ()
    options: Mapping[str, str] = {
        "build": "yes or no (default): also build an engine on this machine, into its "
        "cache, which proves that TensorRT accepts the model"
    }
    remedies: Mapping[str, str] = {"int8": f"{MORE_SAMPLES}; or compile fp16"}

    def compile(self, order: CompileOrder) -> Made:
        """Write `order.output`, run it with ONNX Runtime, and build an engine if requested."""
        build = order.options.get("build", _CHOICES[0])
        if build not in _CHOICES:
            raise ToolError(
                f"tensorrt: option build: expected {' or '.join(_CHOICES)}, found {build!r}"
            )
        how = _written(order)
        OnnxBackend(order.output, order.inputs, order.outputs).close()
        tried = f", tried with {_built(order)}" if build == "yes" else ""
        return Made(
            tool=f"onnxruntime {onnxruntime.__version__}",
            how=f"portable ONNX, from which each machine builds its own engine{tried}; {how}",
        )


def _written(order: CompileOrder) -> str:
    with refusals_named(order):
        if order.samples is not None:
            # TensorRT's parser accepts no unsigned integers, no int32 biases, and up to 8.x no int8
            # weights.
            return quantise(order.model, order.output, order.samples, signed=True)
        if order.precision == "fp16":
            return write_fp16(order.model, order.output)
        shutil.copyfile(order.model, order.output)
    return "the reference model as it is"


def _built(order: CompileOrder) -> str:
    backend = TensorRtBackend(
        order.output,
        order.inputs,
        order.outputs,
        precision=order.precision,
        options={"build": "yes"},
    )
    try:
        return f"{backend.details['runtime']} on {backend.details['device']}"
    finally:
        backend.close()
