# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The one test against the clock: everything else is in lockstep."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from .rig import Rig

STANDING_M, LYING_M = 0.2, 0.15


@pytest.mark.real_time
@pytest.mark.ros
def test_in_real_time_the_robot_stands_up_and_sinks_when_its_node_is_killed(tmp_path: Path) -> None:
    with Rig(tmp_path, lockstep=False) as rig:
        rig.operator.demand("stand")
        rig.wait_until(lambda: rig.height_m > STANDING_M, "the robot to stand")
        rig.expect_deaths()
        rig.policy.send(signal.SIGKILL)
        rig.wait_until(lambda: rig.height_m < LYING_M, "the robot to lie")
