# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""RKNN Toolkit Lite2 back end for the NPU on a Rockchip board.

The runtime's own loader accepts any file, and the runtime's calls return -1 or None instead of
raising errors. Therefore, the file's description is read and checked first, and every return value
is checked. The runtime releases the GIL during runs. This module was written for the interface of
versions 2.3 to 2.5; it has not been verified on hardware.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from policy_core.bundle.contract import Artifact
from policy_core.bundle.schema import one_of
from policy_core.errors import BackendError
from policy_core.interfaces import Tensor, TensorSpec
from policy_inference.backends.base import BackendBase
from policy_inference.backends.rknn.examination import PACKAGE, examine_npu, read_npu
from policy_inference.backends.rknn.failures import board_chips, explain
from policy_inference.backends.rknn.vendor_log import VendorLog
from policy_inference.backends.rknn_file import STORED_AS, RknnFile, chip, read_rknn
from policy_inference.machine.machine import Finding, Machine, installed_version

COMPATIBLE = Path("/proc/device-tree/compatible")
"""File in which the board identifies itself."""
_CORES: Mapping[str, tuple[str, ...]] = {
    "rk3588": ("auto", "0", "1", "2", "0_1", "0_1_2", "all"),
    "rk3576": ("auto", "0", "1", "0_1", "all"),
}
_DRIVER = re.compile(r"[Dd]river\b[^\n]*?version:? *([\d.]*\d)")


class RknnBackend(BackendBase):
    """Runs a model in its own NPU context, with float32 arrays that the runtime quantizes."""

    name = "rknn"
    simulated_by = "rknn_sim"
    options: Mapping[str, str] = {
        "core_mask": "cores of an RK3588 or RK3576: auto (default), 0, 1, 2, 0_1, 0_1_2, all"
    }
    warm_up_runs = 20
    _lite: Any = None
    _said: VendorLog | None = None

    @classmethod
    def check_options(cls, given: Mapping[str, str]) -> None:
        super().check_options(given)
        masks, wanted = _CORES["rk3588"], given.get("core_mask", "auto")
        if wanted not in masks:
            raise BackendError(
                f"rknn: core_mask: expected one of {', '.join(masks)}, found {wanted!r}"
            )

    @classmethod
    def tensors(cls, file: Path) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        return _tensors(_described(file))

    @classmethod
    def read_device(cls, machine: Machine) -> Mapping[str, str]:
        """Return the NPU's load, clock and temperature."""
        return read_npu(machine)

    @classmethod
    def examine(cls, machine: Machine, artifact: Artifact | None) -> Sequence[Finding]:
        """Return findings about the board, the driver, the libraries and the clocks."""
        return list(examine_npu(machine, artifact))

    def _open(
        self, file: Path
    ) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec], Mapping[str, str]]:
        """Read and check the file's own description; `_bind` then opens the file in the runtime."""
        try:
            from rknnlite.api import RKNNLite
        except ImportError as error:
            raise BackendError(
                f"rknn: rknnlite.api: {error}; install rknn-toolkit-lite2 on the "
                "board; on a PC use rknn_sim"
            ) from error
        self._class, self._file = RKNNLite, file
        described = _described(file)
        self._check(described)
        self._mask = self._core_mask(described.targets)
        self._order = tuple(described.inputs), tuple(described.outputs)
        return *_tensors(described), {
            "precision": self._precision,
            "model": f"made by RKNN Toolkit2 {described.toolkit}",
        }

    def _check(self, described: RknnFile) -> None:
        """Raise an error unless the file fits the artifact's chip and precision, and this board."""
        targets = ", ".join(described.targets)
        if self._target is not None and chip(self._target) not in map(chip, described.targets):
            raise BackendError(
                f"{self._file}: expected a model for {self._target} as in "
                f"policy.yaml, found one for {targets}; compile the bundle again"
            )
        board = board_chips(COMPATIBLE)
        runs_on = {chip(name) for name in described.targets}
        if board and not {chip(name) for name in board} & runs_on:
            raise BackendError(
                f"{self._file}: expected a model for this board ({', '.join(board)})"
                f", found one for {targets}; compile it with --target "
                f"{chip(board[0])}"
            )
        stored = described.precisions
        if stored - {STORED_AS.get(self._precision, "float16"), "float16"}:
            raise BackendError(
                f"{self._file}: expected {self._precision} as in policy.yaml, found "
                f"tensors in {', '.join(sorted(stored))}; compile the bundle again"
            )

    def _core_mask(self, targets: Sequence[str]) -> int:
        wanted = self._given.get("core_mask", "auto")
        offered = _CORES.get(targets[0], ("auto",)) if targets else ("auto",)
        if wanted not in offered:
            raise BackendError(
                f"rknn: core_mask: expected {one_of(offered)} for "
                f"{', '.join(targets)}, found {wanted!r}"
            )
        try:
            return int(getattr(self._class, f"NPU_CORE_{wanted.upper()}"))
        except AttributeError as error:
            raise BackendError(
                f"rknn: core_mask: expected a runtime that supports {wanted!r}, found "
                "an older one; update rknn-toolkit-lite2"
            ) from error

    def _bind(self) -> None:
        said = self._said = VendorLog()
        self._start(said)
        self.details = {
            **self.details,
            "runtime": self._version(),
            "device": f"NPU, core mask {self._given.get('core_mask', 'auto')}",
        }
        if found := _DRIVER.search(said.text):
            self.details |= {"driver": found[1]}
        said.forget()
        self._place_arrays()

    def _start(self, said: VendorLog) -> None:
        stage = "RKNNLite"
        try:
            with said.captured():
                self._lite = self._class()
                stage, result = "load_rknn", self._lite.load_rknn(str(self._file))
                if result == 0:
                    stage = "init_runtime"
                    result = self._lite.init_runtime(core_mask=self._mask)
        except Exception as error:  # from ctypes, and from bugs of the runtime
            raise self._failure(stage, error) from error
        if result != 0:
            raise self._failure(stage, result)

    def _failure(self, stage: str, result: object) -> BackendError:
        assert self._said is not None
        said = self._said.text
        self._said.forget()
        return BackendError(f"{self._file}: {explain(stage, result, said)}")

    def _version(self) -> str:
        version = installed_version(PACKAGE)
        package = f"{PACKAGE} {version}" if version else PACKAGE  # no version if only copied
        return f"{package}; {' '.join(str(self._lite.get_sdk_version()).split())}"

    def _place_arrays(self) -> None:
        """Create channels-last buffers for images, as the NPU needs."""
        inputs = [self.inputs[name] for name in self._order[0]]
        self._fed: list[Tensor] = [_channels_last(array) for array in inputs]
        self._images = [
            (fed, np.moveaxis(array, 1, -1))
            for fed, array in zip(self._fed, inputs, strict=True)
            if fed is not array
        ]
        self._results = [self.outputs[name] for name in self._order[1]]
        self._kinds = list(map(_kind, self._results))
        known = inspect.signature(self._lite.inference).parameters
        self._how = {"reuse_outputs": True} if "reuse_outputs" in known else {}

    def _check_results(self, found: Sequence[Tensor]) -> None:
        """Raise an error unless the runtime's arrays match the file's description."""
        if list(map(_kind, found)) != self._kinds:
            listed = ", ".join(f"{array.dtype}{list(array.shape)}" for array in found)
            raise BackendError(
                f"{self._file}: expected float32 outputs with the sizes in the file, found "
                f"{listed or 'none'}; update librknnrt.so and rknn-toolkit-lite2 to the same "
                "version"
            )

    def _run(self) -> None:
        found = self._infer()
        self._check_results(found)
        for place, array in zip(self._results, found, strict=True):
            np.copyto(place, array.reshape(place.shape))

    def _infer(self) -> list[Tensor]:
        for fed, array in self._images:
            np.copyto(fed, array)
        try:
            found: list[Tensor] | None = self._lite.inference(inputs=self._fed, **self._how)
        except Exception as error:  # from ctypes, and from bugs of the runtime
            raise self._failure("inference", error) from error
        if found is None:
            raise self._failure("inference", None)
        return found

    def _close(self) -> None:
        try:
            if self._lite is not None:
                self._lite.release()
        finally:
            self._lite = None
            if self._said is not None:
                self._said.stop()


def _described(file: Path) -> RknnFile:
    try:
        return read_rknn(file)
    except OSError as error:
        raise BackendError(f"{file}: expected a model, found {error.strerror}") from error


def _tensors(described: RknnFile) -> tuple[list[TensorSpec], list[TensorSpec]]:
    inputs, outputs = (
        [TensorSpec(name=name, shape=tensor.shape) for name, tensor in side.items()]
        for side in (described.inputs, described.outputs)
    )
    return inputs, outputs


def _kind(array: Tensor) -> tuple[np.dtype[np.generic], tuple[int, ...]]:
    """Return an array's type, and its shape without axes of size 1, which some runtimes add."""
    return array.dtype, tuple(size for size in array.shape if size != 1)


def _channels_last(array: Tensor) -> Tensor:
    """Return an image [batch, channels, height, width] channels-last, other arrays unchanged."""
    return np.empty_like(np.moveaxis(array, 1, -1), order="C") if array.ndim == 4 else array
