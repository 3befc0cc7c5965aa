# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Conformance tests for drivers, to inherit: `conformance.DriverConformance`.

The driver runs as it does for users, as a process over DDS, connected to a test double of its
robot. The suite is not in `policy_inference.testing`, because it uses ROS 2 and the requests and
status of a driver, which `policy_inference` does not know. Needs pytest.
"""

import pytest

# Makes failed asserts of the suite show the compared values.
_MODULES = "case conformance fixtures following invariants leaving listening stage"
pytest.register_assert_rewrite(*(f"{__name__}.{name}" for name in _MODULES.split()))
