# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What ~/status and /diagnostics tell."""

import hashlib
import math
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from policy_msgs.msg import JointCommand
from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import JointState

from policy_core.guard.bounds import Rule
from policy_core.interfaces import Mode
from policy_inference.backends.onnx import OnnxBackend
from policy_inference.machine import telemetry
from policy_inference.machine.machine import Machine
from testkit.wording import check_wording

from .harness import DEADLINE_S, Activate, Robot, counters, is_damp, status_of_input
from .kinds import CHUNK, JOINT

pytestmark = pytest.mark.ros


def test_status_says_what_runs(lockstep: Robot, bundle_in_use: Path) -> None:
    status = lockstep.runs().newest()
    assert (status.mode, status.latched) == (Mode.RUN, False)
    assert (status.bundle, status.bundle_version) == (str(bundle_in_use), "1.2.3")
    assert (
        status.bundle_sha256
        == hashlib.sha256((bundle_in_use / "policy.yaml").read_bytes()).hexdigest()
    )
    assert status.backend == "onnx"
    assert "onnxruntime" in status.runs_on
    assert status.nominal_known
    assert list(counters(status)) == [rule.value for rule in Rule]
    check_wording(status.reason)


def test_fault_is_counted_named_and_logged_as_an_error(lockstep: Robot) -> None:
    lockstep.runs().velocity = (math.nan, 0.0)
    assert is_damp(lockstep.tick())
    status = lockstep.reported(lambda s: s.latched, "the fault")
    assert (status.mode, status.reason) == (Mode.DAMP, "not_finite: joint_vel")
    assert counters(status)["not_finite"] == 1
    assert lockstep.hears("not_finite: joint_vel", level="ERROR")
    found = lockstep.diagnosed(lambda d: "not_finite" in d.message)
    assert (found.level, found.message) == (DiagnosticStatus.ERROR, status.reason)


def test_second_publisher_in_run_is_an_error_while_motion_goes_on(lockstep: Robot) -> None:
    lockstep.runs().node.create_publisher(JointState, "joint_states", 10)
    check_wording(lockstep.hears("2 publishers", level="ERROR"))
    status = lockstep.reported(lambda s: not status_of_input(s, "joint_states").ok, "the report")
    assert status_of_input(status, "joint_states").publishers == 2
    assert lockstep.tick().mode == Mode.RUN
    assert len([each for each in lockstep.logged() if "publishers" in each.text]) == 1


@pytest.mark.slow
def test_second_sender_of_commands_in_run_is_an_error_while_motion_goes_on(lockstep: Robot) -> None:
    other = lockstep.runs().node.create_publisher(JointCommand, "joint_command", 10)
    said = lockstep.hears("2 publishers", "/joint_command", level="ERROR")
    check_wording(said)
    status = lockstep.reported(lambda s: said in s.reason, "the report")
    assert (status.mode, status.latched) == (Mode.RUN, False)
    found = lockstep.diagnosed(lambda d: "2 publishers" in d.message)
    assert found.level == DiagnosticStatus.ERROR
    assert lockstep.tick().mode == Mode.RUN
    lockstep.node.destroy_publisher(other)
    lockstep.reported(lambda s: "publishers" not in s.reason, "the end of it")
    assert len([each for each in lockstep.logged() if "publishers" in each.text]) == 1


@pytest.mark.slow
def test_clock_that_stands_still_is_named_and_refuses_motion(lockstep: Robot) -> None:
    """A simulator that has ended looks like one that pauses: nothing is at fault, nothing moves."""
    lockstep.runs()
    status = lockstep.reported(lambda found: "no tick" in found.reason, "the silence's report")
    assert status.rate_reached_hz == 0.0
    assert not status.latched
    check_wording(status.reason)
    lockstep.request("damp")
    lockstep.refusal("stand")
    lockstep.tick()
    lockstep.request("stand")


@pytest.mark.parametrize("kind", [JOINT, CHUNK], ids=str)
def test_what_machine_and_device_tell_is_in_status_and_diagnostics(
    activate: Activate, partner: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"npu_load_percent": "31", "npu_temperature_c": "52.1"}
    monkeypatch.setattr(OnnxBackend, "read_device", staticmethod(lambda machine: told))
    activate(use_sim_time=True)
    partner.is_met()
    status = partner.reported(lambda s: partner.tick() and s.telemetry, "telemetry")
    found = {value.key: value.value for value in status.telemetry}
    assert told.items() <= found.items()
    assert float(found["memory_available_mib"]) > 0
    assert told.items() <= partner.told().items()


def test_device_that_hangs_holds_up_neither_requests_nor_the_end(
    activate: Activate, partner: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, goes_on = threading.Event(), threading.Event()

    def hang(machine: Machine) -> Mapping[str, str]:
        hangs.set()
        goes_on.wait()
        return {}

    monkeypatch.setattr(OnnxBackend, "read_device", staticmethod(hang))
    monkeypatch.setattr(telemetry, "_SILENT_S", 0.1)
    try:
        node = activate(use_sim_time=True)
        partner.runs()
        assert hangs.wait(DEADLINE_S)
        partner.request("estop")
        said = partner.hears("telemetry: ")
        check_wording(said)
        partner.statuses.clear()
        partner.until(lambda: partner.tick() and len(partner.statuses) > 3, "statuses")
        assert not partner.statuses[-1].telemetry
        assert [each.text for each in partner.logged()].count(said) == 1
        assert node.trigger_deactivate() is TransitionCallbackReturn.SUCCESS
        assert node.trigger_cleanup() is TransitionCallbackReturn.SUCCESS
    finally:
        goes_on.set()
