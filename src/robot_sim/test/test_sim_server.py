# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The simulated robot for one other program: lockstep over a socket, faults, and its end."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from robot_sim.drives import position_command
from robot_sim.figures import LITE3, Array
from robot_sim.sim_server import MAGIC
from robot_sim.world import World
from testkit.wording import check_wording

JOINTS, PERIOD_NS = len(LITE3.joint_names), 2_000_000
STIFFNESS, DAMPING = 30.0, 1.0


class Answer(NamedTuple):
    time_ns: int
    joint_samples: int
    imu_samples: int
    values: Array
    """[3 * joints + 10]."""


class Client:
    """The other end."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        assert self._received(len(MAGIC)) == MAGIC
        (count,) = struct.unpack("<I", self._received(4))
        self.joints = [self._received(self._size()).decode() for _ in range(count)]
        (self.step_ns,) = struct.unpack("<q", self._received(8))

    def _size(self) -> int:
        (size,) = struct.unpack("<I", self._received(4))
        return int(size)

    def _received(self, size: int) -> bytes:
        data = self.channel.recv(size, socket.MSG_WAITALL)
        assert len(data) == size, "the server has ended"
        return data

    def ask(self, duration_ns: int, pose: Array | None = None) -> Answer:
        """Step; hold a pose [joints], rad, or let the drives damp."""
        rows = np.zeros((5, JOINTS))
        if pose is not None:
            rows[0], rows[3], rows[4] = pose, STIFFNESS, DAMPING
        head = struct.pack("<qq", duration_ns, pose is not None)
        self.channel.sendall(head + rows.tobytes())
        time_ns, joints, imu = struct.unpack("<qqq", self._received(24))
        return Answer(time_ns, joints, imu, np.frombuffer(self._received(8 * (3 * JOINTS + 10))))


@contextmanager
def served(*arguments: str) -> Iterator[tuple[Client, subprocess.Popen[str]]]:
    ours, theirs = socket.socketpair()
    words = [sys.executable, "-m", "robot_sim.sim_server", "--channel", str(theirs.fileno())]
    with ours, theirs:
        process = subprocess.Popen(
            [*words, *arguments], pass_fds=[theirs.fileno()], stderr=subprocess.PIPE, text=True
        )
        theirs.close()
        try:
            yield Client(ours), process
        finally:
            ours.close()
            process.communicate(timeout=30)


def test_it_is_the_world_bit_for_bit() -> None:
    world = World(LITE3)
    pose = world.sense().joint_pos
    with served() as (client, _):
        assert client.joints == [*LITE3.joint_names]
        assert client.ask(0).time_ns == 0
        for tick in range(1, 101):
            found = client.ask(PERIOD_NS, pose)
            world.apply(position_command(pose, stiffness=STIFFNESS, damping=DAMPING))
            world.step(PERIOD_NS)
            seen = world.sense()
            expected = (seen.joint_pos, seen.joint_vel, seen.joint_effort, seen.quat_xyzw)
            assert found.values[:-6].tobytes() == np.concatenate(expected).tobytes(), tick
            assert (found.time_ns, found.joint_samples) == (tick * PERIOD_NS, tick + 1)


def test_a_source_that_is_silent_keeps_its_values_and_counts_no_more() -> None:
    with served("--faults", "drop:imu@0.01 nan:joint_states.velocity@0.01+0.002") as (client, _):
        answers = [client.ask(PERIOD_NS) for _ in range(10)]
    assert [answer.imu_samples for answer in answers] == [1, 2, 3, 4, *([4] * 6)]
    assert answers[-1].joint_samples == 10
    assert len({answer.values[-10:].tobytes() for answer in answers[3:]}) == 1
    broken = [bool(np.isnan(answer.values[JOINTS : 2 * JOINTS]).any()) for answer in answers]
    assert broken == [number == 4 for number in range(10)]


def test_drives_damp_until_they_are_commanded() -> None:
    with served("--pose", "standing") as (client, _):
        heights = [client.ask(20_000_000).values[:JOINTS] for _ in range(50)]
    assert np.abs(heights[-1] - heights[0]).max() > 0.3


def test_it_ends_with_its_client_and_writes_the_trace(tmp_path: Path) -> None:
    file = tmp_path / "walk.npz"
    with served("--trace-file", str(file)) as (client, process):
        for _ in range(50):
            client.ask(PERIOD_NS)
    assert process.returncode == 0
    with np.load(file) as trace:
        assert len(trace["time_s"]) == 5


@pytest.mark.parametrize(
    "arguments",
    [["--robot", "no_robot"], ["--faults", "drop:nothing"], ["--pose", "upside_down"]],
    ids=" ".join,
)
def test_what_cannot_be_simulated_is_refused(arguments: list[str]) -> None:
    words = [sys.executable, "-m", "robot_sim.sim_server", "--channel", "0", *arguments]
    ended = subprocess.run(words, check=False, capture_output=True, text=True)
    assert ended.returncode == 2
    check_wording(ended.stderr.strip())


def test_a_time_of_no_whole_steps_ends_it() -> None:
    with pytest.raises(AssertionError, match="ended"), served() as (client, process):
        client.ask(PERIOD_NS + 300_000)
    assert process.returncode == 2
