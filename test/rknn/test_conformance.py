# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The conformance suite over `rknn_sim`, for real: the simulator builds each model in fp16."""

from functools import partial

import pytest

from policy_inference.backends.child import ChildBackend
from policy_inference.backends.rknn_sim import RknnSimBackend
from src.policy_inference.test.backends.case import BackendCase
from src.policy_inference.test.backends.conformance import BackendConformance


class TestConformance(BackendConformance):
    @pytest.fixture
    def case(self) -> BackendCase:
        return BackendCase(
            load=lambda: partial(ChildBackend, RknnSimBackend), package="rknn", in_child=True,
            tolerance=0.03,
        )  # fmt: skip
