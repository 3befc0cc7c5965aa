# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""An engine from an ONNX file. What a version of TensorRT can is asked of it, not of its number."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOrder:
    """What shall be built.

    Attributes:
        file: The ONNX file, for messages.
        model: Its content; weights outside of it are refused, for no hash covers them.
        precision: Among `PRECISIONS`.
        inputs: Sizes of open axes, by input.
        workspace_mib: Limit of the layers' memory, MiB; None for TensorRT's own.
    """

    file: Path
    model: bytes
    precision: str
    inputs: Mapping[str, TensorSpec]
    workspace_mib: int | None


class Build:
    """One build: parse, configure, compile."""

    def __init__(self, trt: Any, trt_log: TensorRtLog, order: BuildOrder) -> None:
        """Parse the model.

        Raises:
            BackendError: TensorRT does not start, cannot parse the model, or would not make the
                precision of it; or some weights are in a second file.
        """
        self._trt, self._trt_log, self._order = trt, trt_log, order
        self._builder = trt_log.made(trt.Builder)
        self._network = self._builder.create_network(self._network_flags())
        require_whole(order.file, order.model)  # the parser would read second files
        parser = trt_log.made(trt.OnnxParser, self._network)
        if not parser.parse(order.model):
            said = [parser.get_error(place).desc() for place in range(parser.num_errors)]
            raise BackendError(
                f"{order.file}: expected an ONNX model that TensorRT "
                f"{trt.__version__} parses, found: "
                f"{' | '.join(said) or 'no reason given'}{trt_log.reasons()}"
            )
        self._parser = parser  # owns weights of the network
        self._check_precision()
        self._config = self._configured()

    def run(self, timing: bytes) -> tuple[bytes, bytes]:
        """Build; return the plan, and the timings that make the next build faster.

        Args:
            timing: Timings of earlier builds; empty where there are none.

        Raises:
            BackendError: There is no plan.
        """
        self._use_timings(timing)
        self._trt_log.forget()
        with _progress(self._order.file):
            plan = self._builder.build_serialized_network(self._network, self._config)
        if plan is None:
            raise BackendError(
                f"{self._order.file}: TensorRT {self._trt.__version__} builds no "
                f"{self._order.precision} engine from it{self._trt_log.reasons()}"
            )
        return bytes(plan), bytes(self._config.get_timing_cache().serialize())

    @property
    def _typed(self) -> bool:
        """Whether precision can only be that of the model: there is no flag to ask for another."""
        return not hasattr(self._trt.BuilderFlag, "FP16")

    def _network_flags(self) -> int:
        """Return those of old: where precision has no flags, networks are typed without asking."""
        known = self._trt.NetworkDefinitionCreationFlag
        return 1 << int(known.EXPLICIT_BATCH) if hasattr(known, "EXPLICIT_BATCH") else 0

    def _check_precision(self) -> None:
        """Raise unless the engine would have the precision that the contract states."""
        layers = [self._network.get_layer(place) for place in range(self._network.num_layers)]
        precision = self._order.precision
        if precision == "int8" and not any(
            layer.type == self._trt.LayerType.QUANTIZE for layer in layers
        ):
            raise self._other_model("with QuantizeLinear and DequantizeLinear, symmetric in int8")
        half = self._trt.DataType.HALF
        if (
            precision == "fp16"
            and self._typed
            and not any(
                layer.get_output(place).dtype == half
                for layer in layers
                for place in range(layer.num_outputs)
            )
        ):
            raise self._other_model("in float16, since this TensorRT takes precision from it")

    def _other_model(self, expected: str) -> BackendError:
        return BackendError(
            f"{self._order.file}: expected a model {expected}, found none such; "
            "make it with `model_tools compile tensorrt --precision "
            f"{self._order.precision}`"
        )

    def _configured(self) -> Any:
        config, flags = self._builder.create_builder_config(), self._trt.BuilderFlag
        flag = {"fp16": "FP16", "int8": "INT8"}.get(self._order.precision, "")
        if hasattr(flags, flag):
            config.set_flag(getattr(flags, flag))
        if self._order.precision == "fp32":
            config.clear_flag(flags.TF32)  # which would round factors to 10 bits
        if self._order.workspace_mib is not None:
            self._limit_workspace(config, self._order.workspace_mib * _MIB)
        self._add_profile(config)
        return config

    def _limit_workspace(self, config: Any, size: int) -> None:
        if hasattr(config, "set_memory_pool_limit"):
            config.set_memory_pool_limit(self._trt.MemoryPoolType.WORKSPACE, size)
        else:
            config.max_workspace_size = size

    def _add_profile(self, config: Any) -> None:
        """Fix the open axes of inputs to the contract's sizes: one profile, one shape."""
        tensors = [self._network.get_input(place) for place in range(self._network.num_inputs)]
        dynamic = {tensor.name: tuple(tensor.shape) for tensor in tensors if -1 in tensor.shape}
        if not dynamic:
            return
        profile = self._builder.create_optimization_profile()
        for name, shape in dynamic.items():
            size = self._size(name, shape)
            profile.set_shape(name, size, size, size)
        if config.add_optimization_profile(profile) < 0:
            raise BackendError(
                f"{self._order.file}: TensorRT refuses the sizes of "
                f"{', '.join(dynamic)}{self._trt_log.reasons()}"
            )

    def _size(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        spec = self._order.inputs.get(name)
        if spec is None or len(spec.shape) != len(shape):
            raise BackendError(
                f"{self._order.file}: input {name}: expected a size for its open "
                f"axes {list(shape)} in policy.yaml, found {spec or 'none'}"
            )
        return spec.shape

    def _use_timings(self, timing: bytes) -> None:
        cache = self._config.create_timing_cache(timing)
        if cache is None or not self._config.set_timing_cache(cache, False):
            _log.info("timings of earlier builds are of another machine; measuring again")
            self._config.set_timing_cache(self._config.create_timing_cache(b""), False)


@contextmanager
def _progress(file: Path) -> Iterator[None]:
    """Log that a build goes on, as long as it does."""
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
