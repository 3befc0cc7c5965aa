# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Lets the asserts of the conformance suite say what they compared."""

import pytest

pytest.register_assert_rewrite(*(f"{__package__}.{name}" for name in (
    "case", "conformance", "opening",
)))  # fmt: skip
