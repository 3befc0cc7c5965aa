# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The emulated motion host on its socket, as seen by a driver."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from lite3_driver import wire
from robot_sim.figures import LITE3
from robot_sim.lite3_host import Address
from robot_sim.nodes.lite3_emulator import Lite3Emulator
from robot_sim.trace import Trace
from testkit.wording import check_wording, lines_with

from ..host_robot import holding_frame
from .harness import DEADLINE_S, RunningNode

pytestmark = pytest.mark.ros

HOST, DRIVER, STRANGER = "127.43.21.1", "127.43.21.2", "127.43.21.3"


class Driver(RunningNode):
    """A driver's end of the connection, and an emulator that runs in a thread."""

    node: Lite3Emulator
    new_node = Lite3Emulator

    def __init__(self) -> None:
        super().__init__()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((DRIVER, 0))
        self.socket.settimeout(DEADLINE_S)
        self.host: Address = (HOST, 0)

    def make(self, **parameters: object) -> Any:
        given = {"host_address": HOST, "host_port": 0, "state_address": DRIVER}
        return super().make(**{**given, "state_port": self.socket.getsockname()[1], **parameters})

    def run(self, **parameters: object) -> Lite3Emulator:
        """Create the node and run it; return it."""
        self.make(**parameters)
        self.start()
        return self.node

    def receive(self) -> bytes:
        """Return the next datagram, and note its sender as the host."""
        data, self.host = self.socket.recvfrom(2048)
        return data

    def state(self) -> wire.Lite3State:
        state = wire.read_state(self.receive())
        assert isinstance(state, wire.Lite3State), state
        return state

    def until(
        self,
        condition: Callable[[wire.Lite3State], object],
        what: str,
        command: bytes | None = None,
    ) -> wire.Lite3State:
        """Receive frames until the condition holds; send the command after every second one."""
        ends_s = time.monotonic() + DEADLINE_S
        while not condition(state := self.state()):
            assert time.monotonic() < ends_s, f"waited in vain for {what}"
            if command is not None and state.tick % 2 == 0:
                self.send(command)
        return state

    def send(self, data: bytes) -> None:
        self.socket.sendto(data, self.host)

    def ends(self) -> None:
        self.node.stop()
        super().ends()

    def close(self) -> None:
        self.socket.close()
        super().close()


@pytest.fixture
def emulated_driver() -> Iterator[Driver]:
    """Provide a driver's socket and an emulator; close both after the test."""
    driver = Driver()
    yield driver
    driver.close()


class TestState:
    @pytest.mark.parametrize(("options", "step"), [({}, 1), ({"state_rate_hz": 250.0}, 4)])
    def test_frames_leave_at_their_rate_from_the_start(
        self, emulated_driver: Driver, options: dict[str, float], step: int
    ) -> None:
        emulated_driver.run(**options)
        ticks = [emulated_driver.state().tick for _ in range(50)]
        assert ticks == [step * number for number in range(1, 51)]


class TestControl:
    def test_it_obeys_the_driver_until_it_gives_control_back_and_each_event_is_a_line(
        self, emulated_driver: Driver, tmp_path: Path
    ) -> None:
        driver = emulated_driver
        node = driver.run(event_file=str(tmp_path / "events.jsonl"))
        driver.state()
        driver.send(wire.request(wire.TAKE_CONTROL))
        held = holding_frame(LITE3.standing_rad)
        driver.until(lambda state: np.abs(state.joint_effort).max() > 20.0, "torque", held)
        driver.send(wire.damping_command(5.0))
        driver.send(wire.request(wire.GIVE_BACK))
        driver.until(lambda _: node.host.controller is None, "the end of control", held)
        assert node.host.world.damped
        # Later events report commands that it no longer follows.
        lines = [json.loads(line) for line in (tmp_path / "events.jsonl").open()][:4]
        events = ["control_taken", "following", "damped", "control_given_back"]
        assert [line["event"] for line in lines] == events
        assert {line["who"] for line in lines} == {"{}:{}".format(*driver.socket.getsockname())}
        assert lines[0]["time_s"] < 20.0
        assert abs(lines[0]["unix_ns"] - time.time_ns()) < 60e9


class TestTurn:
    def test_a_person_turns_the_robot_unless_it_is_under_control(
        self, emulated_driver: Driver
    ) -> None:
        node = emulated_driver.run(watchdog_s=60.0)
        client = emulated_driver.listener.create_client(Trigger, "lite3_emulator/turn_by_hand")
        emulated_driver.spin_until(client.service_is_ready, "the service")
        answer = client.call_async(Trigger.Request())
        emulated_driver.spin_until(answer.done, "the answer")
        assert answer.result().success
        emulated_driver.until(lambda state: state.rpy[2] > 1.5, "the turn")
        emulated_driver.send(wire.request(wire.TAKE_CONTROL))
        emulated_driver.until(lambda _: node.host.controller is not None, "control")
        answer = client.call_async(Trigger.Request())
        emulated_driver.spin_until(answer.done, "the answer")
        assert not answer.result().success
        check_wording(answer.result().message)

    def test_a_person_sets_a_robot_upright(self, emulated_driver: Driver) -> None:
        emulated_driver.run(pose="standing")

        def moved_rad(state: wire.Lite3State) -> float:
            return float(np.abs(state.joint_pos - LITE3.standing_rad).max())

        emulated_driver.until(lambda state: moved_rad(state) > 0.5, "the robot sinks")
        client = emulated_driver.listener.create_client(Trigger, "lite3_emulator/set_upright")
        emulated_driver.spin_until(client.service_is_ready, "the service")
        answer = client.call_async(Trigger.Request())
        emulated_driver.spin_until(answer.done, "the answer")
        emulated_driver.until(lambda state: moved_rad(state) < 0.1, "the robot stands again")


class TestFaults:
    def test_a_change_is_an_event(self, emulated_driver: Driver, tmp_path: Path) -> None:
        node = emulated_driver.run(event_file=str(tmp_path / "events.jsonl"))
        node.set_parameters([Parameter("faults", value=["drop:imu+0.01", "loss:state=0.1"])])
        emulated_driver.until(lambda _: (tmp_path / "events.jsonl").stat().st_size, "the event")
        line = json.loads((tmp_path / "events.jsonl").read_text())
        assert line["event"] == "faults"
        assert line["who"] == "drop:imu+0.01, loss:state=0.1"

    @pytest.mark.parametrize(
        ("name", "value"),
        [("faults", ["melt:host"]), ("faults", ["loss:imu=0.1"]), ("watchdog_s", 0.1)],
        ids=["unknown kind melt known", "unknown target imu known", "watchdog_s read when node"],
    )
    def test_what_cannot_be_set_is_refused(
        self, emulated_driver: Driver, name: str, value: object
    ) -> None:
        node = emulated_driver.make()
        result = node.set_parameters([Parameter(name, value=value)])[0]
        assert not result.successful
        check_wording(result.reason)


def test_a_port_in_use_ends_the_command_with_status_2_and_a_signal_with_0(
    emulated_driver: Driver, tmp_path: Path
) -> None:
    _, port = emulated_driver.socket.getsockname()

    def start(host_address: str, host_port: int) -> subprocess.Popen[str]:
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
    check_wording(*lines_with(output, "address"))
    emulated_driver.until(lambda state: state.tick > 40, "frames")
    running.send_signal(signal.SIGINT)
    output, _ = running.communicate(timeout=DEADLINE_S)
    assert running.returncode == 0, output
    assert "Traceback" not in output
    assert len(Trace.load(tmp_path / "walk.npz").time_s) > 0
