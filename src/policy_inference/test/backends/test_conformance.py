# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The conformance suite over every backend of this package."""

from dataclasses import replace
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from policy_inference.backends.child import ChildBackend
from policy_inference.backends.onnx import OnnxBackend
from policy_inference.backends.registry import GROUP

from .case import BackendCase
from .conformance import BackendConformance
from .nvidia import cases as nvidia

ONNX = BackendCase(
    load=lambda: OnnxBackend,
    package="onnxruntime",
    dtypes=("float32", "float16", "int64", "int32"),
)
CASES = {"onnx": ONNX, "tensorrt": nvidia.TENSORRT}
# Any backend may run in a process of its own.
IN_CHILD = replace(ONNX, load=lambda: partial(ChildBackend, OnnxBackend), in_child=True)
ALL = {**CASES, "onnx in a child": IN_CHILD, **nvidia.MORE}


def test_every_backend_of_the_package_has_a_case() -> None:
    ours = {entry.name for entry in entry_points(group=GROUP)
            if entry.value.startswith("policy_inference.")}  # fmt: skip

    assert ours == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_name_of_a_backend_is_the_registered_one(name: str) -> None:
    (entry,) = entry_points(group=GROUP, name=name)

    assert entry.load().name == name


class TestConformance(BackendConformance):
    @pytest.fixture(params=ALL)
    def case(
        self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> BackendCase:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        case = ALL[request.param]
        case.prepare(monkeypatch)
        return case
