# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command `episode_recorder` as a process: how it ends, and what it leaves behind."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from std_srvs.srv import Trigger

from lerobot_bridge.episode import read_sidecar
from testkit.ros_time import ns
from testkit.wording import check_wording, lines_with

from .robot import DEADLINE_S, MAPPING, Robot, read_episode

pytestmark = pytest.mark.ros

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start_recorder(tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts a recorder of a session with its output in recorder.log."""
    running: list[subprocess.Popen[bytes]] = []
    mapping = tmp_path / "two_joints.yaml"
    mapping.write_text(MAPPING)

    def apply(**parameters: object) -> subprocess.Popen[bytes]:
        given = {
            "mapping": str(mapping),
            "output": str(tmp_path / "session"),
            "task": "Wave.",
            "auto": False,
            "min_free_mb": 1.0,
            **parameters,
        }
        words = [
            word for name, value in given.items() for word in ("-p", f"{name}:={json.dumps(value)}")
        ]
        with (tmp_path / "recorder.log").open("ab") as log:
            running.append(
                subprocess.Popen(
                    [
                        sys.executable,
                        "-m",
                        "lerobot_bridge.nodes.episode_recorder",
                        "--ros-args",
                        *words,
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            )
        return running[-1]

    yield apply
    for process in running:
        process.kill()
        process.wait()


def begins(robot: Robot) -> None:
    """Request an episode repeatedly until one begins.

    A request is lost if it goes to a killed process, or to one whose answers cannot arrive yet.
    """
    asked_ns = robot.node.get_clock().now().nanoseconds
    robot.statuses.clear()
    client = robot.node.create_client(Trigger, "episode_recorder/start")
    robot.until(client.service_is_ready, "the recorder", sends=True)
    robot.until(lambda: robot.statuses, "its status", sends=True)
    client.call_async(Trigger.Request())
    timer = robot.node.create_timer(2.0, lambda: client.call_async(Trigger.Request()))
    robot.until(
        # An older status may still have been in the queue.
        lambda: (
            ns(robot.statuses[-1].header.stamp) > asked_ns and robot.value("state") == "episode"
        ),
        "an episode to begin",
        sends=True,
    )
    robot.node.destroy_timer(timer)
    robot.node.destroy_client(client)


def grows(robot: Robot, to: int = 3) -> None:
    robot.until(
        lambda: robot.value("state") == "episode" and int(robot.value("messages")) > to,
        "messages",
        sends=True,
    )


def test_signal_ends_it_and_the_episode_is_kept(
    rig: Robot, start_recorder: Start, tmp_path: Path
) -> None:
    rig.appears()
    process = start_recorder()
    begins(rig)
    grows(rig)
    process.send_signal(signal.SIGTERM)

    assert process.wait(DEADLINE_S) == 0
    episode = tmp_path / "session" / "episode_0000"
    assert read_sidecar(episode).ended
    assert read_episode(episode)["/joint_states"]
    log = (tmp_path / "recorder.log").read_text()
    assert "Traceback" not in log


def test_bad_parameters_end_with_status_2(start_recorder: Start, tmp_path: Path) -> None:
    assert start_recorder(mapping="so102").wait(DEADLINE_S) == 2
    log = (tmp_path / "recorder.log").read_text()
    assert "so102" in log
    assert "Traceback" not in log


def operate_episodes(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lerobot_bridge.nodes.episode_operator", *words],
        capture_output=True,
        text=True,
    )


@pytest.mark.acceptance
def test_operator_asks_judges_and_prints_the_answers(
    rig: Robot, start_recorder: Start, tmp_path: Path
) -> None:
    start_recorder()
    first, second = (tmp_path / "session" / f"episode_{number:04d}" for number in range(2))

    refused = operate_episodes("start")
    assert refused.returncode == 1
    check_wording(lines_with(refused.stderr, "/joint_states:")[0])
    rig.appears()
    begins(rig)
    for request in ("on", "off"):
        check_wording(operate_episodes("intervention", request).stdout.strip())
    stopped = operate_episodes("stop")
    assert stopped.returncode == 0
    check_wording(stopped.stdout.strip())
    rig.until(first.is_dir, "the first episode")
    begins(rig)
    judged = operate_episodes("success", "0")
    assert judged.returncode == 0
    check_wording(judged.stdout.strip())
    running = operate_episodes("failure", "1")
    assert running.returncode == 1
    check_wording(lines_with(running.stderr, "episode_0001")[0])
    check_wording(operate_episodes("failure").stdout.strip())
    rig.request("stop")
    rig.until(second.is_dir, "the second episode")
    status = operate_episodes("status")
    check_wording(status.stdout.splitlines()[0])
    assert "free_mb" in status.stdout

    assert [read_sidecar(episode).success for episode in (first, second)] == [True, False]
    ((begin_ns, end_ns),) = read_sidecar(first).interventions or ()
    assert begin_ns < end_ns
