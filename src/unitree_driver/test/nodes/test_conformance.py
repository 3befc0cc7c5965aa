# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The drivers of a Go2 and a G1 do what every driver must do.

Taking control takes them seconds, so that only `make acceptance` runs this. CI has what all drivers
share in `robot_driver`, and in `test_driver_node.py` how a Go2 is taken, followed and given back.
"""

import pytest

from robot_driver.testing.conformance import DriverConformance, DriverTimes

from .robot import G1_CASE, GO2_CASE

pytestmark = [pytest.mark.ros, pytest.mark.acceptance]


class TestGo2(DriverConformance):
    case = GO2_CASE


class TestG1(DriverConformance):
    case = G1_CASE


@pytest.mark.real_time
class TestTimes(DriverTimes):
    case = GO2_CASE
