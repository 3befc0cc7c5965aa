# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Stands for `rknnlite.api` of RKNN Toolkit Lite2 2.5.0, and refuses what it refuses.

As read from its wheel, and as it behaved on arm64 without an NPU: it takes any file when loading,
returns -1 or None and logs why, often as a traceback, adds a handler to one logger with each
object, and wants channels last. What it computes, ONNX Runtime does, on the ONNX model that stands
for the compiled part.

Not known without a board, and taken at its worst here: what the integers of a quantised model make
of NaN (a number like others), and whether a core mask for a chip with one core is more than a
warning (it is refused).
"""

import json
import logging
import os
import struct
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest

Array = npt.NDArray[Any]
_STORED_AS = {"fp16": "", "w8a8": "int8", "w16a16i_dfp": "int16"}
_DTYPES = ("int8", "uint8", "int16", "float16", "float32", "int64")
_WITH_CORES = {"rk3588", "rk3576"}


class Board:
    """What is wrong with it: tests set these."""

    logged = ""
    """Exception that `init_runtime` logs as a traceback before it returns -1."""
    printed = ""
    """Text that the native library prints, at `init_runtime`."""
    raised: Exception | None = None
    """What `init_runtime` raises."""
    lost = ""
    """Exception that `inference` logs as a traceback before it returns None."""


def save_rknn(source: Path, precision: str = "fp16", target: str = "rk3588") -> Path:
    """Write a `.rknn` file beside an ONNX model, and return it."""
    model, kind = onnx.load(source), _STORED_AS[precision]
    tensors, graph = list[dict[str, object]](), list[dict[str, object]]()
    for side in ("input", "output"):
        for place, value in enumerate(getattr(model.graph, side)):
            size = [axis.dim_value or 1 for axis in value.type.tensor_type.shape.dim]
            graph.append({"left": side, "left_tensor_id": place, "right_tensor_id": len(tensors)})
            tensors.append(
                {
                    "tensor_id": len(tensors),
                    "url": value.name,
                    "size": size,
                    "dtype": {"qnt_type": kind},
                }
            )
    text = json.dumps(
        {
            "version": "2.5.0",
            "target_platform": [target],
            "norm_tensor": tensors,
            "graph": graph,
            "ori_network_platform": "ONNX",
        }
    ).encode()
    compiled, file = source.read_bytes(), source.with_suffix(".rknn")
    head = struct.pack("<4s4xQQ40x", b"RKNN", 6, len(compiled))
    file.write_bytes(head + compiled + struct.pack("<Q", len(text)) + text)
    return file


class RKNNLite:
    """The class under its own name."""

    NPU_CORE_AUTO, NPU_CORE_0, NPU_CORE_1, NPU_CORE_2 = 0, 1, 2, 4
    NPU_CORE_0_1, NPU_CORE_0_1_2, NPU_CORE_ALL = 3, 7, 0xFFFF

    def __init__(self, verbose: bool = False, verbose_file: str | None = None) -> None:
        self._log = logging.getLogger("acuityLogger")
        self._log.setLevel(logging.WARNING)
        self._log.propagate = False
        self._log.addHandler(logging.StreamHandler(sys.stderr))
        self._log.warning("rknn-toolkit-lite2 version: 2.5.0")
        self._content = b""
        self._session: Any = None
        self._integers = False

    def load_rknn(self, path: str, key_path: str | None = None) -> int:
        self._content = Path(path).read_bytes()
        return 0

    def init_runtime(
        self,
        target: str | None = None,
        device_id: str | None = None,
        async_mode: bool = False,
        core_mask: int = 0,
    ) -> int:
        os.write(2, Board.printed.encode())
        if Board.raised is not None:
            raise Board.raised
        if Board.logged:
            return self._failed("Catch exception when init runtime!", Board.logged)
        if not self._content.startswith(b"RKNN"):
            os.write(2, b"E RKNN: [10:00:00.000] parseRKNN: invalid RKNN_MAGIC!\n")
            return self._failed(
                "Catch exception when init runtime!",
                "RKNN init failed. error code: RKNN_ERR_MODEL_INVALID",
            )
        (size,) = struct.unpack_from("<Q", self._content, 16)
        described = json.loads(self._content[72 + size :])
        if core_mask and not _WITH_CORES.intersection(described["target_platform"]):
            self._log.error("Catch exception when set npu core mode.")
            return -1
        self._integers = any(t["dtype"]["qnt_type"] for t in described["norm_tensor"])
        self._session = onnxruntime.InferenceSession(self._content[64 : 64 + size])
        return 0

    def _failed(self, what: str, why: str) -> int:
        """Log an exception as the runtime does; return -1."""
        self._log.error(what)
        self._log.error(
            'Traceback (most recent call last):\n  File "rknn_lite.py", line 1, in run'
            "\nException: %s\n",
            why,
        )
        return -1

    def get_sdk_version(self) -> str | None:
        return None if self._session is None else "\nAPI: 2.3.2 (429f97ae6b@2025-04-09)\nDRV: x\n"

    def inference(
        self,
        inputs: list[Array],
        data_type: str | None = None,
        data_format: list[str] | None = None,
        inputs_pass_through: list[int] | None = None,
        get_frame_id: bool = False,
        reuse_outputs: bool = False,
    ) -> list[Array] | None:
        results = self._computed(inputs)
        if results is None or not reuse_outputs:
            return results
        self._kept = getattr(self, "_kept", results)
        for kept, result in zip(self._kept, results, strict=True):
            kept[...] = result
        return self._kept

    def _computed(self, inputs: list[Any]) -> list[Array] | None:
        if Board.lost:
            self._failed("Catch exception when running RKNN model.", Board.lost)
            return None
        for place, array in enumerate(inputs):
            if not isinstance(array, np.ndarray) or array.dtype.name not in _DTYPES:
                self._failed("Catch exception when setting inputs.", f"Type of inputs[{place}]")
                return None
        nodes = self._session.get_inputs()
        arrays = [np.moveaxis(a, -1, 1) if a.ndim == 4 else a for a in inputs]
        if self._integers:
            arrays = [np.nan_to_num(a, nan=0.0, posinf=1.0, neginf=-1.0) for a in arrays]
        if [list(a.shape) for a in arrays] != [
            [axis if isinstance(axis, int) else 1 for axis in node.shape] for node in nodes
        ]:
            self._failed(
                "Catch exception when setting inputs.",
                "Set inputs failed. error code: RKNN_ERR_INPUT_INVALID",
            )
            return None
        fed = {node.name: a for node, a in zip(nodes, arrays, strict=True)}
        return list(self._session.run(None, fed))

    def release(self) -> None:
        self._session = None


class OlderLite(RKNNLite):
    """As 2.3: it cannot reuse its outputs."""

    def inference(  # type: ignore[override]  # an older interface
        self,
        inputs: list[Array],
        data_type: str | None = None,
        data_format: list[str] | None = None,
    ) -> list[Array] | None:
        return self._computed(inputs)


def install_rknnlite(
    cls: type[RKNNLite] = RKNNLite, monkeypatch: pytest.MonkeyPatch | None = None
) -> None:
    """Make `rknnlite.api` importable, for a test or for good."""
    package, api = ModuleType("rknnlite"), ModuleType("rknnlite.api")
    api.RKNNLite = cls  # type: ignore[attr-defined]  # a module is open
    for name, module in (("rknnlite", package), ("rknnlite.api", api)):
        if monkeypatch is None:
            sys.modules.setdefault(name, module)
        else:
            monkeypatch.setitem(sys.modules, name, module)
