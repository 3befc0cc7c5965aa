# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What every driver must do, as tests to inherit: `conformance.DriverConformance`.

A driver runs as its users run it, as a process over DDS; behind it is a double of its robot. It is
here and not in `policy_inference.testing`, because it talks over ROS 2 and knows the requests and
the status of a driver, of which nothing in `policy_inference` knows. Needs pytest.
"""

import pytest

# Lets the asserts of the suite say what they compared.
_MODULES = "case conformance fixtures following invariants leaving listening stage"
pytest.register_assert_rewrite(*(f"{__name__}.{name}" for name in _MODULES.split()))
