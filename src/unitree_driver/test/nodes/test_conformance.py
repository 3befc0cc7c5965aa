# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The drivers of a Go2 and a G1 do what every driver must do.

Taking control takes them seconds: `make acceptance` runs all of it, CI what they do without.
`test_driver_node.py` shows how they take control, follow and give it back.
"""

import pytest

from robot_driver.testing.conformance import DriverConformance, DriverTimes
from robot_driver.testing.listening import ListeningConformance

from .robot import G1_CASE, GO2_CASE

pytestmark = pytest.mark.ros


class TestListening(ListeningConformance):
    case = GO2_CASE


@pytest.mark.acceptance
class TestGo2(DriverConformance):
    case = GO2_CASE


@pytest.mark.acceptance
class TestG1(DriverConformance):
    case = G1_CASE


@pytest.mark.real_time
@pytest.mark.slow
class TestTimes(DriverTimes):
    case = GO2_CASE
