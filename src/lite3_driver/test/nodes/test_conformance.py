# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The driver of a Lite3 does what every driver must do.

Taking control takes it 8 s: only `make acceptance` runs this; CI has what all drivers share in
`robot_driver`, and what is this driver's own in the tests beside it.
"""

import pytest

from robot_driver.testing.conformance import DriverConformance, DriverTimes

from .host import CASE

# Alone: on a machine that is busy the robot sends too few states to be taken.
pytestmark = [pytest.mark.ros, pytest.mark.acceptance, pytest.mark.real_time]


class TestConformance(DriverConformance):
    case = CASE


class TestTimes(DriverTimes):
    case = CASE
