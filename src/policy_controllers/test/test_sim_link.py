# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The simulated robot as the child of a C++ process."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from robot_sim.drives import position_command
from robot_sim.figures import LITE3
from robot_sim.world import World

BUILD = os.environ.get("POLICY_CONTROLLERS_BUILD", "")
PERIOD_NS, EXCHANGES = 2_000_000, 100

pytestmark = pytest.mark.skipif(not BUILD, reason="`make test-cpp` builds link_check")


def checked(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    words = [f"{BUILD}/link_check", *arguments]
    return subprocess.run(words, check=False, capture_output=True, timeout=120)


def test_what_a_child_senses_is_the_world_bit_for_bit() -> None:
    ended = checked(sys.executable, str(PERIOD_NS), str(EXCHANGES))
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.decode().split() == [*LITE3.joint_names]
    found = np.frombuffer(ended.stdout).reshape(EXCHANGES + 1, -1)
    world = World(LITE3)
    pose = world.sense().joint_pos
    for row, (time_ns, joint_samples, imu_samples, *sensed) in enumerate(found):
        if row:
            world.apply(position_command(pose, stiffness=30.0, damping=1.0))
            world.step(PERIOD_NS)
        seen = world.sense()
        expected = (
            *(seen.joint_pos, seen.joint_vel, seen.joint_effort),
            *(seen.quat_xyzw, seen.ang_vel_body, seen.lin_acc_body),
        )
        assert np.array(sensed).tobytes() == np.concatenate(expected).tobytes()
        assert (time_ns, joint_samples, imu_samples) == (row * PERIOD_NS, row + 1, row + 1)


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["no_such_python", "1", "1"], 1),
        ([sys.executable, "1", "1", "--robot", "none"], 1),
        # It ends in the midst of exchanges.
        ([sys.executable, str(PERIOD_NS + 300_000), "5"], 3),
    ],
    ids=["interpreter", "robot", "period"],
)
def test_a_child_that_cannot_run_or_ends_is_noticed(arguments: list[str], status: int) -> None:
    assert checked(*arguments).returncode == status
