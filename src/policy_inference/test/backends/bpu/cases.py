# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The BPU's back end for the conformance suite, over doubles of both runtimes."""

import json
import os
import sys
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from policy_inference.backends.bpu.hbm import BpuBackend
from policy_inference.backends.bpu.pyeasy import PyeasyBackend
from policy_inference.testing.case import BackendCase, Change

DOUBLES = Path(__file__).parent / "doubles"
MODULES = "hbm_runtime", "hobot_dnn", "hobot_dnn.pyeasy_dnn", "bpu_board"


def compiled_for_bpu(onnx: Path, suffix: str = ".hbm", **settings: Any) -> Path:
    """Write the file of the doubles, which are on the path, beside an ONNX file."""
    made: Path = import_module("bpu_board").write_bpu_model(
        onnx, onnx.with_suffix(suffix), **settings
    )
    return made


def use_doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the doubles on the path of this process and of its children, as if never imported."""
    monkeypatch.syspath_prepend(str(DOUBLES))
    path = filter(None, (str(DOUBLES), os.environ.get("PYTHONPATH")))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)


def board_says(what: str, text: str) -> Change:
    """Return what makes the board say this at that, with runtimes that were not imported yet."""

    def change(monkeypatch: pytest.MonkeyPatch) -> None:
        use_doubles(monkeypatch)
        monkeypatch.setenv("BPU_BOARD", json.dumps({what: text}))

    return change


BPU = BackendCase(
    name="bpu",
    backend=BpuBackend,
    package="hbm_runtime",
    compile=compiled_for_bpu,
    prepare=use_doubles,
    precision="int8",
    target="nash-e",
    other_target="bayes-e",
    dtypes=("float32", "int32"),
    dynamic_batch=False,
    without_device={
        "Missing Horizon runtime libraries; .*; install": board_says(
            "import", "Missing Horizon runtime libraries"
        )
    },
    failing_runs={"exception": board_says("run", "HBRT4_STATUS_BAD_DATA")},
)
PYEASY = replace(
    BPU,
    backend=PyeasyBackend,
    package="hobot_dnn",
    compile=partial(compiled_for_bpu, suffix=".bin", march="bayes-e"),
    options={"runtime": "pyeasy_dnn"},
    target="bayes-e",
    other_target="nash-e",
    failing_runs={},
    without_device={
        "cannot open shared object file; .*; install": board_says(
            "pyeasy_import", "libdnn.so: cannot open shared object file"
        )
    },
)
