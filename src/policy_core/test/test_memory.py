# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0

import tracemalloc
from collections.abc import Mapping

import pytest

from policy_core.interfaces import Mode
from testkit.kernel.arms import Arm, ramp
from testkit.kernel.contracts import NOMINAL
from testkit.kernel.memory import ALLOWED_BYTES, held_bytes
from testkit.kernel.robots import PERIOD_NS, Robot

pytestmark = pytest.mark.both_cores

TICKS = 500


def test_what_the_package_holds_is_seen() -> None:
    tracemalloc.start()
    try:
        kept = Robot()
        assert held_bytes() > 10_000
    finally:
        tracemalloc.stop()
    assert kept.is_in(Mode.DAMP)


GAIT = [
    {"term": "velocity_command", "parts": ["wz", "vx"]},
    {"term": "last_output", "output": "speed"},
    {
        "term": "phase",
        "period_s": 0.7,
        "offsets": [0.0, 0.5],
        "standing": {"below": 0.2, "phase": 0.5, "clock": "stops"},
    },
]


@pytest.mark.parametrize(
    "changes",
    [
        {"observations.obs.history": {"length": 1}},
        {"observations.obs.history": {"length": 5}},
        {"observations.obs.terms": GAIT, "model.outputs.speed": {"shape": [1, 2]}},
    ],
    ids=["plain", "history", "gait"],
)
def test_running_does_not_grow_memory(changes: Mapping[str, object]) -> None:
    robot = Robot({"nominal": NOMINAL, **changes})
    robot.answer(0.1, 0.2, 0.3)
    robot.run(100)

    def run(ticks: int) -> None:
        for _ in range(ticks):
            robot.now_ns += PERIOD_NS
            robot.sense()
            robot.controller.command.set((0.1, 0.2, 0.3), robot.now_ns)
            robot.controller.tick(robot.now_ns, robot.now_ns + PERIOD_NS)

    tracemalloc.start()
    try:
        run(100)
        before = held_bytes()
        run(TICKS)
        grown = held_bytes() - before
    finally:
        tracemalloc.stop()
    assert robot.is_in(Mode.RUN)
    assert grown <= ALLOWED_BYTES


def test_faults_over_and_over_do_not_grow_memory_without_bound() -> None:
    robot = Robot().run(20)

    def grown_bytes(rounds: int) -> int:
        before = held_bytes()
        for _ in range(rounds):
            for _ in range(4):
                robot.tick(silent=["imu/data"])
            robot.tick()
        return held_bytes() - before

    tracemalloc.start()
    try:
        # What keeps the last of something fills up first, which takes some of these.
        assert any(grown_bytes(60) <= ALLOWED_BYTES for _ in range(20))
    finally:
        tracemalloc.stop()
    assert robot.is_in(Mode.RUN)


CHUNK_TICKS, CHUNK_BYTES = 1000, 6000
"""A few bytes per tick: a plan, its predecessor and integers take others' place, 4000 bytes in all
however many ticks there are."""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["synchronous", "asynchronous", "ensemble"])
def test_executing_chunks_does_not_grow_memory(mode: str) -> None:
    arm = Arm(mode=mode, ensemble_coeff=0.01)
    arm.answer = lambda run: ramp(run % 7)
    arm.run().follow(200)
    tracemalloc.start()
    try:
        arm.follow(200)
        before = held_bytes()
        arm.follow(CHUNK_TICKS)
        grown = held_bytes() - before
    finally:
        tracemalloc.stop()
    assert arm.is_in(Mode.RUN)
    assert grown <= CHUNK_BYTES
