# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What goes to the drives for a command."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from robot_driver.following import drive_values
from robot_driver.interfaces import WireCommand

STATE: Any = SimpleNamespace(joint_pos=np.zeros(3), joint_vel=np.zeros(3))
REST = np.tile([0.0, 0.0, 0.0, 0.0, 5.0], (3, 1))


def test_only_a_joint_with_hardly_any_gain_gets_its_row_of_the_rest() -> None:
    gains = np.array([[0.0, 2.0], [0.05, 0.04], [20.0, 0.0]])
    values = np.hstack([np.zeros((3, 3)), gains])
    command = WireCommand(
        sequence=1,
        mode=0,
        valid_for_ns=1,
        values=values,
        effort_limit=np.full(3, 10.0),
        received_ns=0,
    )
    sent = drive_values(command, STATE, np.full(3, 10.0), REST)
    np.testing.assert_array_equal(sent, [values[0], REST[1], values[2]])
