# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A run with many switches, repeated from its sensors and granted requests, bit for bit."""

import contextlib
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from policy_core.errors import RefusedError
from policy_core.interfaces import Mode
from testkit.kernel.contracts import DEFAULT
from testkit.kernel.walkers import SetRobot

SWITCHES = 50


class Seen(NamedTuple):
    """What a recording has of a tick."""

    sensed: dict[str, Sequence[float]]
    granted: tuple[tuple[str, int], ...]
    commanded: bytes
    state: str


def new_robot() -> SetRobot:
    """Return a robot that walks, whose policies answer by what they observe."""
    robot = SetRobot(
        {"members.crouch.starts": "followed", "states.walk.to.crouch.when": {"joint_speed": 8.0}},
        {"crouch": {"name": "crouch", "rate_hz": 25}},
    )
    for name, backend in robot.backends.items():
        weights = np.random.default_rng(len(name)).normal(0.0, 0.1, (3, 18))

        def answer(robot: SetRobot, name: str, weights: np.ndarray) -> None:
            robot.answers(name, *np.tanh(weights @ robot.observed_by(name)))

        backend.during_run = partial(answer, robot, name, weights)
    return robot.walking()


def ticked(robot: SetRobot, sensed: dict[str, Sequence[float]]) -> Seen:
    targets = robot.tick(sensed)
    assert targets is not None
    block = np.concatenate([targets.position, targets.stiffness, targets.damping])
    return Seen(sensed, robot.controller.latest_tick.granted, block.tobytes(), robot.state)


def test_a_run_with_many_switches_is_repeated_bit_for_bit() -> None:
    random, robot, seen = np.random.default_rng(3), new_robot(), list[Seen]()
    while robot.policy.report.switches < SWITCHES:
        sensed = {
            "joint_pos": (np.array(DEFAULT) + random.normal(0.0, 0.02, 3)).tolist(),
            "joint_vel": random.normal(0.0, 3.0, 3).tolist(),
            "ang_vel_body": random.normal(0.0, 0.3, 3).tolist(),
        }
        if random.random() < 0.3:
            other = "crouch" if robot.state == "walk" else "walk"
            with contextlib.suppress(RefusedError):
                robot.requests.switch(other)
        seen.append(ticked(robot, sensed))
    assert robot.is_in(Mode.RUN)
    again = new_robot()
    for tick in seen:
        for name, _ in tick.granted:
            again.requests.switch(name.removeprefix("switch "))
        assert ticked(again, tick.sensed)[2:] == tick[2:]
