# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Phases per foot, and what they do while the robot is commanded to stand."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from policy_core.members.joint import JointPolicy
from policy_core.observation.state import RobotState
from testkit.kernel.contracts import bundle_of, observed
from testkit.kernel.robots import ScriptedBackend

QUARTERS = {"term": "phase", "period_s": 0.08}
"""Four ticks to a period."""
WALK, STAND = (0.5, 0.0, 0.0), (0.0, 0.0, 0.0)
COMMANDS = (WALK, WALK, STAND, STAND, WALK, WALK)


class Walker:
    """A policy without sensors, whose observation of each tick is kept."""

    def __init__(self, *terms: Mapping[str, object]) -> None:
        contract = observed(list(terms))
        self._backend, self.state = ScriptedBackend(contract), RobotState(contract)
        self._policy = JointPolicy(bundle_of(contract), self._backend, self.state)

    def tick(self, command: Sequence[float] = WALK, *, taken: bool = True) -> list[float]:
        if "velocity_command" in self.state.slices:
            self.state["velocity_command"][:] = command
        self.state.derive()
        assert self._policy.infer()
        if taken:
            self._policy.commit()
        seen: list[float] = self._backend.inputs["obs"].ravel().round(6).tolist()
        return seen


def periods(standing: Mapping[str, object]) -> list[float | None]:
    """Return the phase of each tick of COMMANDS in periods; None where sin and cos are 0."""
    walker = Walker({**QUARTERS, "standing": {"below": 0.1, **standing}})
    seen = [walker.tick(command) for command in COMMANDS]
    return [
        None if pair == [0.0, 0.0] else round(math.atan2(*pair) / math.tau % 1.0, 3)
        for pair in seen
    ]


def test_feet_have_their_offsets_and_all_sines_come_before_all_cosines() -> None:
    walker = Walker({**QUARTERS, "offsets": [0.0, 0.5]})
    seen = [walker.tick() for _ in range(3)]
    assert seen == [[0.0, 0.0, 1.0, -1.0], [1.0, -1.0, 0.0, 0.0], [0.0, 0.0, -1.0, 1.0]]


def test_parts_give_the_order_and_terms_give_sine_and_cosine_foot_by_foot() -> None:
    playground = Walker({**QUARTERS, "offsets": [0.0, 0.5], "parts": ["cos", "sin"]})
    by_foot = Walker({**QUARTERS, "offsets": [0.0]}, {**QUARTERS, "offsets": [0.5]})
    playground.tick()
    by_foot.tick()
    assert playground.tick() == [0.0, 0.0, 1.0, -1.0]
    assert by_foot.tick() == [1.0, 0.0, -1.0, 0.0]


@pytest.mark.parametrize(
    ("standing", "expected"),
    [
        ({}, [0.0, 0.25, 0.5, 0.75, 0.0, 0.25]),
        ({"phase": "zero"}, [0.0, 0.25, None, None, 0.0, 0.25]),
        ({"phase": 0.5}, [0.0, 0.25, 0.5, 0.5, 0.0, 0.25]),
        ({"clock": "stops"}, [0.0, 0.25, 0.5, 0.5, 0.5, 0.75]),
        ({"phase": "zero", "clock": "stops"}, [0.0, 0.25, None, None, 0.5, 0.75]),
        ({"phase": 0.125, "clock": "restarts"}, [0.0, 0.25, 0.125, 0.125, 0.0, 0.25]),
    ],
    ids=str,
)
def test_a_robot_that_is_commanded_to_stand_is_shown_what_the_contract_says(
    standing: Mapping[str, object], expected: list[float | None]
) -> None:
    assert periods(standing) == expected


def test_all_feet_have_the_phase_of_standing() -> None:
    walker = Walker({**QUARTERS, "offsets": [0.0, 0.5], "standing": {"below": 0.1, "phase": 0.5}})
    assert walker.tick(STAND) == [0.0, 0.0, -1.0, -1.0]


@pytest.mark.parametrize(
    ("command", "stands"),
    [
        ((0.06, 0.06, 0.05), True),
        ((0.06, 0.06, -0.06), False),
        ((0.0, 0.0, -0.1), False),
        ((-0.0999, 0.0, 0.0), True),
    ],
)
def test_the_norm_of_the_whole_command_says_whether_the_robot_stands(
    command: tuple[float, float, float], stands: bool
) -> None:
    walker = Walker({**QUARTERS, "standing": {"below": 0.1, "phase": "zero"}})
    assert (walker.tick(command) == [0.0, 0.0]) is stands


def test_terms_of_one_clock_share_a_field_and_others_do_not() -> None:
    stops = {**QUARTERS, "standing": {"below": 0.1, "clock": "stops"}}
    walker = Walker({**stops, "parts": ["sin"]}, {**stops, "parts": ["cos"]}, QUARTERS)
    assert len(walker.state.phases) == 2
    assert walker.state.inputs == ("joint_states", "cmd_vel")
    walker.tick(STAND)
    np.testing.assert_allclose(walker.tick(STAND), [0.0, 1.0, 1.0, 0.0])
