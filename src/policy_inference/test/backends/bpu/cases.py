# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The BPU's back end for the conformance suite, over doubles of both runtimes."""

import os
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from policy_inference.backends.base import BackendBase
from policy_inference.backends.bpu.hbm import BpuBackend
from policy_inference.backends.bpu.pyeasy import PyeasyBackend
from policy_inference.backends.child import ChildBackend

from ..case import BackendCase

DOUBLES = str(Path(__file__).parent / "doubles")


def installed() -> None:
    """Put the doubles where this process and its children find them, behind everything else."""
    if DOUBLES not in sys.path:
        sys.path.append(DOUBLES)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if DOUBLES not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([*filter(None, paths), DOUBLES])


def compiled(onnx: Path, suffix: str = ".hbm", **settings: Any) -> Path:
    """Write the file of the doubles beside an ONNX file."""
    installed()
    made: Path = import_module("bpu_board").write_model(onnx, onnx.with_suffix(suffix), **settings)
    return made


def _with_doubles(cls: Callable[..., BackendBase]) -> Callable[..., BackendBase]:
    installed()
    return cls


BPU = BackendCase(
    load=partial(_with_doubles, BpuBackend), package="hbm_runtime", compile=compiled,
    dtypes=("float32", "int32"), dynamic_batch=False,
)  # fmt: skip
# A runtime that is not there is told by another sentence, with the package that was tried last.
PYEASY_IN_CHILD = BackendCase(
    load=partial(_with_doubles, partial(ChildBackend, PyeasyBackend)), package="hobot_dnn",
    compile=partial(compiled, suffix=".bin", march="bayes-e"), dtypes=("float32", "int32"),
    dynamic_batch=False, in_child=True,
)  # fmt: skip
