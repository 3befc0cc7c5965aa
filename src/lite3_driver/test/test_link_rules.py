# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever happens in whatever order, some rules hold."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lite3_driver import wire
from lite3_driver.wire import COMMAND, FOLD, GIVE_BACK, TAKE_CONTROL
from robot_driver.interfaces import DriverPhase

from .lockstep import DAMP, FOLD_S, FOLDED, LYING, RUN, STAND, STEP_MS, Lockstep, braking

VALID_FOR_MS = 100
NAMES = (
    "take, release, estop, silent, talks, moves, no policy, damp, stand, run, new policy, nonsense"
)
EVENTS = NAMES.split(", ")
beginnings = st.sampled_from([[], [("take", 1200)], [("take", 1200), ("damp", 100), ("run", 100)]])
happenings = st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 300)), max_size=12)


class Watched(Lockstep):
    """A link whose policy's commands are written down.

    Attributes:
        stiff_ms, damp_ms: When commands came that had stiffness, and such in MODE_DAMP.
        stopped_ms: When something happened after which MODE_DAMP must come first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stiff_ms: list[int] = []
        self.damp_ms: list[int] = []
        self.stopped_ms: list[int] = []
        self._is_new = False

    def command(self, mode: int, **numbers: object) -> None:
        if self._is_new:
            self.stopped_ms.append(self.now_ms)
        elif mode == DAMP:
            self.damp_ms.append(self.now_ms)
        if mode != DAMP:
            self.stiff_ms.append(self.now_ms)
        self._is_new = False
        super().command(mode, **numbers)

    def happen(self, event: str) -> None:
        if event == "take":
            self.link.take((), self.now_ns)
        elif event == "release":
            self.link.release("asked", self.now_ns)
        elif event == "estop":
            self.stopped_ms.append(self.now_ms)
            self.link.damp("e-stop", self.now_ns)
        elif event == "nonsense":
            self.link.receive(b"nonsense", ("10.0.0.1", 1), self.now_ns)
            super().command(RUN, position=np.full(12, np.nan))
        elif event == "new policy":
            self._is_new, self.sequence = self.sequence > 0, 0
        elif event in ("silent", "talks", "moves"):
            moving = LYING._replace(joint_vel=np.ones(12))
            self.state = {"silent": None, "talks": LYING, "moves": moving}[event]
        else:
            self.mode = {"no policy": None, "damp": DAMP, "stand": STAND, "run": RUN}[event]


@pytest.mark.slow
@settings(max_examples=40, deadline=None, derandomize=True)
@given(beginnings, happenings)
def test_the_rules_hold(begun: list[tuple[str, int]], happened: list[tuple[str, int]]) -> None:
    robot = Watched()
    robot.run(1.0)
    for event, then_ms in [*begun, *happened]:
        robot.happen(event)
        robot.step()
        robot.run(then_ms / 1000)
    robot.state = LYING
    robot.link.release("at last", robot.now_ns)
    robot.run(2.1)
    assert robot.phase() is DriverPhase.LISTENING
    _check_who_is_in_control(robot)
    _check_what_is_followed(robot)


def _check_who_is_in_control(robot: Watched) -> None:
    """Frames flow from TAKE_CONTROL to GIVE_BACK without a gap, and at no other time.

    They only brake where the robot was not given its time to fold.
    """
    codes = [(at_ms, wire.read_code(data)) for at_ms, data in robot.sent]
    held, folded_ms, last_ms, has_folded = False, -1, -1, False
    for (at_ms, code), (_, data) in zip(codes, robot.sent, strict=True):
        values = wire.read_command(data)
        assert values is None or has_folded or braking(values.astype(np.float64))
        if code == FOLD:
            assert not held
            folded_ms = at_ms
        elif code == TAKE_CONTROL:
            has_folded = at_ms - folded_ms >= FOLD_S * 1000
            held, last_ms = True, at_ms
        else:
            assert held
            assert at_ms - last_ms <= STEP_MS
            last_ms, held = at_ms, code == COMMAND
    assert not held
    asked = [code for _, code in codes if code not in (COMMAND, FOLD)]
    assert asked == [TAKE_CONTROL, TAKE_CONTROL, GIVE_BACK] * (len(asked) // 3)


def _check_what_is_followed(robot: Watched) -> None:
    """No frame is limp; one with stiffness is of a valid command, after MODE_DAMP after a stop."""
    for at_ms, data in robot.sent:
        values = wire.read_command(data)
        if values is None:
            continue
        assert (values[:, 4] > 0.0).all()
        if not values[:, 3].any():
            continue
        assert np.allclose(values[:, 0], FOLDED)
        assert 0 <= at_ms - max(ms for ms in robot.stiff_ms if ms <= at_ms) < VALID_FOR_MS
        stops = [ms for ms in robot.stopped_ms if ms < at_ms]
        last_damp_ms = max(ms for ms in robot.damp_ms if ms <= at_ms)
        assert not stops or last_damp_ms >= max(stops)
        commands = sorted(
            ms for ms in (*robot.stiff_ms, *robot.damp_ms) if last_damp_ms <= ms <= at_ms
        )
        assert all(
            later - earlier < VALID_FOR_MS + STEP_MS for earlier, later in pairwise(commands)
        )
