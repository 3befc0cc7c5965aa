# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the simulated robot senses becomes the state that a policy sees."""

import numpy as np
import pytest

from model_tools.simulation.controlled import SensedRobot
from policy_core.bundle.state_fields import STATE_FIELDS, StateField
from policy_core.observation.state import StateVector
from robot_sim.world import World

SENSORS = World(pose="standing").sense()
SIMULATED = {name: field for name, field in STATE_FIELDS.items() if field.simulated}


@pytest.mark.parametrize("field", SIMULATED.values(), ids=SIMULATED.keys())
def test_every_simulated_field_is_what_the_sensors_show(field: StateField) -> None:
    joints = SENSORS.joint_names[::-1]
    size = len(joints) if field.size == "joints" else field.size
    state = StateVector({field.name: size})

    SensedRobot(joints, state).write(SENSORS)

    assert field.simulated
    values = np.asarray(field.simulated(SENSORS))
    expected = values[::-1] if field.size == "joints" else values
    np.testing.assert_array_equal(state[field.name], expected)
