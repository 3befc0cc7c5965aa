# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a node says of its device, of slow ticks and of odd observations."""

import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.lifecycle import TransitionCallbackReturn

from policy_inference.backends.base import BackendBase
from policy_inference.backends.onnx import OnnxBackend
from policy_inference.machine import telemetry
from policy_inference.machine.machine import Machine
from testkit.wording import check_wording

from .bundles import PERIOD_NS, write_bundle
from .harness import DEADLINE_S, Activate, Robot
from .kinds import CHUNK, JOINT

pytestmark = pytest.mark.ros
SIZE = 15
SLOW_S = 0.9 * PERIOD_NS * 1e-9


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


@pytest.mark.slow
@pytest.mark.usefixtures("python_models")
def test_slow_ticks_are_warned_of_once_with_what_the_device_tells(
    activate: Activate, partner: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(backend: OnnxBackend) -> None:
        time.sleep(SLOW_S)  # the fault itself, and nothing that is waited for
        BackendBase.run(backend)

    told = {"npu_frequency_mhz": "300", "npu_frequency_highest_mhz": "1000"}
    monkeypatch.setattr(OnnxBackend, "read_device", staticmethod(lambda machine: told))
    activate(use_sim_time=True)
    partner.runs()
    monkeypatch.setattr(OnnxBackend, "run", slow)
    found = partner.diagnosed(lambda d: "ticks take" in d.message)
    assert found.level == DiagnosticStatus.WARN
    check_wording(found.message)
    monkeypatch.setattr(OnnxBackend, "run", BackendBase.run)
    partner.until(lambda: partner.tick() and "no longer slow" in partner.log, "recovery")
    assert partner.log.count("ticks take") == 1


def test_observation_beyond_what_is_healthy_is_named(
    activate: Activate, partner: Robot, tmp_path: Path
) -> None:
    high = [0.1, 0.1, 0.1] + [2.0] * (SIZE - 3)
    healthy = {
        "mean": [0.0] * SIZE,
        "std": [1.0] * SIZE,
        "min": [-value for value in high],
        "max": high,
    }
    bundle = write_bundle(tmp_path / "judged", {"nominal.observation": {"obs": healthy}})
    activate(use_sim_time=True, bundle=str(bundle))
    partner.ang_vel = 1.0  # as if in another unit
    found = partner.runs().diagnosed(lambda d: "observation" in d.message)
    assert found.level == DiagnosticStatus.WARN
    assert "base_ang_vel" in found.message
    check_wording(found.message, partner.hears("observation term"))
