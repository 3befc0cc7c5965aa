# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The conformance suite over every backend of this package."""

from importlib.metadata import entry_points

import pytest

from policy_inference.backends.onnx import OnnxBackend
from policy_inference.backends.registry import GROUP

from .case import BackendCase
from .conformance import BackendConformance

CASES = {
    "onnx": BackendCase(
        load=lambda: OnnxBackend,
        package="onnxruntime",
        dtypes=("float32", "float16", "int64", "int32"),
    ),
}


def test_every_backend_of_the_package_has_a_case() -> None:
    ours = {entry.name for entry in entry_points(group=GROUP)
            if entry.value.startswith("policy_inference.")}  # fmt: skip

    assert ours == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_name_of_a_backend_is_the_registered_one(name: str) -> None:
    assert CASES[name].load().name == name


class TestConformance(BackendConformance):
    @pytest.fixture(params=CASES)
    def case(self, request: pytest.FixtureRequest) -> BackendCase:
        return CASES[request.param]
