# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`hobot_dnn.pyeasy_dnn`, for the RDK X5 before system 3.5.0 and the RDK Ultra.

It holds the GIL for the whole inference and never unloads a model, so it runs in its own process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from policy_core.errors import BackendError
from policy_core.interfaces import F32
from policy_inference.backends.bpu.runtime import PYEASY_DNN, BpuRuntime, vendor_module
from policy_inference.backends.bpu.tensors import BpuTensor, InputCopy, Quantisation
from policy_inference.machine.machine import installed_version

PACKAGES = "hobot_dnn", "hobot_dnn_rdkx5"
_DTYPES = (
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
)
_CHANNEL_AXES = {"NCHW": 1, "NHWC": 3}


class PyeasyBackend(BpuRuntime):
    """Back end for the older runtime, which comes in two packages with identical content."""

    holds_gil = True
    package = PYEASY_DNN

    def _load(
        self, file: Path, core: int | None, priority: int | None
    ) -> tuple[Sequence[BpuTensor], Sequence[BpuTensor], Mapping[str, str]]:
        module = vendor_module(*(f"{package}.{PYEASY_DNN}" for package in PACKAGES))
        # A list, since the runtime loses a reference to a single string, which is then freed while
        # in use.
        models = module.load([str(file)])
        if not models:
            raise BackendError(
                f"{file}: expected a model that {PYEASY_DNN} loads, found none in this file; "
                "compile the model for this board, and copy the file again"
            )
        names = [str(model.name) for model in models]
        place = self._chosen(names)
        self._model: Any = models[place]
        given = {"core_id": core, "priority": priority}
        self._scheduling = {name: value for name, value in given.items() if value is not None}
        inputs, outputs = (
            [_tensor(tensor) for tensor in side]
            for side in (self._model.inputs, self._model.outputs)
        )
        self._refuse_bytes_only(inputs)
        package = module.__name__.partition(".")[0]
        return (
            inputs,
            outputs,
            {"runtime": f"{PYEASY_DNN} of {_release(package)}", "model": names[place]},
        )

    def _refuse_bytes_only(self, inputs: Sequence[BpuTensor]) -> None:
        """Raise an error if the runtime casts every input to uint8, as in the first X5 releases.

        According to D-Robotics' source, these are the releases without `validShape`; for the RDK
        Ultra, this is unknown.
        """
        described = hasattr(self._model.inputs[0].properties, "validShape")
        if described or self._target == "bayes" or {t.dtype for t in inputs} <= {"uint8"}:
            return
        raise BackendError(
            f"{self._file}: expected a release of {PYEASY_DNN} that accepts "
            "featuremaps, found a release that casts every input to uint8; update the "
            "board's system, or `pip install hobot-dnn-rdkx5`"
        )

    def _connect(self, copies: Mapping[str, InputCopy]) -> None:
        arrays = [copy.array for copy in copies.values()]
        self._argument: Any = arrays if len(arrays) > 1 else arrays[0]

    def _infer(self) -> Sequence[Any]:
        outputs = self._model.forward(self._argument, **self._scheduling)
        if outputs is None:
            raise RuntimeError("forward returned None")
        return [output.buffer for output in outputs]

    def _close(self) -> None:
        self._model = self._argument = None


def _tensor(described: Any) -> BpuTensor:
    properties, name = described.properties, str(described.name)
    dtype, layout = str(properties.dtype), str(properties.layout)
    if dtype not in _DTYPES:
        raise BackendError(
            f"bpu: tensor {name}: expected one of {', '.join(_DTYPES)}, found "
            f"{dtype}; compile the model with featuremap inputs"
        )
    # Releases that describe neither padding nor scales have none.
    shape = tuple(map(int, getattr(properties, "validShape", properties.shape)))
    memory = tuple(map(int, getattr(properties, "alignedShape", shape)))
    scales = getattr(properties, "scale_data", None)
    scale = np.asarray([] if scales is None else scales, np.float32)
    return BpuTensor(
        name=name,
        shape=shape,
        memory=memory,
        dtype=dtype,
        layout=layout if layout in _CHANNEL_AXES else "",
        quantisation=_quantisation(dtype, shape, layout, scale.reshape(-1)),
    )


def _quantisation(
    dtype: str, shape: tuple[int, ...], layout: str, scale: F32
) -> Quantisation | None:
    if dtype.startswith("float") or not scale.size:
        return None
    axis = _CHANNEL_AXES.get(layout, len(shape) - 1)
    # Padded channels in memory have scales too.
    scale = scale if scale.size == 1 else scale[: shape[axis]]
    return Quantisation(scale=scale, zero_point=scale * 0, axis=axis)


def _release(package: str) -> str:
    """Return the package's name and version; a package of the board's system has no version."""
    distribution = package.replace("_", "-")
    version = installed_version(distribution)
    return f"{distribution} {version}" if version else f"{package} of the board's system"
