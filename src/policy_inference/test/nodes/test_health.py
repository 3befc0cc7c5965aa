# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a node says of its device, of slow ticks and of odd observations."""

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.lifecycle import TransitionCallbackReturn

from policy_inference.backends.base import BackendBase
from policy_inference.backends.onnx import OnnxBackend
from policy_inference.machine import telemetry
from policy_inference.machine.machine import Machine
from policy_inference.nodes.control_loop import ControlLoop
from policy_inference.nodes.joint_policy_node import JointPolicyNode

from .bundles import PERIOD_NS, write_bundle
from .harness import DEADLINE_S, Robot

pytestmark = pytest.mark.ros
Active = Callable[..., JointPolicyNode]
SIZE = 15
SLOW_S = 0.9 * PERIOD_NS * 1e-9


def diagnosed(robot: Robot, text: str) -> DiagnosticStatus:
    """Tick until a diagnosis says this; return it."""
    robot.until(
        lambda: (
            robot.tick() and any(text in array.status[0].message for array in robot.diagnostics)
        ),
        text,
    )
    return next(array.status[0] for array in robot.diagnostics if text in array.status[0].message)


def test_what_machine_and_device_tell_is_in_status_and_diagnostics(
    active: Active, robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"npu_load_percent": "31", "npu_temperature_c": "52.1"}
    monkeypatch.setattr(OnnxBackend, "read_device", staticmethod(lambda machine: told))
    active(use_sim_time=True)
    robot.is_met()
    status = robot.reported(lambda s: robot.tick() and s.telemetry, "telemetry")
    found = {value.key: value.value for value in status.telemetry}

    assert told.items() <= found.items()
    assert float(found["memory_available_mib"]) > 0
    values = {value.key: value.value for value in robot.diagnostics[-1].status[0].values}
    assert told.items() <= values.items()


def test_machine_that_keeps_ticks_waiting_is_named_as_long_as_the_fault_is_latched(
    active: Active, robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = {"late_s": 0.035}
    monkeypatch.setattr(ControlLoop, "late_s", property(lambda _: late["late_s"]))
    active(use_sim_time=True)
    robot.runs()
    busy = "the machine is too busy: a tick began 35 ms late"
    diagnosed(robot, busy)
    robot.reported(lambda s: robot.tick() and busy in s.reason, "a busy machine")
    robot.request("estop")
    late["late_s"] = 0.0
    robot.statuses.clear()
    robot.reported(lambda s: robot.tick() and s.latched and busy in s.reason, "a latched fault")
    robot.request("reset")
    robot.reported(lambda s: robot.tick() and not s.latched and busy not in s.reason, "a reset")


def test_device_that_cannot_be_read_is_logged_once_and_disturbs_nothing(
    active: Active, robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(machine: Machine) -> Mapping[str, str]:
        raise RuntimeError("the sensor is gone")

    monkeypatch.setattr(OnnxBackend, "read_device", staticmethod(refuse))
    active(use_sim_time=True)
    robot.runs()
    robot.statuses.clear()
    robot.until(lambda: robot.tick() and len(robot.statuses) > 3, "statuses")

    assert robot.hears("the sensor is gone").count("onnx: telemetry: RuntimeError") == 1


def test_values_that_are_no_text_are_left_out_and_logged_once(
    active: Active, robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"npu_load_percent": 31, "npu_governor": None, "npu_temperature_c": "52.1"}
    monkeypatch.setattr(OnnxBackend, "read_device", staticmethod(lambda machine: told))
    active(use_sim_time=True)
    robot.is_met()
    status = robot.reported(lambda s: robot.tick() and s.telemetry, "telemetry")
    robot.statuses.clear()
    robot.until(lambda: robot.tick() and len(robot.statuses) > 3, "statuses")

    found = {value.key: value.value for value in status.telemetry}
    assert found.keys() & told.keys() == {"npu_temperature_c"}
    assert robot.hears("found 'npu_load_percent': 31, 'npu_governor': None").count("found") == 1


def test_device_that_hangs_holds_up_neither_requests_nor_the_end(
    active: Active, robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, goes_on = threading.Event(), threading.Event()

    def hang(machine: Machine) -> Mapping[str, str]:
        hangs.set()
        goes_on.wait()
        return {}

    monkeypatch.setattr(OnnxBackend, "read_device", staticmethod(hang))
    monkeypatch.setattr(telemetry, "_SILENT_S", 0.1)
    try:
        node = active(use_sim_time=True)
        robot.runs()
        assert hangs.wait(DEADLINE_S)
        robot.request("estop")
        robot.hears("telemetry: no answer for more than 0.1 s")
        robot.statuses.clear()
        robot.until(lambda: robot.tick() and len(robot.statuses) > 3, "statuses")

        assert not robot.statuses[-1].telemetry
        assert robot.log.count("no answer") == 1
        assert node.trigger_deactivate() is TransitionCallbackReturn.SUCCESS
        assert node.trigger_cleanup() is TransitionCallbackReturn.SUCCESS
    finally:
        goes_on.set()


@pytest.mark.slow
def test_slow_ticks_are_warned_of_once_with_what_the_device_tells(
    active: Active, robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(backend: OnnxBackend) -> None:
        time.sleep(SLOW_S)  # the fault itself, and nothing that is waited for
        BackendBase.run(backend)

    told = {"npu_frequency_mhz": "300", "npu_frequency_highest_mhz": "1000"}
    monkeypatch.setattr(OnnxBackend, "read_device", staticmethod(lambda machine: told))
    active(use_sim_time=True)
    robot.runs()
    monkeypatch.setattr(OnnxBackend, "run", slow)
    found = diagnosed(robot, "ticks take")

    assert found.level == DiagnosticStatus.WARN
    assert "NPU clock at 300 of 1000 MHz" in found.message
    monkeypatch.setattr(OnnxBackend, "run", BackendBase.run)
    robot.until(lambda: robot.tick() and "ticks are no longer slow" in robot.log, "recovery")
    assert robot.log.count("ticks take") == 1


def test_observation_beyond_what_is_healthy_is_named(
    active: Active, robot: Robot, tmp_path: Path
) -> None:
    high = [0.1, 0.1, 0.1] + [2.0] * (SIZE - 3)
    healthy = {
        "mean": [0.0] * SIZE,
        "std": [1.0] * SIZE,
        "min": [-value for value in high],
        "max": high,
    }
    bundle = write_bundle(tmp_path / "judged", {"nominal.observation": {"obs": healthy}})
    active(use_sim_time=True, bundle=str(bundle))
    robot.ang_vel = 1.0  # as if in another unit
    found = diagnosed(robot.runs(), "observation term")

    assert found.level == DiagnosticStatus.WARN
    assert found.message.startswith("observation term base_ang_vel is outside")
    assert "normalisation, order or units" in robot.hears("observation term")
