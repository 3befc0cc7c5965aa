# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The backend `onnxruntime` of a Triton whose wheel has none: runs `model.onnx` on ONNX Runtime.

Triton loads it as a backend in Python, in an interpreter of its own.
"""

from pathlib import Path
from typing import Any

import onnxruntime
import triton_python_backend_utils as triton  # type: ignore[import-not-found]  # is in Triton


class TritonPythonModel:
    """One instance of a model."""

    def initialize(self, args: dict[str, str]) -> None:
        file = Path(triton.get_model_dir()) / "model.onnx"
        self._session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        self._outputs = [one.name for one in self._session.get_outputs()]

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        given = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
        found = self._session.run(self._outputs, given)
        named = zip(self._outputs, found, strict=True)
        return triton.InferenceResponse([triton.Tensor(name, array) for name, array in named])
