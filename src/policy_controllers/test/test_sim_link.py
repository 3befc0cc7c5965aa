# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated robot in a process of its own: in C++ as in Python, bit for bit.

`make test-cpp` builds the program and runs these tests.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robot_sim.drives import position_command
from robot_sim.figures import LITE3
from robot_sim.world import World
from testkit.wording import check_wording

BUILD = os.environ.get("POLICY_CONTROLLERS_BUILD", "")
STEPS, PERIOD_NS = 100, 2_000_000
ROBOT = (sys.executable, "-m", "robot_sim.sim_server")
SHOWN = ("joint_pos", "joint_vel", "joint_effort", "quat_xyzw", "ang_vel_body", "lin_acc_body")

pytestmark = pytest.mark.skipif(not BUILD, reason="`make test-cpp` builds link_check")


def link(
    *robot: str, command: Path, period_ns: int = PERIOD_NS
) -> subprocess.CompletedProcess[bytes]:
    words = [f"{BUILD}/link_check", str(STEPS), str(period_ns), str(command), *robot]
    return subprocess.run(words, check=False, capture_output=True, timeout=60)


@pytest.mark.parametrize("is_commanded", [False, True], ids=["no command", "a command"])
def test_the_robot_is_stepped_in_lockstep_without_an_allocation(
    tmp_path: Path, is_commanded: bool
) -> None:
    world, file = World(LITE3, pose="standing"), tmp_path / "command"
    pose, stiffness, damping = world.sense().joint_pos, 100.0, 2.5
    if is_commanded:
        rows = [pose, 0.0 * pose, 0.0 * pose, 0.0 * pose + stiffness, 0.0 * pose + damping]
        file.write_bytes(np.concatenate(rows).tobytes())
    ended = link(*ROBOT, "--pose=standing", command=file)
    assert (ended.returncode, ended.stderr) == (0, b"")
    for _ in range(STEPS):
        if is_commanded:
            world.apply(position_command(pose, stiffness=stiffness, damping=damping))
        world.step(PERIOD_NS)
    seen = world.sense()
    head = [world.time_ns, STEPS + 1, STEPS + 1]
    expected = np.concatenate([head, *(getattr(seen, name) for name in SHOWN)])
    assert ended.stdout == expected.tobytes()


def test_a_request_that_is_refused_says_why(tmp_path: Path) -> None:
    ended = link(*ROBOT, command=tmp_path / "none", period_ns=1_500_000)
    assert ended.returncode == 1
    check_wording(ended.stderr.decode().strip())


@pytest.mark.parametrize(
    "robot",
    [
        ("no_such_python",),
        (sys.executable, "-c", "import sys; sys.exit(7)"),
        (sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"),
        (sys.executable, "-c", "import socket, sys; "
         "socket.socket(fileno=int(sys.argv[1][10:])).send(b'hello')"),
    ],
    ids=["no program", "it ends", "it is killed", "another program"],
)  # fmt: skip
def test_a_program_that_is_no_robot_is_refused(tmp_path: Path, robot: tuple[str, ...]) -> None:
    ended = link(*robot, command=tmp_path / "none")
    assert ended.returncode == 1
    check_wording(ended.stderr.decode().strip())
