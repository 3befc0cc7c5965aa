# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The tests that every back end must pass."""

from __future__ import annotations

from typing import NoReturn

import pytest
from onnx.reference import ReferenceEvaluator
from onnx_reference_backend import OnnxReferenceBackend

from policy_inference.testing.case import BackendCase
from policy_inference.testing.conformance import BackendConformance


def _lost(*args: object, **kwargs: object) -> NoReturn:
    raise RuntimeError("the device was lost")


class TestConformance(BackendConformance):
    """The conformance tests, run with the real `onnx` package."""

    @pytest.fixture
    def case(self) -> BackendCase:
        """Return the description of this back end for the tests."""
        return BackendCase(
            name="onnx_reference",
            backend=OnnxReferenceBackend,
            package="onnx",
            dtypes=("float32", "float16", "int32", "int64"),
            tolerance=1e-5,
            reads_tensors=True,  # from ONNX files
            failing_runs={
                "exception": lambda patch: patch.setattr(ReferenceEvaluator, "run", _lost)
            },
        )
