# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The simulated robot for one client: lockstep over a socket, faults, and the end."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from robot_sim.drives import position_command
from robot_sim.faults import FaultPlan
from robot_sim.figures import LITE3, Array, load_robot
from robot_sim.sim_server import (
    MAGIC,
    VALID_FOR_NS,
    VERSION,
    SimServer,
    parse_arguments,
    simulated_world,
)
from robot_sim.world import World
from testkit.wording import check_wording

COMMAND = [sys.executable, "-m", "robot_sim.sim_server"]
N, PERIOD_NS = len(LITE3.joint_names), 2_000_000
STIFFNESS, DAMPING = 30.0, 1.0
SHOWN = ("joint_pos", "joint_vel", "joint_effort", "quat_xyzw", "ang_vel_body", "lin_acc_body")


class Answer(NamedTuple):
    time_ns: int
    joint_samples: int
    imu_samples: int
    values: Array
    """[3 n + 10]."""


class Client:
    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        greeting = channel.recv(1 << 16)
        magic, version, count, self.step_ns = struct.unpack("=8s3q", greeting[:32])
        assert (magic, version) == (MAGIC, VERSION)
        self.joints = [name.decode() for name in greeting[32:].split(b"\0")[:-1]]
        assert len(self.joints) == count
        self.first = self.receive()

    def receive(self) -> Answer:
        data = self.channel.recv(1 << 16)
        assert len(data) == 24 + 8 * (3 * len(self.joints) + 10), data[8:].decode()
        time_ns, joint_samples, imu_samples = struct.unpack("=3q", data[:24])
        return Answer(time_ns, joint_samples, imu_samples, np.frombuffer(data, offset=24))

    def send(self, duration_ns: int, rows: Array | None = None) -> None:
        numbers = b"" if rows is None else rows.tobytes()
        self.channel.sendall(struct.pack("=q", duration_ns) + numbers)

    def ask(self, duration_ns: int, rows: Array | None = None) -> Answer:
        """Step with a command [5, n], or let the drives damp."""
        self.send(duration_ns, rows)
        return self.receive()


@contextmanager
def served(*arguments: str) -> Iterator[Client]:
    """Run a server on a thread of this process; yield its client."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    given = parse_arguments(["--channel", str(theirs.fileno()), *arguments])

    def serve() -> None:
        with theirs:
            SimServer(simulated_world(given), given).serve(theirs)

    with ours, ThreadPoolExecutor(1) as threads:
        threads.submit(serve)
        yield Client(ours)
        ours.close()


def holding(pose: Array) -> Array:
    """Return a command [5, n] to hold a pose [n], rad."""
    gains = np.full((2, len(pose)), [[STIFFNESS], [DAMPING]])
    return np.concatenate([pose[None], np.zeros((2, len(pose))), gains])


@pytest.mark.parametrize(
    "faults",
    ["", "push:left@0.02+0.1=80 motor_off:FL_Knee_joint@0.1 latency:command@0.05+0.1=0.01"],
    ids=["none", "of the body"],
)
def test_it_is_the_world_bit_for_bit(faults: str) -> None:
    world, plan = World(LITE3), FaultPlan.parse(faults.split())
    pose = world.sense().joint_pos
    held: Any = {"stiffness": STIFFNESS, "damping": DAMPING, "valid_for_ns": VALID_FOR_NS}
    with served("--faults", faults) as client:
        assert client.joints == [*LITE3.joint_names]
        assert client.step_ns == 1_000_000
        assert client.first[:3] == (0, 1, 1)
        for tick in range(1, 151):
            is_commanded = tick > 50
            found = client.ask(PERIOD_NS, holding(pose) if is_commanded else None)
            if is_commanded:
                world.apply(position_command(pose, **held))
            plan.act(world)
            world.step(PERIOD_NS)
            seen = world.sense()
            expected = np.concatenate([getattr(seen, name) for name in SHOWN])
            assert found.values.tobytes() == expected.tobytes(), tick
            assert found[:3] == (tick * PERIOD_NS, tick + 1, tick + 1)


def test_any_robot_of_the_simulator_may_be_served() -> None:
    with served("--robot", "g1") as client:
        assert client.joints == [*load_robot("g1").joint_names]


@pytest.mark.parametrize("fault", ["drop", "freeze"])
def test_a_source_without_news_keeps_its_values_and_counts_no_more(fault: str) -> None:
    faults = f"{fault}:imu@0.01 nan:joint_states.velocity@0.01+0.002"
    with served("--faults", faults) as client:
        answers = [client.first, *(client.ask(PERIOD_NS) for _ in range(9))]
    assert [answer.imu_samples for answer in answers] == [1, 2, 3, 4, 5, *([5] * 5)]
    assert [answer.joint_samples for answer in answers] == [*range(1, 11)]
    assert len({answer.values[-10:].tobytes() for answer in answers[4:]}) == 1
    broken = [bool(np.isnan(answer.values[N : 2 * N]).any()) for answer in answers]
    assert broken == [number == 5 for number in range(10)]


def test_a_source_that_is_silent_from_the_start_shows_no_numbers() -> None:
    with served("--faults", "drop:imu") as client:
        assert client.first.imu_samples == 0
        assert np.isnan(client.first.values[-10:]).all()


def test_faults_of_a_file_are_read_whenever_it_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "faults"
    with served("--fault-file", str(file)) as client:
        file.write_text("drop:imu\n\nmotor_off:FL_Knee_joint\n")
        assert client.ask(PERIOD_NS)[1:3] == (2, 1)
        file.write_text("nonsense")
        assert client.ask(PERIOD_NS)[1:3] == (3, 1)
        file.write_text("")
        assert client.ask(PERIOD_NS)[1:3] == (4, 2)
    (message,) = caplog.messages
    check_wording(message)


def test_drives_damp_without_a_command() -> None:
    with served("--pose", "standing") as client:
        for _ in range(50):
            held = client.ask(20_000_000, holding(client.first.values[:N]))
        for _ in range(50):
            damped = client.ask(20_000_000)
    assert np.abs(damped.values[:N] - held.values[:N]).max() > 0.3


def test_a_hoist_lets_the_robot_down_in_time() -> None:
    with served("--robot", "g1", "--hoist-s", "0.2") as client:
        assert np.abs(client.ask(200_000_000).values[-9]) < 0.02
        for _ in range(10):
            fallen = client.ask(200_000_000)
    assert np.abs(fallen.values[-10:-7]).max() > 0.2


def test_it_ends_with_its_client_and_writes_the_trace(tmp_path: Path) -> None:
    file = tmp_path / "walk.npz"
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    words = [*COMMAND, "--channel", str(theirs.fileno()), "--trace-file", str(file)]
    with ours, subprocess.Popen(words, pass_fds=[theirs.fileno()]) as process:
        theirs.close()
        client = Client(ours)
        for _ in range(50):
            client.ask(PERIOD_NS, holding(client.first.values[:N]))
        ours.close()
    assert process.returncode == 0
    with np.load(file) as trace:
        assert trace["time_s"] == pytest.approx([0.0, 0.02, 0.04, 0.06, 0.08, 0.1])
        assert trace["target"][-1] == pytest.approx(client.first.values[:N])


def test_what_cannot_be_simulated_is_refused() -> None:
    words = [*COMMAND, "--channel", "0", "--robot", "no_robot"]
    ended = subprocess.run(words, check=False, capture_output=True, text=True)
    assert ended.returncode == 2
    check_wording(ended.stderr.splitlines()[-1])


REQUESTS: dict[str, tuple[int, Array | None]] = {
    "no whole steps": (PERIOD_NS + 300_000, None),
    "no time": (0, None),
    "too short": (PERIOD_NS, np.zeros((4, N))),
    "no number": (PERIOD_NS, np.full((5, N), np.nan)),
    "negative gains": (PERIOD_NS, np.full((5, N), -1.0)),
}


@pytest.mark.parametrize("wrong", REQUESTS)
def test_a_request_that_makes_no_sense_is_refused_and_ends_it(wrong: str) -> None:
    duration_ns, rows = REQUESTS[wrong]
    with served() as client:
        client.send(duration_ns, rows)
        refused = client.channel.recv(1 << 16)
        assert client.channel.recv(1) == b""
    assert int.from_bytes(refused[:8], sys.byteorder, signed=True) == -1
    check_wording(refused[8:].decode())
