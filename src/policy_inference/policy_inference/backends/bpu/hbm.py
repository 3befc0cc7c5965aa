# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`hbm_runtime`: for the RDK S100 and S600 (`.hbm`) and the RDK X5 since system 3.5.0 (`.bin`)."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from policy_core.bundle.contract import Artifact
from policy_core.errors import BackendError
from policy_inference.backends.bpu.examination import examine_bpu
from policy_inference.backends.bpu.pyeasy import PACKAGES, PyeasyBackend
from policy_inference.backends.bpu.runtime import (
    HBM_RUNTIME,
    PYEASY_DNN,
    BpuRuntime,
    vendor_module,
    version,
)
from policy_inference.backends.bpu.tensors import BpuTensor, InputCopy, Quantisation
from policy_inference.machine.machine import Finding, Machine

_DTYPES = {
    "S8": "int8",
    "U8": "uint8",
    "S16": "int16",
    "U16": "uint16",
    "S32": "int32",
    "U32": "uint32",
    "S64": "int64",
    "U64": "uint64",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
    "BOOL8": "bool",
}
_FLOATS = ("F16", "F32", "F64")
_log = logging.getLogger("policy_inference")


class BpuBackend(BpuRuntime):
    """Back end for `hbm_runtime`, which releases the GIL and pads inputs itself.

    The runtime runs inference on its own thread, where BPU errors are uncaught exceptions that end
    the process (as seen in the vendor's 0.1 source and wheel).
    """

    package = HBM_RUNTIME
    ends_process = True

    @classmethod
    def examine(cls, machine: Machine, artifact: Artifact | None) -> Sequence[Finding]:
        """Return findings about the board, the driver, the runtimes and the clocks."""
        return list(examine_bpu(machine, artifact))

    @classmethod
    def for_file(cls, file: Path, options: Mapping[str, str]) -> type[BpuRuntime]:
        """Return this class, or the class for `pyeasy_dnn`, which needs its own process.

        Only boards with the older runtime lack `hbm_runtime`, and they use `.bin` files. If neither
        runtime is installed, opening a file with this class raises an error with the remedy.

        Raises:
            BackendError: The `runtime` option names an unknown runtime.
        """
        wanted = options.get("runtime")
        if wanted not in (None, HBM_RUNTIME, PYEASY_DNN):
            raise BackendError(
                f"bpu: option runtime: expected {HBM_RUNTIME} or {PYEASY_DNN}, found {wanted!r}"
            )
        if wanted is not None or file.suffix != ".bin" or not any(map(_is_there, PACKAGES)):
            return PyeasyBackend if wanted == PYEASY_DNN else cls
        try:
            vendor_module(HBM_RUNTIME)
        except BackendError as error:
            why = str(error).removeprefix("bpu: ")
            _log.info("bpu: %s runs %s: %s", PYEASY_DNN, file, why)
            return PyeasyBackend
        return cls

    def _load(
        self, file: Path, core: int | None, priority: int | None
    ) -> tuple[Sequence[BpuTensor], Sequence[BpuTensor], Mapping[str, str]]:
        self._runtime: Any = vendor_module(HBM_RUNTIME).HB_HBMRuntime(str(file))
        models = list(self._runtime.model_names)
        self._model = models[self._chosen(models)]
        if core is not None:
            self._runtime.set_scheduling_params(bpu_cores={self._model: [core]})
        if priority is not None:
            self._runtime.set_scheduling_params(priority={self._model: priority})
        details = {"runtime": f"{HBM_RUNTIME} {version(self._runtime)}", "model": self._model}
        return self._side("input"), self._side("output"), details

    def _side(self, side: str) -> list[BpuTensor]:
        def of(what: str) -> Any:
            return getattr(self._runtime, f"{side}_{what}")[self._model]

        shapes, dtypes, quants = of("shapes"), of("dtypes"), of("quants")
        return [_tensor(name, shapes[name], dtypes[name], quants.get(name)) for name in of("names")]

    def _connect(self, copies: Mapping[str, InputCopy]) -> None:
        self._outputs = [tensor.name for tensor in self._described[1]]
        self._argument: Any = {self._model: {name: copy.array for name, copy in copies.items()}}

    def _infer(self) -> Sequence[Any]:
        results = self._runtime.run(self._argument)[self._model]
        return [results[name] for name in self._outputs]

    def _close(self) -> None:
        self._runtime = self._argument = None


def _is_there(package: str) -> bool:
    """Return True if a package is installed, without running its code."""
    return importlib.util.find_spec(package) is not None


def _tensor(name: str, shape: Sequence[int], dtype: Any, quant: Any) -> BpuTensor:
    # The vendor's enum; the stub of one release declares named integers instead.
    kind = str(getattr(dtype, "name", dtype)).rpartition(".")[-1]
    if kind not in _DTYPES:
        raise BackendError(
            f"bpu: tensor {name}: expected one of {', '.join(_DTYPES)}, found "
            f"{kind}; compile the model with featuremap inputs"
        )
    sizes = tuple(map(int, shape))
    # Floats may also have scales, which are already applied.
    quantisation = None if kind in _FLOATS else _quantisation(quant)
    return BpuTensor(
        name=name, shape=sizes, memory=sizes, dtype=_DTYPES[kind], quantisation=quantisation
    )


def _quantisation(quant: Any) -> Quantisation | None:
    kind = str(getattr(getattr(quant, "quant_type", None), "name", "NONE"))
    if kind != "SCALE":
        return None
    scale = np.asarray(quant.scale, np.float32).reshape(-1)
    zero_point = np.asarray(quant.zero_point, np.float32).reshape(-1)
    zero_points = np.broadcast_to(zero_point if zero_point.size else np.float32(0.0), scale.shape)
    return Quantisation(scale=scale, zero_point=zero_points, axis=int(quant.axis))
