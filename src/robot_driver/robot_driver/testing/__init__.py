# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Conformance tests for drivers; a driver's tests inherit `conformance.DriverConformance`.

The driver runs as it does for users, as a process on DDS, connected to a test double of its robot.
The suite is not in `policy_inference.testing`, because it uses ROS 2 and a driver's services and
status, which `policy_inference` knows nothing about. Requires pytest.
"""

import pytest

# Makes the suite's failed asserts show the compared values.
_MODULES = "case conformance fixtures following invariants leaving listening stage"
pytest.register_assert_rewrite(*(f"{__name__}.{name}" for name in _MODULES.split()))
