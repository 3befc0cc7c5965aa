# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Double of `hbm_runtime`: names and refusals as in the vendor's source, and in its wheel 0.1.

What is wrong with an argument is a RuntimeError, what the BPU itself refuses ends the process. Not
known without a board: the codes of the BPU's errors, and what the build for the X5 does otherwise.
"""

import os
import resource
from collections.abc import Callable
from enum import Enum
from types import SimpleNamespace
from typing import Any

import numpy as np
from bpu_board import Model, Tensor, board_state, print_as_library  # type: ignore[import-not-found]  # lies beside it

if "import" in board_state():
    raise RuntimeError(board_state()["import"])

# The vendor's names.
hbDNNDataType = Enum("hbDNNDataType", "S4 U4 S8 U8 F16 S16 U16 F32 S32 U32 F64 S64 U64 BOOL8")  # noqa: N816
hbDNNQuantiType = Enum("hbDNNQuantiType", "NONE SCALE")  # noqa: N816
_DTYPES = {
    "int8": "S8",
    "uint8": "U8",
    "float16": "F16",
    "int16": "S16",
    "float32": "F32",
    "int32": "S32",
    "int64": "S64",
    "int4": "S4",
}
_CORES = range(4)


class HB_HBMRuntime:  # noqa: N801  # the vendor's name
    """Runs the models of one or several files."""

    def __init__(self, model_files: str | list[str]) -> None:
        """Load."""
        files = [model_files] if isinstance(model_files, str) else list(model_files)
        print_as_library("[BPU_PLAT]BPU Platform Version(1.3.6)!")
        self._models = {}
        for file in files:
            if not file.endswith(tuple(board_state().get("extensions", [".hbm", ".bin"]))):
                raise RuntimeError("Invalid model file extension. Only .hbm supported.")
            if "load" in board_state():
                print_as_library(board_state().get("say", ""))
                raise RuntimeError(board_state()["load"])
            try:
                model: Any = Model(file)
            except ValueError as error:
                raise RuntimeError(
                    _dnn_error(f"hbDNN initialize from {file} file failed.")
                ) from error
            self._models[model.name] = model
            if "second" in board_state():
                self._models[board_state()["second"]] = model
        self.scheduling: dict[str, dict[str, Any]] = {}

    def __getattr__(self, name: str) -> Any:
        """Give `input_shapes` and the like; `version` is a method or, elsewhere, a text."""
        if name == "version":
            return "1.2.3" if board_state().get("version") == "text" else lambda: "1.2.3"
        side, _, what = name.partition("_")
        if side not in ("input", "output") or what not in _DESCRIBED:
            raise AttributeError(name)
        return {
            model: _DESCRIBED[what](getattr(content, f"{side}s"))
            for model, content in self._models.items()
        }

    @property
    def model_names(self) -> list[str]:
        return list(self._models)

    def set_scheduling_params(
        self, priority: dict[str, int] | None = None, bpu_cores: dict[str, list[int]] | None = None
    ) -> None:
        for model, cores in (bpu_cores or {}).items():
            for core in cores:
                if core not in _CORES:
                    raise RuntimeError(
                        f'Invalid BPU core ID for model "{model}": {core} (valid range: [0, 3])'
                    )
        for model in {**(bpu_cores or {}), **(priority or {})}:
            if model not in self._models:
                raise RuntimeError(
                    f'Invalid model name in bpu_cores: "{model}". This model is not '
                    "in the loaded model list."
                )
        self.scheduling.setdefault("bpu_cores", {}).update(bpu_cores or {})
        self.scheduling.setdefault("priority", {}).update(priority or {})

    def run(self, inputs: dict[str, dict[str, Any]], **kwargs: Any) -> dict[str, dict[str, Any]]:
        """Run models, given their inputs by name; arrays are the model's dtypes and shapes."""
        if kwargs:
            raise TypeError(f"run: {kwargs}")
        if "run" in board_state():
            raise RuntimeError(board_state()["run"])
        return {name: self._run(name, arrays) for name, arrays in inputs.items()}

    def _run(self, name: str, arrays: dict[str, Any]) -> dict[str, Any]:
        model = self._models[name]
        if unknown := arrays.keys() - {tensor.name for tensor in model.inputs}:
            raise RuntimeError(f'Input name "{min(unknown)}" is invalid for model "{name}".')
        for tensor in model.inputs:
            array = arrays[tensor.name]
            if not isinstance(array, np.ndarray) or array.dtype != tensor.dtype:
                raise RuntimeError(
                    f"Data type mismatch for input tensor '{tensor.name}' in model "
                    f"'{name}': expected numpy dtype format {tensor.dtype}"
                )
            if list(array.shape) != tensor.shape:
                raise RuntimeError(f"Mismatch in tensor dimensions for model: {name}")
            assert array.flags.c_contiguous, "it is copied byte by byte, whatever its strides"
        if any(
            core >= board_state().get("cores", 4)
            for core in self.scheduling.get("bpu_cores", {}).get(name, [])
        ):
            _terminate(f"UCP Error (code: -1, desc: unknown) {name} hbUCPSubmitTask failed")
        try:
            found = model.infer([arrays[tensor.name] for tensor in model.inputs])
        except RuntimeError as error:
            _terminate(_dnn_error(f" {error}"))
        return {t.name: memory[t.valid] for t, memory in zip(model.outputs, found, strict=True)}


def _dnn_error(what: str) -> str:
    return f"DNN Error (code: -1, desc: unknown) {what}"


def _terminate(what: str) -> None:
    """Do as an exception does that no code catches, on a thread of C++."""
    print_as_library("terminate called after throwing an instance of 'std::runtime_error'")
    print_as_library(f"  what():  {what}")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.abort()


def _quant(tensor: Tensor) -> SimpleNamespace:
    kind = hbDNNQuantiType["SCALE" if tensor.scale else "NONE"]
    return SimpleNamespace(
        quant_type=kind,
        axis=tensor.axis,
        scale=np.array(tensor.scale),
        zero_point=np.array(tensor.zero_point),
    )


_DESCRIBED: dict[str, Callable[[list[Tensor]], Any]] = {
    "names": lambda tensors: [t.name for t in tensors],
    "shapes": lambda tensors: {t.name: t.shape for t in tensors},
    "dtypes": lambda tensors: {t.name: hbDNNDataType[_DTYPES[t.dtype]] for t in tensors},
    "quants": lambda tensors: {t.name: _quant(t) for t in tensors},
}
