# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is heard live gives the rows that its recording gives, at whatever speed it is played."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node

from model_tools import cli
from model_tools.errors import ToolError
from model_tools.files.row_files import BagSource
from model_tools.files.rows import RowSource
from model_tools.nodes.live import LiveSource
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from testkit.bags import MS, Said, write_bag
from testkit.edits import reword
from testkit.numbers import numbers_in
from testkit.wire_messages import SCAN
from testkit.wording import check_wording, lines_with, refusal

from ..small_bag import command, every, imus, joint_states, perceived
from ..tiny_bundle import make_bundle

pytestmark = pytest.mark.ros
PLAYER = Path(__file__).with_name("player.py")
PLAIN = "{term: joint_pos}, {term: joint_vel}, {term: last_action}"
WALKER = "{term: base_ang_vel}, {term: velocity_command}"
SOON_S = 0.3
RANGE = "velocity_command: {min: [-1, -1, -1], max: [1, 1, 1]}"
Rows = list[dict[str, np.ndarray[Any, np.dtype[Any]]]]


@pytest.fixture
def walking_policy(tmp_path: Path) -> JointBundle:
    """A policy that sees the IMU and the velocity command."""
    folder = make_bundle(tmp_path / "walker", limits=RANGE)
    reword(folder / "policy.yaml", (PLAIN, WALKER))
    return load_bundle(folder, kind=JointBundle)


@contextmanager
def player_of(bag: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    player = subprocess.Popen(
        [sys.executable, str(PLAYER), str(bag), *options], stdin=subprocess.PIPE
    )
    try:
        yield player
    finally:
        assert player.stdin
        player.stdin.close()
        assert player.wait(30) == 0


def wait_for_publishers(topic: str, count: int) -> None:
    context = Context()
    rclpy.init(context=context)
    node, give_up_s = Node("looks", context=context), time.monotonic() + 20.0
    while node.count_publishers(topic) < count:
        assert time.monotonic() < give_up_s
        time.sleep(0.01)
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.fixture(autouse=True)
def _ends() -> Iterator[None]:
    """Interrupt a test that would hear nothing for ever."""
    timer = threading.Timer(90.0, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    yield
    timer.cancel()


def live_rows(source: RowSource) -> Rows:
    return [
        {
            "number": np.array(row.number),
            "time": np.array(row.time_s),
            "begins": np.array(row.begins),
            **{name: array.copy() for name, array in (*row.tensors.items(), *row.sensed.items())},
        }
        for row in source.rows(None)
    ]


def assert_alike(found: Rows, expected: Rows) -> None:
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            np.testing.assert_allclose(ours[name], value, rtol=0, atol=1e-6, err_msg=name)


def walk_said(last_ms: int) -> list[Said]:
    """Joints at 200 Hz, the IMU at 200 Hz, stamped commands at 20 Hz, each logged a bit late."""
    said = [
        *joint_states(every(5, 1000, last_ms), log_ns=MS),
        *imus(every(5, 1002, last_ms)),
        *(command(ms * MS, ms / last_ms, stamped=True) for ms in range(1004, last_ms, 50)),
    ]
    return sorted(said, key=lambda entry: entry[1])


def unstamped_commands() -> list[Said]:
    said = [
        *joint_states(every(5, 1000, 3000)),
        *imus(every(5, 1000, 3000)),
        *(command(ms * MS, ms / 3000) for ms in range(1010, 3000, 100)),
    ]
    return sorted(said, key=lambda entry: entry[1])


@pytest.mark.parametrize(
    ("said", "options", "given", "count"),
    [
        (walk_said(3500), "--rate 20", {}, 125),
        # Not to the end: a publisher that leaves does not wait until its last messages have come.
        (walk_said(3500), "--rate 5 --best-effort", {"duration_s": 1.0}, 51),
        # They come between the stamps that are published around them.
        (unstamped_commands(), "--rate 4", {"left_s": SOON_S}, 101),
    ],
    ids=["fast", "best effort", "commands without stamps"],
)
def test_rows_are_those_of_the_recording(
    walking_policy: JointBundle,
    tmp_path: Path,
    said: Sequence[Said],
    options: str,
    given: dict[str, Any],
    count: int,
) -> None:
    bag = write_bag(tmp_path / "bag", said)

    with player_of(bag, *options.split()):
        found = live_rows(LiveSource(walking_policy, **given))

    assert_alike(found, live_rows(BagSource(walking_policy, bag))[:count])
    assert len(found) == count
    assert np.ptp([row["velocity_command"][0] for row in found]) > 0.2


def test_what_is_perceived_without_values_is_skipped_as_in_a_recording(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    term = {"term": "height_scan", "topic": "perception/ground", "scan": SCAN}
    policy = load_bundle(make_bundle(tmp_path / "sees", last=json.dumps(term)), kind=JointBundle)
    scans = [
        perceived(ms * MS, problem="no map") if 2000 <= ms < 2200 else perceived(ms * MS, [ms, 0.0])
        for ms in range(1000, 3001, 20)
    ]
    said = sorted([*joint_states(every(5, 1000, 3000)), *scans], key=lambda entry: entry[1])
    bag = write_bag(tmp_path / "bag", said)

    with player_of(bag, "--rate", "4"):
        found = live_rows(LiveSource(policy, left_s=SOON_S))

    assert 10 in numbers_in(lines_with(caplog.messages, ": skipped: ")[0])
    assert_alike(found, live_rows(BagSource(policy, bag)))
    assert sum(bool(row["begins"]) for row in found) == 2


def test_an_interrupt_keeps_what_came(tiny: JointBundle, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", joint_states(every(5, 1000, 6000)))
    seen: Rows = []

    with player_of(bag, "--rate", "4", "--stay"):
        for row in LiveSource(tiny).rows():
            seen.append({"number": np.array(row.number)})
            if row.number == 20:
                os.kill(os.getpid(), signal.SIGINT)

    assert [int(row["number"]) for row in seen] == list(range(len(seen)))
    assert len(seen) > 100  # What waited for its order is not lost: two seconds of it.


def test_a_player_that_starts_over_ends_the_rows(
    tiny: JointBundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    once = joint_states(every(5, 5000, 8000))
    again = [(topic, log_ns + 3_010 * MS, message) for topic, log_ns, message in once]
    bag = write_bag(tmp_path / "bag", [*once, *again])

    with player_of(bag, "--rate", "4"):
        found = live_rows(LiveSource(tiny))

    check_wording(caplog.messages[-1])
    assert_alike(found, live_rows(BagSource(tiny, write_bag(tmp_path / "once", once))))


@pytest.mark.slow
def test_two_publishers_of_a_robot_s_state_are_refused(tiny: JointBundle, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", joint_states(every(5, 1000, 1100)))

    options = ("--unheard", "--stay")
    with player_of(bag, *options), player_of(bag, *options):
        wait_for_publishers("/joint_states", 2)
        with refusal(ToolError):
            live_rows(LiveSource(tiny))


@pytest.mark.ros
@pytest.mark.acceptance  # 14 s; `test_live` shows in less what `LiveSource` gives
def test_what_is_played_gives_the_rows_of_the_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_bundle(Path("tiny"))
    bag = write_bag(tmp_path / "bag", joint_states(every(20, 1000, 3000)))
    args = ["calibrate", "--bundle", "tiny", "--samples", "all", "--allow-poor", "--output"]
    assert cli.main([*args, "bag.npz", "--bag", str(bag)]) == 0

    player = subprocess.Popen([sys.executable, str(PLAYER), str(bag), "--rate", "4"])
    try:
        # A process of its own, which can be given up where nothing is heard.
        live = [sys.executable, "-m", "model_tools", *args, "live.npz", "--live"]
        subprocess.run(live, check=True, timeout=120)
    finally:
        assert player.wait(30) == 0

    with np.load("bag.npz") as recorded, np.load("live.npz") as live:
        assert len(recorded["obs"]) > 90
        for name in ("obs", "actions", "joint_pos", "time", "episode"):
            np.testing.assert_allclose(live[name], recorded[name], rtol=0.0, atol=1e-6)
