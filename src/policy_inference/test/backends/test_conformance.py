# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The conformance suite over every backend of this package."""

import os
from dataclasses import replace
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from policy_inference.backends.child import ChildBackend
from policy_inference.backends.onnx import OnnxBackend
from policy_inference.backends.registry import GROUP
from policy_inference.backends.rknn.backend import RknnBackend

from . import rknnlite_double
from .bpu.cases import BPU, PYEASY_IN_CHILD
from .case import BackendCase
from .conformance import BackendConformance
from .nvidia import cases as nvidia

ONNX = BackendCase(
    load=lambda: OnnxBackend,
    package="onnxruntime",
    dtypes=("float32", "float16", "int64", "int32"),
)


def _load_rknn() -> type[RknnBackend]:
    rknnlite_double.install()
    return RknnBackend


RKNN = BackendCase(
    load=_load_rknn, package="rknnlite.api", compile=rknnlite_double.save_rknn, dynamic_batch=False
)
CASES = {"onnx": ONNX, "bpu": BPU, "rknn": RKNN, "tensorrt": nvidia.TENSORRT}
VARIANTS = {
    # Any backend may run in a process of its own.
    "onnx in a child": replace(
        ONNX, load=lambda: partial(ChildBackend, OnnxBackend), in_child=True),
    "bpu with pyeasy_dnn": PYEASY_IN_CHILD,
    **nvidia.MORE,
}  # fmt: skip
# Needs the toolkit: test/rknn runs the suite over it.
ELSEWHERE = {"rknn_sim"}


def test_every_backend_of_the_package_has_a_case() -> None:
    ours = {entry.name for entry in entry_points(group=GROUP)
            if entry.value.startswith("policy_inference.")}  # fmt: skip

    assert ours == CASES.keys() | ELSEWHERE


@pytest.mark.parametrize("name", CASES)
def test_name_of_a_backend_is_the_registered_one(name: str) -> None:
    (entry,) = entry_points(group=GROUP, name=name)

    assert entry.load().name == name


class TestConformance(BackendConformance):
    @pytest.fixture(params=[*CASES, *VARIANTS])
    def case(
        self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> BackendCase:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        case = {**CASES, **VARIANTS}[request.param]
        case.prepare(monkeypatch)
        if case.doubles is not None:
            monkeypatch.syspath_prepend(str(case.doubles))
            path = filter(None, (str(case.doubles), os.environ.get("PYTHONPATH")))
            monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
        return case
