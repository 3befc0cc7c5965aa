# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The conformance suite over every backend of this package."""

from dataclasses import replace
from functools import partial
from importlib.metadata import entry_points

import pytest

from policy_inference.backends.child import ChildBackend
from policy_inference.backends.onnx import OnnxBackend
from policy_inference.backends.registry import GROUP
from policy_inference.backends.rknn.backend import RknnBackend

from . import rknnlite_double
from .case import BackendCase
from .conformance import BackendConformance

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
CASES = {"onnx": ONNX, "rknn": RKNN}
# Needs the toolkit: test/rknn runs the suite over it.
ELSEWHERE = {"rknn_sim"}
# Any backend may run in a process of its own.
IN_CHILD = replace(ONNX, load=lambda: partial(ChildBackend, OnnxBackend), in_child=True)


def test_every_backend_of_the_package_has_a_case() -> None:
    ours = {entry.name for entry in entry_points(group=GROUP)
            if entry.value.startswith("policy_inference.")}  # fmt: skip

    assert ours == CASES.keys() | ELSEWHERE


@pytest.mark.parametrize("name", CASES)
def test_name_of_a_backend_is_the_registered_one(name: str) -> None:
    (entry,) = entry_points(group=GROUP, name=name)

    assert entry.load().name == name


class TestConformance(BackendConformance):
    @pytest.fixture(params=[*CASES, "onnx in a child"])
    def case(self, request: pytest.FixtureRequest) -> BackendCase:
        return CASES.get(request.param, IN_CHILD)
