# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The flight recorder of a node: what its recordings have, when they come, what is reported."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import Vector3
from policy_msgs.msg import ContactForces, JointCommand
from policy_msgs.srv import LoadBundle
from rclpy.serialization import deserialize_message
from rosbags.highlevel import AnyReader
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Bool
from std_srvs.srv import SetBool

from policy_inference.flight.recorder import FlightRecorder
from policy_inference.interfaces import FAULT_MODES, OnFault
from policy_inference.nodes.joint_policy_node import JointPolicyNode
from policy_inference.nodes.sampler import Sampler

from ..flight.stalling import RECORDERS, StalledDisk, stalled_disk
from .bundles import PERIOD_NS, STAND, write_bundle, write_version
from .harness import NAN, Robot, Stage, is_damp, ns

pytestmark = pytest.mark.ros

AFTER_S, AFTER_TICKS = 0.2, 10


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "flights"


@pytest.fixture
def start(active: Callable[..., JointPolicyNode], folder: Path) -> Callable[..., JointPolicyNode]:
    """Start a node that records, in simulated time."""

    def start_node(**parameters: object) -> JointPolicyNode:
        return active(
            **{
                "use_sim_time": True,
                "flight__folder": str(folder),
                "flight__after_s": AFTER_S,
                "flight__min_free_mb": 0.0,
                **parameters,
            }
        )

    return start_node


@pytest.fixture
def runner(start: Callable[..., JointPolicyNode], robot: Robot) -> Robot:
    """A robot in RUN, whose node records."""
    start()
    return robot.runs()


def recordings(folder: Path) -> list[Path]:
    """Return what is there and not hidden, oldest first."""
    return sorted(path for path in folder.glob("*") if not path.name.startswith("."))


def read(path: Path) -> dict[str, list[tuple[int, Any, bytes]]]:
    """Return log time, message and bytes of all messages by topic."""
    found: dict[str, list[tuple[int, Any, bytes]]] = {}
    with AnyReader([path]) as reader:
        for connection, log_ns, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            found.setdefault(connection.topic, []).append((log_ns, message, bytes(data)))
    return found


def recorded(robot: Robot, folder: Path, count: int = 1) -> dict[str, list[tuple[int, Any, bytes]]]:
    """Let time pass until there are so many recordings; return the newest."""
    robot.until(lambda: robot.tick() and len(recordings(folder)) == count, "a recording")
    return read(recordings(folder)[-1])


def test_fault_is_recorded_with_what_came_before_and_after(runner: Robot, folder: Path) -> None:
    runner.velocity = (NAN, 0.0)
    fault_ns = ns(runner.tick().stamp)
    runner.velocity = (0.0, 0.0)
    found = recorded(runner, folder)
    (path,) = recordings(folder)
    assert path.name.startswith("two_joints-2")
    assert path.name.endswith("Z-not_finite")
    (_, info, _), *others = found["/flight_info"]
    assert info.reason.startswith("not_finite: joint_vel")
    assert not others
    ticks = [tick for _, tick, _ in found["/policy_tick"]]
    times_ns = [ns(tick.stamp) for tick in ticks]
    assert np.diff(times_ns).tolist() == [PERIOD_NS] * (len(ticks) - 1)
    assert times_ns[0] < fault_ns
    assert times_ns[-1] >= fault_ns + AFTER_TICKS * PERIOD_NS
    faulty = ticks[times_ns.index(fault_ns)]
    assert faulty.mode == JointCommand.MODE_DAMP
    assert faulty.reason.startswith("not_finite")
    assert np.isnan(faulty.state).any()


def test_commands_are_those_that_were_sent(runner: Robot, folder: Path) -> None:
    runner.request("record")
    sent = {command.sequence: command for command in runner.commands}
    for log_ns, message, _ in recorded(runner, folder)["/joint_command"]:
        command = sent[message.sequence]
        assert log_ns == ns(command.stamp)
        assert message.mode == command.mode
        assert message.names == command.names
        for field in ("position", "velocity", "effort", "stiffness", "damping", "effort_limit"):
            assert getattr(message, field).tolist() == getattr(command, field).tolist()
        assert message.valid_for.nanosec == command.valid_for.nanosec


def test_messages_are_recorded_with_the_bytes_that_came(runner: Robot, folder: Path) -> None:
    heard: dict[str, dict[int, bytes]] = {"joint_states": {}, "imu/data": {}}
    for message, topic in ((JointState, "joint_states"), (Imu, "imu/data")):
        into = heard[topic]

        def keep(data: bytes, into: dict[int, bytes] = into, kind: type[Any] = message) -> None:
            into[ns(deserialize_message(data, kind).header.stamp)] = data

        runner.node.create_subscription(message, topic, keep, 100, raw=True)
    for _ in range(20):
        runner.tick()
    now_ns = runner.now_ns
    runner.until(lambda: all(now_ns in found for found in heard.values()), "all messages")
    runner.request("record")
    found = recorded(runner, folder)
    for topic, sent in heard.items():
        kept = {log_ns: data for log_ns, _, data in found[f"/{topic}"]}
        common = kept.keys() & sent.keys()
        assert len(common) >= 10
        assert all(kept[time_ns] == sent[time_ns] for time_ns in common)


def test_contact_forces_are_recorded_and_never_needed(runner: Robot, folder: Path) -> None:
    feet = runner.node.create_publisher(ContactForces, "contact_forces", 1)
    runner.until(lambda: feet.get_subscription_count() == 1, "the recorder's subscription")

    def is_recorded() -> bool:
        feet.publish(ContactForces(names=["left"], forces=[Vector3(z=12.0)]))
        runner.tick()
        # Refused while the one before is being written.
        runner.ask("record")
        runner.until(lambda: recordings(folder), "a recording")
        return "/contact_forces" in read(recordings(folder)[-1])

    runner.until(is_recorded, "contact forces in a recording")
    _, message, _ = read(recordings(folder)[-1])["/contact_forces"][-1]
    assert (message.names, message.forces[0].z) == (["left"], 12.0)


def test_request_names_the_recording_of_the_last_seconds(runner: Robot, folder: Path) -> None:
    response = runner.ask("record")
    assert response.success
    place = Path(response.message.removeprefix("writes "))
    runner.until(place.is_dir, "the recording")
    ((_, info, _),) = read(place)["/flight_info"]
    assert info.reason == "asked for by service"
    settings = {entry.key: entry.value for entry in info.settings}
    assert settings["parameter.flight.after_s"] == str(AFTER_S)
    assert settings["limits.max_tilt_rad"] == "1.0"
    assert runner.hears(f"ticks recorded: {place}")


def test_run_is_recorded_until_it_is_ended(runner: Robot, folder: Path) -> None:
    def ask(on: bool) -> SetBool.Response:
        request = SetBool.Request(data=on)
        response: SetBool.Response = runner.call(SetBool, "joint_policy_node/record_run", request)
        return response

    assert ask(False).message == "no run is recorded"
    begun = ask(True)
    place = Path(begun.message.removeprefix("writes "))
    assert not ask(True).success
    for _ in range(60):
        runner.tick()
    last_ns = runner.now_ns
    assert ask(False).success
    runner.until(place.is_dir, "the recording")
    times_ns = [log_ns for log_ns, _, _ in read(place)["/policy_tick"]]
    assert set(np.diff(times_ns)) == {PERIOD_NS}
    assert times_ns[-1] >= last_ns


def test_deactivation_writes_what_is_due(
    start: Callable[..., JointPolicyNode], robot: Robot, folder: Path
) -> None:
    node = start(flight__after_s=30.0)
    robot.runs().velocity = (NAN, 0.0)
    robot.tick()
    assert recordings(folder) == []
    node.trigger_deactivate()
    (path,) = recordings(folder)
    assert path.name.endswith("not_finite")


def test_diagnostics_tell_of_the_recorder(runner: Robot, folder: Path) -> None:
    def told() -> dict[str, str]:
        return {entry.key: entry.value for entry in runner.diagnostics[-1].status[0].values}

    runner.until(lambda: runner.diagnostics and told()["flight.recorder"] == "ready", "diagnostics")
    assert told()["flight.ticks_dropped"] == "0"
    runner.request("record")
    runner.until(
        lambda: (
            told()["flight.last"] == str(recordings(folder)[0]) if recordings(folder) else False
        ),
        "the recording in the diagnostics",
    )


def test_folder_that_cannot_be_written_is_reported_and_the_policy_runs(
    start: Callable[..., JointPolicyNode], robot: Robot, folder: Path
) -> None:
    folder.write_text("a file", "utf-8")
    start()
    robot.hears(f"flight recorder: {folder}: cannot be written")
    robot.runs()
    robot.until(
        lambda: (
            robot.diagnostics and "cannot be written" in robot.diagnostics[-1].status[0].message
        ),
        "a warning",
    )
    refused = robot.ask("record")
    assert not refused.success
    assert "cannot be written" in refused.message


def test_missing_definitions_are_reported_and_the_policy_runs(
    start: Callable[..., JointPolicyNode], robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("AMENT_PREFIX_PATH", "/nowhere")
        start()
    robot.hears("flight recorder: AMENT_PREFIX_PATH: expected a prefix")
    robot.runs()
    assert "AMENT_PREFIX_PATH" in robot.ask("record").message


def test_definitions_that_cannot_be_read_are_reported_and_the_policy_runs(
    start: Callable[..., JointPolicyNode],
    robot: Robot,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    messages = tmp_path / "share" / "policy_msgs" / "msg"
    messages.mkdir(parents=True)
    for name in ("PolicyTick", "FlightInfo", "Tensor"):
        (messages / f"{name}.msg").write_text("???", "utf-8")
    with monkeypatch.context() as patch:
        patch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
        start()
    robot.hears("flight recorder: ")
    robot.runs()
    assert "flight recorder: " in robot.ask("record").message


def test_recorder_that_is_off_says_so(
    start: Callable[..., JointPolicyNode], robot: Robot, folder: Path
) -> None:
    node = start(flight__duration_s=0.0)
    robot.runs()
    assert robot.ask("record").message == "the flight recorder is off: flight.duration_s is 0"
    assert "/contact_forces" not in [s.topic_name for s in node.subscriptions]
    node.trigger_deactivate()
    assert not folder.exists()


def test_inactive_node_records_nothing(stage: Stage, bundle: Path, folder: Path) -> None:
    stage.node(bundle=str(bundle), flight__folder=str(folder)).trigger_configure()
    assert "activate the node first" in stage.robot.ask("record").message


def test_other_outputs_are_recorded_as_joint_commands(
    start: Callable[..., JointPolicyNode], robot: Robot, folder: Path, tmp_path: Path
) -> None:
    arm = write_bundle(tmp_path / "arm", {"safety.on_fault": "hold_measured"})
    start(bundle=str(arm), output="joint_state", use_sim_time=False)

    def inputs_are_fresh() -> bool:
        robot.now_ns = robot.node.get_clock().now().nanoseconds
        robot.send()
        return bool(robot.statuses) and all(
            entry.ok for entry in robot.statuses[-1].inputs if entry.name != "cmd_vel"
        )

    robot.until(inputs_are_fresh, "fresh inputs")
    robot.request("damp")
    ticks = robot.statuses[-1].ticks
    robot.until(lambda: robot.statuses[-1].ticks > ticks + 1, "ticks that command")
    robot.request("record")
    robot.until(lambda: recordings(folder), "a recording")
    _, message, _ = read(recordings(folder)[-1])["/joint_command"][-1]
    assert message.mode == JointCommand.MODE_HOLD_MEASURED
    np.testing.assert_allclose(message.position, STAND)


def test_policy_that_is_loaded_is_recorded_apart_from_the_one_before(
    runner: Robot, folder: Path, tmp_path: Path
) -> None:
    runner.call(SetBool, "joint_policy_node/record_run", SetBool.Request(data=True))
    runner.request("damp")
    before_ns = runner.now_ns
    answer = runner.call(
        LoadBundle,
        "joint_policy_node/load",
        LoadBundle.Request(bundle=str(write_version(tmp_path / "other", "2.0.0"))),
    )
    assert answer.success, answer.message
    runner.until(lambda: len(recordings(folder)) == 1, "the run of the one before")
    runner.runs().request("record")
    runner.until(lambda: len(recordings(folder)) == 2, "a recording of the other")
    by_cause = {path.name.rpartition("-")[2]: read(path) for path in recordings(folder)}
    old, new = by_cause["run"], by_cause["request"]
    assert old["/flight_info"][0][1].bundle_version == "1.2.3"
    assert new["/flight_info"][0][1].bundle_version == "2.0.0"
    assert new["/flight_info"][0][1].bundle == str(tmp_path / "other")
    assert new["/policy_tick"][0][0] > before_ns
    assert old["/policy_tick"][-1][0] < new["/policy_tick"][0][0]
    assert new["/policy_tick"][0][1].tick == 0


def test_error_in_a_tick_is_recorded(
    runner: Robot, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of our own code ends the tick before it is recorded; its file comes all the same."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError("a test")

    with monkeypatch.context() as patch:
        patch.setattr(Sampler, "sample", fail)
        runner.show_time()
        runner.hears("ZeroDivisionError: a test")
    found = recorded(runner, folder)
    assert found["/flight_info"][0][1].reason == "internal: ZeroDivisionError: a test"


def test_error_in_the_recorder_is_no_fault_of_the_robot(
    runner: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a test")

    monkeypatch.setattr(FlightRecorder, "record", fail)
    for _ in range(3):
        assert runner.tick().mode == JointCommand.MODE_RUN
    runner.hears("ZeroDivisionError: a test")
    assert runner.ask("record").message == "flight recorder: gave up; the log has the reason"
    assert runner.tick().mode == JointCommand.MODE_RUN


@pytest.fixture
def disk(folder: Path) -> Iterator[StalledDisk]:
    """The disk of the recordings, which can be stalled."""
    with stalled_disk(folder) as disk:
        yield disk


class TestStalledDisk:
    def test_requests_are_answered_and_an_emergency_stop_is_obeyed(
        self, runner: Robot, folder: Path, disk: StalledDisk
    ) -> None:
        disk.stall()
        requested = runner.ask("record")
        assert requested.success, requested.message
        runner.until(disk.waits.is_set, "the recorder to wait for the disk")
        assert "is being written already" in runner.ask("record").message
        assert runner.call(
            SetBool, "joint_policy_node/record_run", SetBool.Request(data=True)
        ).success
        assert runner.tick().mode == JointCommand.MODE_RUN
        sent = len(runner.commands)
        runner.estop.publish(Bool(data=True))
        runner.until(
            lambda: runner.commands[sent:] and is_damp(runner.commands[-1]), "the fault command"
        )
        assert runner.tick().mode == JointCommand.MODE_DAMP
        for request in ("estop", "damp"):
            assert runner.ask(request).message
        assert disk.threads == RECORDERS
        disk.answer()
        recorded(runner, folder, 2)
        assert {path.name.rpartition("-")[2] for path in recordings(folder)} == {"request", "estop"}

    def test_silence_of_the_disk_is_reported(self, runner: Robot, disk: StalledDisk) -> None:
        def told() -> tuple[str, str]:
            (status,) = runner.diagnostics[-1].status
            return status.message, {e.key: e.value for e in status.values}["flight.recorder"]

        disk.stall()
        runner.request("record")
        runner.until(lambda: runner.tick() and "no answer from the disk" in told()[0], "a warning")
        assert told()[1] == "does not work"
        refused = runner.ask("record")
        assert not refused.success
        assert "no answer from the disk for more than 3 s" in refused.message
        disk.answer()
        runner.until(lambda: runner.tick() and told()[1] == "ready", "the recorder to go on")
        runner.until(lambda: runner.ask("record").success, "another recording")
        assert disk.threads == RECORDERS

    def test_node_configures_activates_and_runs(
        self, start: Callable[..., JointPolicyNode], robot: Robot, disk: StalledDisk
    ) -> None:
        disk.stall()
        start()
        robot.runs()
        assert disk.waits.is_set()
        assert disk.threads == RECORDERS

    def test_another_policy_is_loaded(
        self, runner: Robot, disk: StalledDisk, tmp_path: Path
    ) -> None:
        runner.request("damp")
        disk.stall()
        runner.request("record")
        answer = runner.call(
            LoadBundle,
            "joint_policy_node/load",
            LoadBundle.Request(bundle=str(write_version(tmp_path / "other", "2.0.0"))),
        )
        assert answer.success, answer.message
        runner.runs()
        assert disk.threads == RECORDERS


def test_home_that_there_is_not_is_reported_and_the_policy_runs(
    start: Callable[..., JointPolicyNode], robot: Robot
) -> None:
    start(flight__folder="~nobody-of-this-name/flights")
    robot.hears("flight recorder: ~nobody-of-this-name/flights: expected a home folder, found none")
    robot.runs()
    assert "set flight.folder" in robot.ask("record").message


def test_modes_of_a_fault_are_called_as_in_the_message() -> None:
    assert FAULT_MODES == {
        OnFault.DAMP: JointCommand.MODE_DAMP,
        OnFault.HOLD_MEASURED: JointCommand.MODE_HOLD_MEASURED,
        OnFault.TORQUE_OFF: JointCommand.MODE_TORQUE_OFF,
    }
