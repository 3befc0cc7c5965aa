# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""RKNN Toolkit2's simulator: a Rockchip NPU's results on a PC.

This is a separate back end and never a fallback for `rknn`, since it simulates results, not speed.
The toolkit cannot simulate a finished `.rknn` file, only a model that it has just built. Building
takes a second for a small network. This back end therefore opens the file that `model_tools compile
rknn` writes next to the `.rknn` file, and builds the same model again; or it opens the ONNX model
and builds it in fp16.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from policy_core.errors import BackendError
from policy_core.interfaces import TensorSpec
from policy_inference.backends.base import BackendBase
from policy_inference.backends.rknn_file import MAGIC
from policy_inference.backends.rknn_toolkit.build import ToolkitError, build, call, toolkit_version
from policy_inference.backends.rknn_toolkit.diagnosis import explain
from policy_inference.backends.rknn_toolkit.prepare import prepare, read_tensors
from policy_inference.backends.rknn_toolkit.python import VARIABLE, toolkit_python
from policy_inference.backends.rknn_toolkit.recipe import FLOAT, MODEL, Recipe, unpack
from policy_inference.machine.machine import Finding, Machine

if TYPE_CHECKING:  # the toolkit's own Python lacks what the contract needs
    from policy_core.bundle.contract import Artifact

_TARGET, _SUFFIX = "rk3588", ".zip"


class RknnSimBackend(BackendBase):
    """Builds the model when it is opened and simulates it, in the toolkit's own Python."""

    name = "rknn_sim"
    simulates = True
    builds_from, built_precision = "onnx", FLOAT
    options: Mapping[str, str] = {
        "target": f"chip to simulate if the model is an ONNX file (default {_TARGET})"
    }
    warm_up_runs = 3
    _toolkit: Any = None
    _scratch: tempfile.TemporaryDirectory[str] | None = None

    @classmethod
    def interpreter(cls) -> str:
        """Return the toolkit's Python.

        Raises:
            BackendError: The toolkit's Python does not exist.
        """
        return toolkit_python()

    @classmethod
    def examine(cls, machine: Machine, artifact: Artifact | None) -> Sequence[Finding]:
        """Return a finding on RKNN Toolkit2, without importing it, which would take seconds."""
        try:
            python = Path(toolkit_python())
        except BackendError as error:
            return [Finding.error("rknn-toolkit2", "no environment with it", str(error))]
        asked = [
            str(python),
            "-c",
            "import importlib.metadata as all; print(all.version('rknn-toolkit2'))",
        ]
        try:
            answer = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=10)
        except (OSError, subprocess.SubprocessError):
            return [
                Finding.error(
                    "rknn-toolkit2",
                    f"not in {python}",
                    "`make setup-rknn` makes an "
                    f"environment with it; unset {VARIABLE} if it is set",
                )
            ]
        return [Finding(name="rknn-toolkit2", found=f"{answer.stdout.strip()} ({python})")]

    def _open(
        self, file: Path
    ) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec], Mapping[str, str]]:
        self._file = file
        self._scratch = tempfile.TemporaryDirectory(prefix="rknn_sim.")
        self._folder = Path(self._scratch.name)
        if not file.is_file():
            raise BackendError(f"{file}: expected a model, found nothing")
        if file.suffix == _SUFFIX or zipfile.is_zipfile(file):
            self._recipe = unpack(file, self._folder)
            self._check_recipe()
        else:
            self._refuse_finished(file)
            inputs, outputs = read_tensors(file)
            self._recipe = Recipe(
                target=self._given.get("target", _TARGET),
                precision=FLOAT,
                inputs=tuple(inputs),
                outputs=tuple(outputs),
            )
        return self._recipe.inputs, self._recipe.outputs, {}

    def _refuse_finished(self, file: Path) -> None:
        with file.open("rb") as content:
            if content.read(len(MAGIC)) == MAGIC:
                raise BackendError(
                    f"{file}: expected the {_SUFFIX} that `model_tools compile rknn` writes "
                    "beside the .rknn, found the .rknn, which the toolkit cannot simulate; name "
                    "the .zip in policy.yaml"
                )

    def _check_recipe(self) -> None:
        if "target" in self._given:
            raise BackendError(
                f"{self._file}: expected no `target` option (the model was compiled "
                f"for {self._recipe.target}), found one; remove it"
            )
        if self._precision != self._recipe.precision:
            raise BackendError(
                f"{self._file}: expected {self._precision} as in policy.yaml, found "
                f"{self._recipe.precision}; compile the bundle again"
            )

    def _bind(self) -> None:
        began, folder = time.monotonic(), self._folder
        if not (folder / MODEL).exists():
            tensors = {**self.inputs, **self.outputs}
            prepare(self._file, folder / MODEL, {n: a.shape for n, a in tensors.items()})
        try:
            self._toolkit = build(folder, self._recipe)
            call(self._toolkit.init_runtime, "init_runtime")
        except ToolkitError as error:
            raise BackendError(f"{self._file}: {explain(error.stage, error.text)}") from error
        self._ordered = [self.inputs[spec.name] for spec in self._recipe.inputs]
        self._results = [self.outputs[spec.name] for spec in self._recipe.outputs]
        self._layouts = ["nchw"] * len(self._ordered)  # as in the ONNX model
        self.details = {
            "runtime": f"{toolkit_version()} simulator",
            "device": f"simulated {self._recipe.target}",
            "precision": self._recipe.precision,
            "built": f"in {time.monotonic() - began:.1f} s from {self._file.name}",
        }

    def _run(self) -> None:
        try:
            found: list[Any] = call(
                self._toolkit.inference,
                "inference",
                inputs=self._ordered,
                data_format=self._layouts,
            )
        except ToolkitError as error:
            raise BackendError(f"rknn_sim: {explain(error.stage, error.text)}") from error
        if [array.shape for array in found] != [array.shape for array in self._results]:
            raise BackendError(
                f"{self._file}: expected the outputs {', '.join(map(str, self._recipe.outputs))}, "
                f"found {len(found)}: {', '.join(str(list(a.shape)) for a in found)}; the toolkit "
                "drops an output that has the same value as another: export the model without "
                "duplicate outputs"
            )
        for place, array in zip(self._results, found, strict=True):
            np.copyto(place, array)

    def _close(self) -> None:
        try:
            if self._toolkit is not None:
                self._toolkit.release()
        finally:
            if self._scratch is not None:
                self._scratch.cleanup()
