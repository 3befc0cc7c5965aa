# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Build an engine from an ONNX file, checking for TensorRT's features rather than its version."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from policy_core.errors import BackendError
from policy_core.interfaces import TensorSpec
from policy_core.onnx_file import require_whole
from policy_inference.backends.tensorrt.library import TensorRtLog

_log = logging.getLogger("policy_inference")
PRECISIONS = ("fp32", "fp16", "int8")
_PROGRESS_EVERY_S = 10.0
_MIB = 1 << 20


def build_plan(
    trt: Any,
    trt_log: TensorRtLog,
    file: Path,
    model: bytes,
    precision: str,
    inputs: Sequence[TensorSpec],
    workspace_mib: int | None,
) -> bytes:
    """Parse, configure and compile a model.

    Args:
        trt: The `tensorrt` module.
        trt_log: Logger for TensorRT.
        file: The ONNX file, as named in messages.
        model: Content of the file; external weights are rejected, since no hash covers them.
        precision: One of `PRECISIONS`.
        inputs: Inputs, as specified in the contract, with the sizes to use for dynamic axes.
        workspace_mib: Memory limit for the layers, MiB; None for TensorRT's own limit.

    Raises:
        BackendError: TensorRT does not start, cannot parse the model, does not support the
            precision, or the build fails; or some weights are external.
    """
    builder = trt_log.made(trt.Builder)
    # A TensorRT without precision flags always creates strongly typed networks.
    known = trt.NetworkDefinitionCreationFlag
    flags = 1 << int(known.EXPLICIT_BATCH) if hasattr(known, "EXPLICIT_BATCH") else 0
    network = builder.create_network(flags)
    require_whole(file, model)  # the parser would read external files
    parser = trt_log.made(trt.OnnxParser, network)  # owns the network's weights
    if not parser.parse(model):
        said = [parser.get_error(place).desc() for place in range(parser.num_errors)]
        raise BackendError(
            f"{file}: expected an ONNX model that TensorRT {trt.__version__} parses, found: "
            f"{' | '.join(said) or 'no reason given'}{trt_log.reasons()}"
        )
    if expected := _other_model(trt, network, precision):
        raise BackendError(
            f"{file}: expected a model {expected}, found a different model; make it with "
            f"`model_tools compile tensorrt --precision {precision}`"
        )
    config = builder.create_builder_config()
    flag = {"fp16": "FP16", "int8": "INT8"}.get(precision, "")
    if hasattr(trt.BuilderFlag, flag):
        config.set_flag(getattr(trt.BuilderFlag, flag))
    if precision == "fp32":
        config.clear_flag(trt.BuilderFlag.TF32)  # TF32 would round factors to 10 bits
    if workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_mib * _MIB)
    if dynamic := _sizes(file, network, inputs):
        profile = builder.create_optimization_profile()
        for name, size in dynamic.items():
            profile.set_shape(name, size, size, size)
        if config.add_optimization_profile(profile) < 0:
            raise BackendError(
                f"{file}: TensorRT refuses the sizes of {', '.join(dynamic)}{trt_log.reasons()}"
            )
    trt_log.forget()
    with _progress(file):
        plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BackendError(
            f"{file}: TensorRT {trt.__version__} cannot build an engine in {precision} from this "
            f"file{trt_log.reasons()}"
        )
    return bytes(plan)


def _other_model(trt: Any, network: Any, precision: str) -> str:
    """Return the kind of model that this precision needs; "" if this model is suitable."""
    layers = [network.get_layer(place) for place in range(network.num_layers)]
    if precision == "int8" and all(layer.type != trt.LayerType.QUANTIZE for layer in layers):
        return "with QuantizeLinear and DequantizeLinear, symmetric in int8"
    # Without a flag, the precision can only be that of the model.
    if precision != "fp16" or hasattr(trt.BuilderFlag, "FP16"):
        return ""
    dtypes = {
        layer.get_output(place).dtype for layer in layers for place in range(layer.num_outputs)
    }
    if trt.DataType.HALF in dtypes:
        return ""
    return "in float16 (this TensorRT takes the precision from the model)"


def _sizes(file: Path, network: Any, inputs: Sequence[TensorSpec]) -> dict[str, tuple[int, ...]]:
    """Return the contract's sizes for inputs with dynamic axes: one profile, one shape."""
    stated, found = {spec.name: spec for spec in inputs}, dict[str, tuple[int, ...]]()
    for tensor in map(network.get_input, range(network.num_inputs)):
        shape, spec = tuple(tensor.shape), stated.get(tensor.name)
        if -1 not in shape:
            continue
        if spec is None or len(spec.shape) != len(shape):
            raise BackendError(
                f"{file}: input {tensor.name}: expected a size for its dynamic "
                f"axes {list(shape)} in policy.yaml, found {spec or 'none'}"
            )
        found[tensor.name] = spec.shape
    return found


@contextmanager
def _progress(file: Path) -> Iterator[None]:
    """Log periodically that a build is in progress."""
    done, began = threading.Event(), time.monotonic()

    def tell() -> None:
        while not done.wait(_PROGRESS_EVERY_S):
            _log.info("%s: still building the engine, %.0f s", file, time.monotonic() - began)

    teller = threading.Thread(target=tell, name="engine build", daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()
