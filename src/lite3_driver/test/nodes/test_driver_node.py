# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the driver of a Lite3 does beside what every driver does (`test_conformance`)."""

import os
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from policy_msgs.msg import ContactForces, RobotStatus
from sensor_msgs.msg import Imu, JointState

from lite3_driver import wire
from policy_inference.machine.scheduling import list_threads
from robot_driver.testing.case import COMMANDED, GIVEN_BACK, OTHER, TAKEN
from robot_driver.testing.stage import Stage
from testkit.wording import check_wording, lines_with

from .host import FOLDED_RAD, Host

pytestmark = pytest.mark.ros


def test_state_is_published_as_the_host_sends_it(lite3_stage: Stage) -> None:
    heard: dict[str, list[Any]] = {"joint_states": [], "imu/data": [], "contact_forces": []}
    diagnostics: list[DiagnosticArray] = []
    lite3_stage.listen(DiagnosticArray, "/diagnostics", diagnostics)
    for message, (topic, into) in zip((JointState, Imu, ContactForces), heard.items(), strict=True):
        lite3_stage.listen(message, f"/robot/{topic}", into)
    driver = lite3_stage.driver(name="robot")
    driver.until(lambda: all(heard.values()) and diagnostics, "messages")
    status = driver.may_be_taken()
    assert list(heard["joint_states"][-1].position) == pytest.approx(FOLDED_RAD, abs=1e-6)
    assert [force.z for force in heard["contact_forces"][-1].forces] == [2.0, 5.0, 8.0, 11.0]
    assert status.state == RobotStatus.LISTENING
    assert list(status.joint_names) == list(wire.JOINT_NAMES)
    assert list(status.temperature_c) == [30.0 + joint for joint in range(12)]
    assert diagnostics[-1].status[0].name == "/robot/lite3_driver: robot"


@pytest.mark.slow
def test_request_to_give_back_ends_one_to_take(lite3_stage: Stage) -> None:
    host = Host()
    host.start()
    driver = lite3_stage.driver(host)
    driver.may_be_taken()
    taking = driver.asked("take_control")
    driver.until(lambda: host.heard, "a fold")
    again = driver.ask("take_control")
    assert not again.success
    check_wording(again.message)
    released = driver.ask("release_control")
    assert released.success, released.message
    driver.until(taking.done, "an answer to take_control")
    assert not taking.result().success
    # the host's thread may read the last datagram after the answers
    driver.until(lambda: host.kinds()[-1:] == [GIVEN_BACK], "control given back")
    assert host.kinds() == [OTHER, TAKEN, COMMANDED, GIVEN_BACK]


@pytest.mark.acceptance
def test_inactive_driver_lets_go_of_the_port_and_refuses(lite3_stage: Stage) -> None:
    driver = lite3_stage.driver()
    driver.may_be_taken()
    driver.changes(Transition.TRANSITION_DEACTIVATE)
    for request in ("take_control", "release_control", "damp"):
        response = driver.ask(request)
        assert not response.success
        assert "not active" in response.message
    beside = lite3_stage.driver(driver.robot)
    beside.may_be_taken()
    beside.changes(Transition.TRANSITION_DEACTIVATE)
    driver.changes(Transition.TRANSITION_CLEANUP)
    driver.changes(Transition.TRANSITION_CONFIGURE)
    driver.changes(Transition.TRANSITION_ACTIVATE)
    before = len(driver.statuses)
    driver.until(lambda: len(driver.statuses) > before, "a status")
    driver.may_be_taken()


def thread_schedules(process: int) -> set[tuple[int, int]]:
    """Return policies and priorities of the threads of a process."""
    return {
        (
            os.sched_getscheduler(thread) & ~os.SCHED_RESET_ON_FORK,
            os.sched_getparam(thread).sched_priority,
        )
        for thread in list_threads(process)
    }


def test_threads_of_the_node_run_right_after_the_process_of_the_socket(lite3_stage: Stage) -> None:
    driver = lite3_stage.driver(parameters={"realtime.priority": 20})
    driver.may_be_taken()
    node = driver.process.pid
    (link,) = (
        child
        for path in Path(f"/proc/{node}/task").glob("*/children")
        for child in path.read_text().split()
    )
    if thread_schedules(int(link)) == {(os.SCHED_OTHER, 0)}:
        driver.until(
            lambda: "realtime.priority 20: Operation not permitted" in driver.log, "a warning"
        )
        # A node that was given what its process was refused would keep that from its frames.
        assert thread_schedules(node) == {(os.SCHED_OTHER, 0)}
        assert len(lines_with(driver.log, "Operation")) == 1
        pytest.skip("no right to real-time priority here")
    assert max(thread_schedules(int(link))) == (os.SCHED_FIFO, 20)
    assert thread_schedules(node) == {(os.SCHED_FIFO, 19)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"imu_rate_hz": 400.0, "joint_state_rate_hz": 250.0}, "imu_rate_hz"),
        ({"angular_velocity_unit": "rpm"}, "rpm"),
        ({"command_rate_hz": 50.0}, "command_rate_hz"),
        ({"fold_s": 1.0}, "fold_s"),
        ({"realtime.cpus": "all"}, "realtime.cpus"),
        ({"host_address": "robot"}, "host_address"),
        ({"interface_address": "192.0.2.1"}, "192.0.2.1"),
    ],
    ids=["rates", "unit", "command rate", "fold time", "cores", "host", "interface"],
)
def test_bad_parameter_ends_the_driver_with_the_reason(
    lite3_stage: Stage, parameters: dict[str, Any], named: str
) -> None:
    driver = lite3_stage.driver(Host(), parameters=parameters)
    assert driver.ended() == 2
    assert named in driver.log
    assert "Traceback" not in driver.log
