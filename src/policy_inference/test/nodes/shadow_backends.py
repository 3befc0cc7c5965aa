# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A backend of shadows that goes wrong when a test asks for it; a test registers it."""

import ctypes
import os
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from policy_inference.backends.onnx import OnnxBackend
from policy_inference.errors import BackendError

SLOW_S = 0.03


class Faulty(OnnxBackend):
    """Does what the text of a file says: nan, raise, slow, scale, segfault, exit; else it works."""

    name = "faulty"
    builds_from = "onnx"
    options: Mapping[str, str] = {"fault": "file that says what goes wrong"}

    def _run(self) -> None:
        file = Path(self._given["fault"])
        fault = file.read_text("utf-8") if file.exists() else ""
        if fault == "slow":
            time.sleep(SLOW_S)
        elif fault == "segfault":
            ctypes.string_at(0)
        elif fault == "raise":
            raise BackendError("faulty: asked to fail")
        super()._run()
        if fault == "nan":
            for array in self.outputs.values():
                array[...] = np.nan
        elif fault == "scale":
            for array in self.outputs.values():
                np.multiply(array, 2.0, out=array)
        elif fault == "exit":
            os._exit(7)
