# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The driver of a Lite3 does what every driver must do."""

import pytest

from robot_driver.testing.conformance import DriverConformance, DriverTimes

from .host import CASE

pytestmark = pytest.mark.ros


class TestConformance(DriverConformance):
    case = CASE


@pytest.mark.real_time
@pytest.mark.slow
class TestTimes(DriverTimes):
    case = CASE
