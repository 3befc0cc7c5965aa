# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Tests with the real RKNN Toolkit2, which `make test-rknn` runs."""

import pytest

pytest.register_assert_rewrite(*(f"src.policy_inference.test.backends.{name}" for name in (
    "case", "conformance", "opening",
)))  # fmt: skip
