# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The flight recorder of a node: what its recordings have, when they come, what is reported."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from policy_msgs.msg import JointCommand
from std_msgs.msg import Bool

from policy_core.interfaces import Mode
from policy_inference.flight.recorder import FlightRecorder
from testkit.ros_time import ns
from testkit.wording import check_wording

from ..flight.flying import Messages, read_flight, visible
from ..flight.stalling import RECORDERS, stalled_disk
from .bundles import PERIOD_NS
from .colour_bundle import JOINTS, SIZE
from .harness import NAN, Robot, is_damp
from .kinds import CHUNK

pytestmark = pytest.mark.ros
Start = Callable[..., Any]
AFTER_S, AFTER_TICKS = 0.2, 10
chunks_only = pytest.mark.parametrize("kind", [CHUNK], ids=str)


@pytest.fixture
def flights(tmp_path: Path) -> Path:
    return tmp_path / "flights"


@pytest.fixture
def start_recorded(activate: Start, flights: Path) -> Start:
    given = {"use_sim_time": True, "flight__folder": str(flights), "flight__after_s": AFTER_S}
    return lambda **parameters: activate(**{**given, "flight__min_free_mb": 0.0, **parameters})


@pytest.fixture
def recorded_run(start_recorded: Start, partner: Robot) -> Robot:
    start_recorded()
    return partner.runs()


def newest_flight(robot: Robot, flights: Path, count: int = 1) -> Messages:
    """Let time pass until there are so many recordings; return the newest."""
    robot.until(lambda: robot.tick() and len(visible(flights)) == count, "a recording")
    return read_flight(visible(flights)[-1], "")


def info_of(found: Messages) -> Any:
    ((_, info, _),) = found["flight_info"]
    return info


def flight_settings(found: Messages) -> dict[str, str]:
    return {entry.key: entry.value for entry in info_of(found).settings}


def test_fault_is_recorded_with_what_came_before_and_after(
    recorded_run: Robot, flights: Path
) -> None:
    recorded_run.velocity = (NAN, 0.0)
    fault_ns = ns(recorded_run.tick().stamp)
    recorded_run.velocity = (0.0, 0.0)
    found = newest_flight(recorded_run, flights)
    (path,) = visible(flights)
    assert path.name.startswith("two_joints-2")
    assert path.name.endswith("Z-not_finite")
    assert info_of(found).reason.startswith("not_finite: joint_vel")
    ticks = [tick for _, tick, _ in found["policy_tick"]]
    times_ns = [ns(tick.stamp) for tick in ticks]
    assert np.diff(times_ns).tolist() == [PERIOD_NS] * (len(ticks) - 1)
    assert times_ns[0] < fault_ns
    assert times_ns[-1] >= fault_ns + AFTER_TICKS * PERIOD_NS
    faulty = ticks[times_ns.index(fault_ns)]
    assert faulty.mode == JointCommand.MODE_DAMP
    assert faulty.reason.startswith("not_finite")
    assert np.isnan(faulty.state).any()


@chunks_only
def test_fault_is_recorded_with_joints_chunks_and_commands_and_without_images(
    start_recorded: Start, partner: Any, flights: Path
) -> None:
    start_recorded(simulated_latency_s=0.1, status_rate_hz=50.0)
    arm = partner.runs()
    arm.ticks(SIZE)
    assert not visible(flights), "waiting for the first chunk is no fault"
    arm.ticks(2 * SIZE)
    arm.silent.add("wrist")
    arm.until(lambda: arm.tick().mode == Mode.HOLD, "HOLD")
    arm.silent.clear()
    found = newest_flight(arm, flights)
    topics = "flight_info control_state policy_tick joint_command joint_states chunk_inference"
    assert found.keys() == {*topics.split()}
    info, settings = info_of(found), flight_settings(found)
    assert info.reason.startswith("stale_state: wrist/image_raw")
    assert list(info.inputs) == ["joint_states", "front/image_raw", "wrist/image_raw"]
    assert list(info.joints) == list(JOINTS)
    assert settings["chunks.mode"] == "asynchronous"
    assert settings["chunks.simulated_latency_s"] == "0.1"
    published = [np.array(chunk.data) for chunk in arm.chunks]
    ticks = {message.tick: (log_ns, message) for log_ns, message, _ in found["policy_tick"]}
    assert len(found["chunk_inference"]) > 2
    for log_ns, message, _ in found["chunk_inference"]:
        assert (message.error, message.steps) == ("", SIZE)
        assert any(np.array_equal(message.data, data) for data in published)
        assert message.ended_ns - message.asked_ns == 100_000_000
        assert ticks[message.tick][0] == log_ns == ns(message.stamp)
        assert ticks[message.tick][1].policy_time_ns == ticks[message.tick][1].time_ns
    requests = [list(message.requests) for _, message in ticks.values() if len(message.requests)]
    assert requests[-2:] == [["stand"], ["run"]]


def test_request_and_diagnostics_name_the_recording_of_the_last_seconds(
    recorded_run: Robot, flights: Path
) -> None:
    recorded_run.diagnosed(lambda _: recorded_run.told()["flight.recorder"] == "ready")
    assert recorded_run.told()["flight.ticks_dropped"] == "0"
    response = recorded_run.ask("record")
    assert response.success
    place = Path(response.message.removeprefix("writes "))
    recorded_run.until(place.is_dir, "the recording")
    found = read_flight(place)
    settings = flight_settings(found)
    assert settings["parameter.flight.after_s"] == str(AFTER_S)
    assert settings["limits.max_tilt_rad"] == "1.0"
    assert recorded_run.hears("ticks", str(place))
    check_wording(info_of(found).reason)
    recorded_run.until(lambda: recorded_run.told()["flight.last"] == str(place), "its name")


def test_run_is_recorded_until_it_is_ended(recorded_run: Robot) -> None:
    nothing = recorded_run.record_run(False)
    assert not nothing.success
    check_wording(nothing.message)
    begun, begun_ns = recorded_run.record_run(True), recorded_run.now_ns
    place = Path(begun.message.removeprefix("writes "))
    assert not recorded_run.record_run(True).success
    recorded_run.until(
        lambda: recorded_run.tick() and "run" in recorded_run.told()["flight.recorder"], "its state"
    )
    recorded_run.ticks(60)
    last_ns = recorded_run.now_ns
    assert recorded_run.record_run(False).success
    recorded_run.until(place.is_dir, "the recording")
    found = read_flight(place)
    times_ns = [log_ns for log_ns, _, _ in found["policy_tick"] if log_ns >= begun_ns]
    assert set(np.diff(times_ns)) == {recorded_run.period_ns}
    assert times_ns[-1] >= last_ns


@pytest.mark.parametrize("trouble", ["no definitions", "no home"])
def test_recorder_that_cannot_work_is_reported_and_the_policy_runs(
    start_recorded: Start, partner: Robot, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    with monkeypatch.context() as patch:
        if trouble == "no definitions":
            patch.setenv("AMENT_PREFIX_PATH", "/nowhere")
            start_recorded()
        else:
            start_recorded(flight__folder="~nobody-of-this-name/flights")
    said = partner.hears("flight recorder: ")
    partner.runs()
    partner.diagnosed(lambda found: "flight recorder: " in found.message)
    check_wording(said)
    partner.refusal("record")


def fail_in_the_middle(*_: object, **__: object) -> None:
    raise ZeroDivisionError("a test")


def test_error_in_the_recorder_is_no_fault_of_the_robot(
    recorded_run: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FlightRecorder, "observe", fail_in_the_middle)
    assert recorded_run.modes(3) == [Mode.RUN] * 3
    recorded_run.hears("ZeroDivisionError: a test")
    recorded_run.refusal("record")
    assert recorded_run.tick().mode == JointCommand.MODE_RUN


class TestStalledDisk:
    def test_requests_are_answered_and_an_emergency_stop_is_obeyed(
        self, recorded_run: Robot, flights: Path
    ) -> None:
        with stalled_disk(flights) as disk:
            disk.stall()
            requested = recorded_run.ask("record")
            assert requested.success, requested.message
            recorded_run.until(disk.waits.is_set, "the recorder to wait for the disk")
            assert not recorded_run.ask("record").success
            assert recorded_run.record_run(True).success
            assert recorded_run.tick().mode == JointCommand.MODE_RUN
            sent = len(recorded_run.commands)
            recorded_run.estop.publish(Bool(data=True))
            recorded_run.until(
                lambda: recorded_run.commands[sent:] and is_damp(recorded_run.commands[-1]),
                "the fault command",
            )
            assert recorded_run.tick().mode == JointCommand.MODE_DAMP
            for request in ("estop", "damp"):
                assert recorded_run.ask(request).message
            assert disk.threads == RECORDERS
        newest_flight(recorded_run, flights, 2)
        causes = {path.name.rpartition("-")[2] for path in visible(flights)}
        assert causes == {"request", "estop"}
