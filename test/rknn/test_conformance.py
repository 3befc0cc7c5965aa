# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The conformance suite over `rknn_sim`, for real: the simulator builds each model in fp16."""

import sys
from functools import partial

import pytest

from policy_inference.backends.child import ChildBackend
from policy_inference.backends.rknn_sim import RknnSimBackend
from policy_inference.backends.rknn_toolkit.python import VARIABLE
from policy_inference.testing.case import BackendCase
from policy_inference.testing.conformance import BackendConformance
from policy_inference.testing.in_child import ChildConformance


class TestConformance(BackendConformance, ChildConformance):
    @pytest.fixture
    def case(self) -> BackendCase:
        return BackendCase(
            name="rknn_sim", backend=partial(ChildBackend, RknnSimBackend), package="rknn",
            tolerance=0.03,
            # A Python without the toolkit: our own.
            without_package=lambda monkeypatch: monkeypatch.setenv(VARIABLE, sys.executable),
            package_remedy="make setup-rknn",
        )  # fmt: skip
