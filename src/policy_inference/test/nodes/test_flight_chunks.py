# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The flight recorder, drift and telemetry of a node that runs a chunk policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from policy_msgs.srv import LoadBundle
from rclpy.lifecycle import TransitionCallbackReturn
from rosbags.highlevel import AnyReader
from std_srvs.srv import SetBool

from policy_inference.backends.onnx import OnnxBackend
from policy_inference.interfaces import Mode
from policy_inference.nodes.act_policy_node import ActPolicyNode

from .arm import Arm
from .colour_bundle import JOINTS, SIZE, write_colours
from .harness import StageOf, ns

pytestmark = pytest.mark.ros
Start = Callable[..., Arm]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "flights"


@pytest.fixture
def start(new_log: Callable[[], str], tmp_path: Path, folder: Path) -> Iterator[Start]:
    """Activate a node in lockstep that records; return the arm beside it."""
    rclpy.init(args=[])
    stage = StageOf(Arm, ActPolicyNode, new_log)

    def start_one(bundle: Path | None = None, **parameters: object) -> Arm:
        node = stage.node(
            **{
                "bundle": str(bundle or write_colours(tmp_path / "colours")),
                "use_sim_time": True,
                "status_rate_hz": 50.0,
                "simulated_latency_s": 0.1,
                "flight__folder": str(folder),
                "flight__after_s": 0.2,
                "flight__min_free_mb": 0.0,
                **parameters,
            }
        )
        assert node.trigger_configure() is TransitionCallbackReturn.SUCCESS
        assert node.trigger_activate() is TransitionCallbackReturn.SUCCESS
        return stage.robot

    yield start_one
    stage.close()
    rclpy.shutdown()


def recorded(arm: Arm, folder: Path, count: int = 1) -> dict[str, list[tuple[int, Any]]]:
    """Tick until there are so many recordings; return the newest: log times and messages."""

    def whole() -> list[Path]:
        return sorted(path for path in folder.glob("*") if not path.name.startswith("."))

    arm.until(lambda: arm.tick() and len(whole()) == count, "a recording")
    found: dict[str, list[tuple[int, Any]]] = {}
    with AnyReader([whole()[-1]]) as reader:
        for connection, log_ns, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            found.setdefault(connection.topic, []).append((log_ns, message))
    return found


def told(arm: Arm) -> dict[str, str]:
    """Return the newest diagnostics."""
    return {entry.key: entry.value for entry in arm.diagnostics[-1].status[0].values}


def test_a_fault_is_recorded_with_joints_chunks_and_commands_and_without_images(
    start: Start, folder: Path
) -> None:
    arm = start().runs()
    arm.moves(3 * SIZE)
    arm.silent.add("wrist")
    arm.until(lambda: arm.tick().mode == Mode.HOLD, "HOLD")
    arm.silent.clear()
    found = recorded(arm, folder)
    assert {topic.rpartition("/")[2] for topic in found} == {
        "flight_info",
        "policy_tick",
        "joint_command",
        "joint_states",
        "chunk_inference",
    }
    ((_, info),) = found["/flight_info"]
    assert info.reason.startswith("stale_state: wrist/image_raw")
    assert list(info.inputs) == ["joint_states", "front/image_raw", "wrist/image_raw"]
    assert list(info.joints) == list(JOINTS)
    settings = {entry.key: entry.value for entry in info.settings}
    assert settings["chunks.mode"] == "asynchronous"
    assert settings["chunks.simulated_latency_s"] == "0.1"
    published = [np.array(chunk.data) for chunk in arm.chunks]
    kept = [message for _, message in found["/chunk_inference"]]
    assert len(kept) > 2
    for message in kept:
        assert message.error == ""
        assert message.steps == SIZE
        assert any(np.array_equal(message.data, data) for data in published)
        assert message.ended_ns - message.asked_ns == 100_000_000
    ticks = {message.tick: (log_ns, message) for log_ns, message in found["/policy_tick"]}
    for log_ns, message in found["/chunk_inference"]:
        assert ticks[message.tick][0] == log_ns == ns(message.stamp)
        assert ticks[message.tick][1].policy_time_ns == ticks[message.tick][1].time_ns
    requests = [list(message.requests) for _, message in ticks.values() if len(message.requests)]
    assert requests[-2:] == [["stand"], ["run"]]


def test_waiting_for_the_first_chunk_is_not_recorded_by_itself(start: Start, folder: Path) -> None:
    arm = start().runs()
    arm.moves(SIZE)
    assert not [path for path in folder.glob("*") if not path.name.startswith(".")]


def test_a_run_is_recorded_on_request_and_diagnostics_tell_of_it(
    start: Start, folder: Path
) -> None:
    arm = start().runs()
    call = "act_policy_node/record_run"
    assert arm.call(SetBool, call, SetBool.Request(data=True)).success
    arm.until(lambda: arm.tick() and told(arm)["flight.recorder"] == "records a run", "the state")
    assert int(told(arm)["chunk.count"]) > 0
    arm.moves(10)
    assert arm.call(SetBool, call, SetBool.Request(data=False)).success
    assert "/chunk_inference" in recorded(arm, folder)


def test_a_loaded_policy_is_recorded_with_its_own_description(
    start: Start, folder: Path, tmp_path: Path
) -> None:
    arm = start()
    arm.is_met()
    arm.tick()
    other = write_colours(tmp_path / "other", {"version": "2.0.0"}, offset_rad=0.0)
    answer = arm.call(
        LoadBundle, "act_policy_node/load", LoadBundle.Request(bundle=str(other), backend="")
    )
    assert answer.success, answer.message
    arm.runs()
    arm.request("record")
    ((_, info),) = recorded(arm, folder)["/flight_info"]
    assert info.bundle_version == "2.0.0"


def test_a_recorder_that_is_off_says_so(start: Start, folder: Path) -> None:
    arm = start(flight__duration_s=0.0).runs()
    assert arm.ask("record").message == "the flight recorder is off: flight.duration_s is 0"


def test_what_machine_and_device_tell_is_in_status_and_diagnostics(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"npu_load_percent": "31", "npu_temperature_c": "52.1"}
    monkeypatch.setattr(OnnxBackend, "read_device", staticmethod(lambda machine: values))
    arm = start()
    arm.is_met()
    status = arm.reported(lambda s: arm.tick() and s.telemetry, "telemetry")
    assert values.items() <= {entry.key: entry.value for entry in status.telemetry}.items()
    assert values.items() <= told(arm).items()


def test_joints_that_are_not_as_in_training_are_reported(start: Start, tmp_path: Path) -> None:
    scaling = {"mode": "mean_std", "mean": [0.0] * 4, "std": [1.0, 1.0, 0.001, 1.0]}
    arm = start(write_colours(tmp_path / "trained", {"state.normalisation": scaling}))
    arm.position = (0.0, 0.0, 0.05, 0.0)
    arm.runs()
    text = "observation.state[blue] is outside what the policy was trained on"
    arm.until(
        lambda: arm.tick() and text in arm.diagnostics[-1].status[0].message, "a warning of drift"
    )
    arm.hears(text)
