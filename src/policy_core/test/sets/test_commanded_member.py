# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A member of a set that takes a commanded height, beside one that does not."""

import numpy as np
import pytest

from policy_core.interfaces import Mode
from testkit.kernel.walkers import CROUCH, SetRobot

pytestmark = pytest.mark.both_cores

TERMS = [
    {"term": "joint_pos"},
    {
        "term": "external",
        "topic": "height",
        "size": 1,
        "commanded": [{"name": "height", "unit": "m", "min": 0.2, "max": 0.4, "default": 0.3}],
    },
]
FIELD = "external:height"


def crouching() -> SetRobot:
    """Return a robot in the state whose member takes the height."""
    robot = SetRobot(None, {"crouch": {**CROUCH, "observations": {"obs": {"terms": TERMS}}}})
    robot.sensed[FIELD] = (0.3,)
    robot.walking()
    robot.requests.switch("crouch")
    robot.ticks(20)
    assert (robot.is_in(Mode.RUN), robot.state) == (True, "crouch")
    return robot


def height(robot: SetRobot) -> float:
    return float(robot.observed_by("crouch")[-1])


def test_a_member_observes_its_commanded_values_within_their_limits() -> None:
    robot = crouching()
    for commanded, observed in ((0.25, 0.25), (0.9, 0.4), (-1.0, 0.2)):
        robot.sensed[FIELD] = (commanded,)
        robot.ticks(1)
        assert height(robot) == np.float32(observed)


def test_without_messages_they_fade_to_their_defaults_and_the_set_runs_on() -> None:
    robot = crouching()
    robot.sensed[FIELD] = (0.2,)
    robot.ticks(1)
    for _ in range(100):
        robot.tick(silent=["height"])
    assert height(robot) == np.float32(0.3)
    assert robot.is_in(Mode.RUN)
