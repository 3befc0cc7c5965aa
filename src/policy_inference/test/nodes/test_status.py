# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What ~/status and /diagnostics tell."""

import hashlib
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from policy_msgs.msg import InputStatus, JointCommand, PolicyStatus
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState

from policy_inference.core.guard import Rule
from policy_inference.interfaces import Mode
from policy_inference.nodes.joint_policy_node import JointPolicyNode

from .bundles import RATE_HZ
from .harness import Robot, is_damp

pytestmark = pytest.mark.ros


def newest(robot: Robot) -> PolicyStatus:
    """Return a status made after this call, after two more ticks."""
    robot.tick()
    robot.tick()
    robot.statuses.clear()
    robot.reported(lambda _: len(robot.statuses) > 1, "two statuses")
    return robot.statuses[-1]


def entry(status: PolicyStatus, name: str) -> InputStatus:
    return next(entry for entry in status.inputs if entry.name == name)


def counters(status: PolicyStatus) -> dict[str, int]:
    return {counter.name: counter.count for counter in status.guard_counters}


def diagnosed(robot: Robot, condition: Callable[[DiagnosticStatus], object]) -> DiagnosticStatus:
    """Spin until the newest diagnosis fulfils a condition."""
    robot.until(
        lambda: robot.diagnostics and condition(robot.diagnostics[-1].status[0]), "a diagnosis"
    )
    found: DiagnosticStatus = robot.diagnostics[-1].status[0]
    return found


def test_status_says_what_runs(lockstep: Robot, bundle: Path) -> None:
    status = newest(lockstep.runs())
    assert (status.mode, status.reason, status.latched) == (Mode.RUN, "the policy runs", False)
    assert (status.bundle, status.bundle_version) == (str(bundle), "1.2.3")
    assert status.bundle_sha256 == hashlib.sha256((bundle / "policy.yaml").read_bytes()).hexdigest()
    assert status.backend == "onnx"
    assert "onnxruntime" in status.runs_on
    assert status.nominal_known


def test_status_says_why_another_back_end_does_not_run(
    active: Callable[..., JointPolicyNode], robot: Robot
) -> None:
    active(use_sim_time=True, backend="rknn,onnx")
    robot.is_met()
    status = newest(robot)
    assert status.backend == "onnx"
    assert status.fallback.startswith("rknn: ")
    assert "no artifact for the backend 'rknn'" in status.fallback


def test_status_says_how_it_runs(lockstep: Robot) -> None:
    lockstep.runs()
    status = lockstep.reported(
        lambda s: lockstep.tick() and s.rate_reached_hz > 0, "a measured rate"
    )
    assert status.rate_hz == RATE_HZ
    assert status.rate_reached_hz == pytest.approx(RATE_HZ, rel=0.05)
    assert 0.0 < status.latency_p50_s <= status.latency_p99_s <= status.latency_max_s < 1.0
    assert status.ticks > RATE_HZ
    assert status.ticks_missed == 0


def test_every_rule_of_the_guard_has_a_counter_in_their_order(lockstep: Robot) -> None:
    assert list(counters(newest(lockstep))) == [rule.value for rule in Rule]


def test_fault_is_counted_named_and_logged_as_an_error(lockstep: Robot) -> None:
    lockstep.runs().velocity = (math.nan, 0.0)
    assert is_damp(lockstep.tick())
    status = lockstep.reported(lambda s: s.latched, "the fault")
    assert (status.mode, status.reason) == (Mode.DAMP, "not_finite: joint_vel")
    assert counters(status)["not_finite"] == 1
    assert "[ERROR]" in next(
        line
        for line in lockstep.hears("not_finite: joint_vel").splitlines()
        if "not_finite" in line
    )


def test_inputs_have_ages_and_publishers(lockstep: Robot) -> None:
    lockstep.silent = {"imu/data"}
    status = newest(lockstep)
    joint_states, imu = entry(status, "joint_states"), entry(status, "imu/data")
    assert (joint_states.ok, joint_states.publishers) == (True, 1)
    assert joint_states.age_s == pytest.approx(0.0, abs=0.0201)
    assert imu.age_s == pytest.approx(0.04, abs=0.0201)


def test_input_that_never_came_is_infinitely_old(
    active: Callable[..., JointPolicyNode], robot: Robot
) -> None:
    robot.silent = {"joint_states"}
    active(use_sim_time=True)
    robot.is_met()
    found = entry(newest(robot), "joint_states")
    assert math.isinf(found.age_s)
    assert (found.ok, found.text) == (False, "joint_states: no message")


def test_message_that_does_not_fit_is_named_in_the_status(lockstep: Robot) -> None:
    lockstep.names = ("left", "wheel")
    found = entry(newest(lockstep), "joint_states")
    assert "missing: right" in found.text


def test_second_publisher_in_run_is_an_error_while_motion_goes_on(
    active: Callable[..., JointPolicyNode], robot: Robot
) -> None:
    active(use_sim_time=True)
    robot.runs()
    robot.node.create_publisher(JointState, "joint_states", 10)
    line = next(
        line
        for line in robot.hears("2 publishers on joint_states").splitlines()
        if "2 publishers" in line
    )
    assert "[ERROR]" in line
    status = robot.reported(lambda s: not entry(s, "joint_states").ok, "the report")
    assert "2 publishers" in entry(status, "joint_states").text
    assert robot.tick().mode == Mode.RUN
    assert robot.log.count("publishers on joint_states") == 1


def test_second_sender_of_commands_in_run_is_an_error_while_motion_goes_on(
    active: Callable[..., JointPolicyNode], robot: Robot
) -> None:
    active(use_sim_time=True)
    robot.runs()
    other = robot.node.create_publisher(JointCommand, "joint_command", 10)
    said = (
        "2 publishers on /joint_command, expected this node alone "
        "(/joint_policy_node, /robot); stop the others"
    )
    line = next(line for line in robot.hears(said).splitlines() if said in line)
    assert "[ERROR]" in line
    status = robot.reported(lambda s: said in s.reason, "the report")
    assert (status.mode, status.latched) == (Mode.RUN, False)
    robot.until(lambda: level(robot) == (DiagnosticStatus.ERROR, True), "an error")
    assert robot.tick().mode == Mode.RUN
    robot.node.destroy_publisher(other)
    robot.reported(lambda s: "publishers" not in s.reason, "the end of it")
    assert robot.log.count("publishers on /joint_command") == 1


def level(robot: Robot) -> tuple[bytes, bool]:
    """Return the level of the latest diagnostics, and whether they name two publishers."""
    status = robot.diagnostics[-1].status[0]
    return status.level, "2 publishers" in status.message


def test_late_subscriber_gets_the_newest_status(
    active: Callable[..., JointPolicyNode], robot: Robot
) -> None:
    active(use_sim_time=True, status_rate_hz=0.1)
    robot.is_met()
    robot.request("stand")
    late = list[PolicyStatus]()
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    robot.node.create_subscription(PolicyStatus, "joint_policy_node/status", late.append, latched)
    robot.until(lambda: late, "the status from before")
    assert late[0].mode == Mode.STAND


def test_status_goes_on_while_the_simulator_pauses(lockstep: Robot) -> None:
    lockstep.statuses.clear()
    lockstep.until(lambda: len(lockstep.statuses) >= 3, "statuses without simulated time")


def test_clock_that_stands_still_is_named_and_refuses_motion(lockstep: Robot) -> None:
    """A simulator that has ended looks like one that pauses: nothing is at fault, nothing moves."""
    lockstep.runs()
    status = lockstep.reported(lambda found: "no tick for" in found.reason, "the silence's report")
    assert status.rate_reached_hz == 0.0
    assert not status.latched
    lockstep.request("damp")
    assert "the simulator's clock stands still" in lockstep.ask("stand").message
    lockstep.tick()
    lockstep.request("stand")


class TestDiagnostics:
    def test_healthy_node_is_ok_and_names_its_mode(self, lockstep: Robot) -> None:
        lockstep.runs()
        found = diagnosed(lockstep, lambda d: lockstep.tick() and d.message == "RUN")
        assert found.level == DiagnosticStatus.OK
        assert found.name == "/joint_policy_node: policy"
        values = {value.key: value.value for value in found.values}
        assert (values["mode"], values["backend"], values["rate_hz"]) == ("RUN", "onnx", "50")
        assert {f"guard.{rule.value}" for rule in Rule} <= set(values)

    def test_old_input_is_a_warning_while_nothing_moves(self, lockstep: Robot) -> None:
        lockstep.diagnostics.clear()
        diagnosed(lockstep, lambda d: lockstep.tick() and d.message == "DAMP")
        lockstep.silent = {"imu/data"}
        found = diagnosed(lockstep, lambda d: lockstep.tick() and d.message != "DAMP")
        assert found.level == DiagnosticStatus.WARN
        assert "imu/data" in found.message

    def test_missing_velocity_command_is_no_warning(self, lockstep: Robot) -> None:
        for _ in range(60):
            lockstep.tick()
        lockstep.diagnostics.clear()
        found = diagnosed(lockstep, lambda d: lockstep.tick())
        assert found.level == DiagnosticStatus.OK

    def test_latched_fault_is_an_error_with_its_reason(self, lockstep: Robot) -> None:
        lockstep.runs().request("estop")
        found = diagnosed(lockstep, lambda d: lockstep.tick() and "estop" in d.message)
        assert found.level == DiagnosticStatus.ERROR
        assert found.message == "estop: pressed by service"
