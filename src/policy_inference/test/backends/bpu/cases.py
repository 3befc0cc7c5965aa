# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The BPU's back end for the conformance suite, over doubles of both runtimes."""

from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from policy_inference.backends.bpu.hbm import BpuBackend
from policy_inference.backends.bpu.pyeasy import PyeasyBackend
from policy_inference.backends.child import ChildBackend

from ..case import BackendCase

DOUBLES = Path(__file__).parent / "doubles"
MODULES = "hbm_runtime", "hobot_dnn", "hobot_dnn.pyeasy_dnn", "bpu_board"


def compiled(onnx: Path, suffix: str = ".hbm", **settings: Any) -> Path:
    """Write the file of the doubles, which are on the path, beside an ONNX file."""
    made: Path = import_module("bpu_board").write_model(onnx, onnx.with_suffix(suffix), **settings)
    return made


BPU = BackendCase(
    load=lambda: BpuBackend, package="hbm_runtime", compile=compiled, doubles=DOUBLES,
    dtypes=("float32", "int32"), dynamic_batch=False,
)  # fmt: skip
PYEASY_IN_CHILD = BackendCase(
    load=lambda: partial(ChildBackend, PyeasyBackend), package="hobot_dnn", doubles=DOUBLES,
    compile=partial(compiled, suffix=".bin", march="bayes-e"), dtypes=("float32", "int32"),
    dynamic_batch=False, in_child=True,
)  # fmt: skip
