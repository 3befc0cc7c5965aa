# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The emulated motion host on its socket, as a driver meets it."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import Twist
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from lite3_driver import wire
from robot_sim.errors import SimError
from robot_sim.figures import LITE3
from robot_sim.lite3_host import OTHER_CODE
from robot_sim.trace import Trace

from .harness import DEADLINE_S
from .udp_driver import DRIVER, HOST, STRANGER, Driver, held

pytestmark = pytest.mark.ros


@pytest.fixture
def driver() -> Iterator[Driver]:
    """A driver's socket; all ends with the test."""
    driver = Driver()
    yield driver
    driver.close()


class TestState:
    def test_a_frame_leaves_for_each_millisecond_from_the_start(self, driver: Driver) -> None:
        driver.run()
        ticks = [driver.state().tick for _ in range(200)]
        assert ticks == list(range(1, 201))

    def test_rate_can_be_chosen(self, driver: Driver) -> None:
        driver.run(state_rate_hz=250.0)
        assert [driver.state().tick for _ in range(5)] == [4, 8, 12, 16, 20]

    def test_all_frames_come_from_the_port_at_which_it_listens(self, driver: Driver) -> None:
        driver.run()
        senders = {driver.receive() and driver.host for _ in range(20)}
        assert len(senders) == 1
        assert driver.host[0] == HOST


class TestControl:
    def test_it_obeys_the_driver_until_it_gives_control_back(self, driver: Driver) -> None:
        node = driver.run()
        driver.state()
        driver.send(wire.request(wire.TAKE_CONTROL))
        driver.until(
            lambda state: np.abs(state.joint_effort).max() > 20.0,
            "torque",
            held(LITE3.standing_rad),
        )
        driver.send(wire.request(wire.GIVE_BACK))
        driver.until(
            lambda _: node.host.controller is None, "the end of control", held(LITE3.standing_rad)
        )
        assert node.host.world.damped

    def test_silence_ends_control(self, driver: Driver, tmp_path: Path) -> None:
        events = tmp_path / "events.jsonl"
        driver.run(watchdog_s=0.05, event_file=str(events))
        driver.state()
        driver.send(wire.request(wire.TAKE_CONTROL))
        driver.until(lambda _: "watchdog" in events.read_text(), "the watchdog")
        taken, ended = (json.loads(line) for line in events.open())
        assert ended["time_s"] - taken["time_s"] == pytest.approx(0.05)

    def test_events_are_lines_of_a_file(self, driver: Driver, tmp_path: Path) -> None:
        node = driver.run(event_file=str(tmp_path / "events.jsonl"))
        driver.state()
        driver.send(wire.request(wire.TAKE_CONTROL))
        driver.send(held(LITE3.standing_rad))
        driver.send(wire.damping_command(5.0))
        driver.send(wire.request(wire.GIVE_BACK))
        driver.until(lambda state: state.tick > 10 and node.host.controller is None, "the end")
        lines = [json.loads(line) for line in (tmp_path / "events.jsonl").open()]
        assert [line["event"] for line in lines] == [
            "control_taken",
            "following",
            "damped",
            "control_given_back",
        ]
        assert {line["who"] for line in lines} == {"{}:{}".format(*driver.socket.getsockname())}
        assert lines[0]["time_s"] < 20.0
        assert abs(lines[0]["unix_ns"] - time.time_ns()) < 60e9

    def test_odd_datagrams_are_an_event_and_counted_in_the_log_at_the_end(
        self, driver: Driver, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        events = tmp_path / "events.jsonl"
        driver.run(event_file=str(events))
        driver.state()
        for _ in range(3):
            driver.send(wire.request(0x21010C0E))
        driver.until(lambda _: "unknown_code" in events.read_text(), "the event")
        driver.until(lambda _: driver.node.host.ignored["unknown_code"] == 3, "all of them")
        (line,) = (json.loads(line) for line in events.open())
        assert line["event"] == "ignored"
        assert line["who"].startswith("unknown_code: 12 bytes 0e 0c 01 21 00")
        driver.ends()
        assert "datagrams ignored so far: unknown_code 3" in capfd.readouterr().err


class TestTurn:
    def test_a_person_turns_the_robot_by_ninety_degrees(self, driver: Driver) -> None:
        driver.run()
        client = driver.listener.create_client(Trigger, "lite3_emulator/turn_by_hand")
        driver.spin_until(client.service_is_ready, "the service")
        answer = client.call_async(Trigger.Request())
        driver.spin_until(answer.done, "the answer")
        assert answer.result().success
        driver.until(lambda state: state.rpy[2] > 1.5, "the turn")

    def test_a_robot_under_control_is_not_touched(self, driver: Driver) -> None:
        node = driver.run(watchdog_s=60.0)
        driver.state()
        driver.send(wire.request(wire.TAKE_CONTROL))
        driver.until(lambda _: node.host.controller is not None, "control")
        client = driver.listener.create_client(Trigger, "lite3_emulator/turn_by_hand")
        driver.spin_until(client.service_is_ready, "the service")
        answer = client.call_async(Trigger.Request())
        driver.spin_until(answer.done, "the answer")
        assert not answer.result().success
        assert "give control back first" in answer.result().message


class TestFaults:
    def test_frames_that_are_lost_do_not_come(self, driver: Driver) -> None:
        driver.run(faults=["loss:state=0.5"])
        ticks = [driver.state().tick for _ in range(200)]
        assert 250 < ticks[-1] < 600

    def test_commands_that_are_lost_do_not_count(self, driver: Driver) -> None:
        node = driver.run(faults=["deaf:command"])
        driver.state()
        driver.until(lambda state: state.tick > 50, "some frames", wire.request(wire.TAKE_CONTROL))
        assert node.host.controller is None
        assert node.set_parameters([Parameter("faults", value=[""])])[0].successful
        driver.until(
            lambda _: node.host.controller is not None, "control", wire.request(wire.TAKE_CONTROL)
        )

    @pytest.mark.parametrize("address", [STRANGER, ""])
    def test_foreign_frames_come_from_elsewhere(self, driver: Driver, address: str) -> None:
        driver.run(faults=["foreign:state"], foreign_address=address)
        senders = {driver.receive() and driver.host for _ in range(20)}
        assert len(senders) == 2
        assert {sender[0] for sender in senders} == {HOST, address or HOST}

    def test_forged_frames_come_from_the_hosts_own_port(self, driver: Driver) -> None:
        driver.run(faults=["forged:state=5000"])
        told = {(driver.state().tick > 5000, driver.host) for _ in range(20)}
        assert [ahead for ahead, _ in sorted(told)] == [False, True]
        assert len({host for _, host in told}) == 1

    def test_other_firmware_and_wrong_length_reach_the_wire(self, driver: Driver) -> None:
        node = driver.run(faults=["firmware:state", "length:state"])
        data = driver.receive()
        assert wire.code_of(data) == OTHER_CODE
        assert len(data) == wire.STATE_BYTES - 1
        assert node.set_parameters([Parameter("faults", value=[""])])[0].successful
        ends_s = time.monotonic() + DEADLINE_S
        while not isinstance(wire.read_state(driver.receive()), wire.Lite3State):
            assert time.monotonic() < ends_s

    def test_a_restart_begins_at_tick_0_without_a_controller(self, driver: Driver) -> None:
        node = driver.run(faults=["restart:host@0.05+0.05"])
        driver.state()
        driver.send(wire.request(wire.TAKE_CONTROL))
        driver.until(lambda state: state.tick == 50, "the last frame")
        assert driver.state().tick == 1
        assert node.host.controller is None

    def test_a_change_is_an_event(self, driver: Driver, tmp_path: Path) -> None:
        node = driver.run(event_file=str(tmp_path / "events.jsonl"))
        node.set_parameters([Parameter("faults", value=["drop:imu+0.01", "loss:state=0.1"])])
        driver.until(lambda _: (tmp_path / "events.jsonl").stat().st_size, "the event")
        line = json.loads((tmp_path / "events.jsonl").read_text())
        assert line["event"] == "faults"
        assert line["who"] == "drop:imu+0.01, loss:state=0.1"

    @pytest.mark.parametrize(
        ("name", "value", "said"),
        [
            ("faults", ["melt:host"], "unknown kind 'melt'; known: freeze"),
            ("faults", ["loss:imu=0.1"], "unknown target 'imu'; known: state, command"),
            ("watchdog_s", 0.1, "watchdog_s is read when the node starts; restart the node"),
        ],
    )
    def test_what_cannot_be_set_is_refused(
        self, driver: Driver, name: str, value: object, said: str
    ) -> None:
        node = driver.make()
        result = node.set_parameters([Parameter(name, value=value)])[0]
        assert not result.successful
        assert said in result.reason


def test_trace_tells_what_was_asked_for_and_what_was_commanded(
    driver: Driver, tmp_path: Path
) -> None:
    node = driver.run(trace_file=str(tmp_path / "walk.npz"))
    asked = driver.listener.create_publisher(Twist, "cmd_vel", 1)
    driver.spin_until(lambda: asked.get_subscription_count(), "the emulator")
    velocity = Twist()
    velocity.linear.x = 0.5
    asked.publish(velocity)
    driver.state()
    driver.send(wire.request(wire.TAKE_CONTROL))
    heard = node.host.world.time_ns
    driver.spin_until(lambda: node.host.world.time_ns > heard + 100_000_000, "some rows")
    driver.send(held(LITE3.standing_rad))
    driver.spin_until(lambda: node.host.world.time_ns > heard + 300_000_000, "some rows")
    driver.ends()
    node.save()
    trace = Trace.load(tmp_path / "walk.npz")
    assert trace.command[-1].tolist() == [0.5, 0.0, 0.0]
    assert trace.target[-1] == pytest.approx(LITE3.standing_rad, abs=1e-6)
    assert np.isnan(trace.target[0]).all()
    assert np.diff(trace.time_s) == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"pose": "flying"}, "pose: expected one of lying, standing"),
        ({"watchdog_s": 0.0}, "watchdog_s: expected a time > 0"),
        ({"angular_velocity_unit": "rpm"}, "expected rad/s or deg/s, got 'rpm'"),
        ({"state_rate_hz": 3000.0}, "state_rate_hz: expected a period that is a multiple of"),
        ({"faults": ["melt:host"]}, "unknown kind 'melt'"),
        ({"host_address": "192.0.2.1"}, "at an address of this machine, got 192.0.2.1:0"),
        ({"host_port": 70000}, "host_port: expected a free UDP port"),
        ({"foreign_address": "nowhere.invalid"}, "foreign_address: expected"),
        ({"event_file": "/not/there/events"}, "event_file: expected a file in a folder"),
    ],
    ids=str,
)
def test_bad_parameter_is_refused(driver: Driver, parameters: dict[str, object], said: str) -> None:
    with pytest.raises(SimError, match=said):
        driver.make(**parameters)


def test_a_port_in_use_ends_the_command_with_status_2_and_a_signal_with_0(
    driver: Driver, tmp_path: Path
) -> None:
    _, port = driver.socket.getsockname()

    def start(host_address: str, host_port: int) -> "subprocess.Popen[str]":
        given = {
            "host_address": host_address,
            "host_port": host_port,
            "state_address": DRIVER,
            "state_port": port,
            "trace_file": tmp_path / "walk.npz",
        }
        words = [word for name, value in given.items() for word in ("-p", f"{name}:={value}")]
        return subprocess.Popen(
            ["lite3_emulator", "--ros-args", *words],
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    refused, running = start(DRIVER, port), start(HOST, 0)
    output, _ = refused.communicate(timeout=DEADLINE_S)
    assert refused.returncode == 2, output
    assert f"expected a free UDP port at an address of this machine, got {DRIVER}:{port}" in output
    driver.until(lambda state: state.tick > 40, "frames")
    running.send_signal(signal.SIGINT)
    output, _ = running.communicate(timeout=DEADLINE_S)
    assert running.returncode == 0, output
    assert "Traceback" not in output
    assert len(Trace.load(tmp_path / "walk.npz").time_s) > 0
