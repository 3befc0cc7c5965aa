# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What becomes of a running policy when something goes wrong around it."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from policy_msgs.msg import JointCommand

from policy_inference.backends.onnx import OnnxBackend
from policy_inference.errors import BackendError
from policy_inference.interfaces import Mode
from policy_inference.nodes.joint_policy_node import JointPolicyNode

from .bundles import PERIOD_NS, STAND, write_bundle
from .harness import NAN, SPOILT, Robot, is_damp, ns

pytestmark = pytest.mark.ros


def modes(robot: Robot, ticks: int) -> list[int]:
    return [robot.tick().mode for _ in range(ticks)]


class TestInputs:
    @pytest.mark.parametrize("name", ["joint_states", "imu/data"])
    def test_silence_holds_then_damps(self, lockstep: Robot, name: str) -> None:
        lockstep.runs().silent = {name}
        found = modes(lockstep, 12)
        assert found[:2] == [Mode.RUN] * 2
        held = found.count(Mode.HOLD)
        assert found == [Mode.RUN] * 2 + [Mode.HOLD] * held + [Mode.DAMP] * (10 - held)
        assert held == 6
        assert "held_too_long" in lockstep.hears("held_too_long")

    def test_short_silence_recovers(self, lockstep: Robot) -> None:
        lockstep.runs().silent = {"joint_states"}
        assert Mode.HOLD in modes(lockstep, 4)
        lockstep.silent = set()
        assert modes(lockstep, 2) == [Mode.RUN] * 2

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("velocity", ()),
            ("names", ("left", "other")),
            ("position", (0.0,) * 3),
            ("names", ("left", "right", "left")),
        ],
    )
    def test_messages_that_do_not_fit_count_as_silence(
        self, lockstep: Robot, field: str, value: tuple[object, ...]
    ) -> None:
        setattr(lockstep.runs(), field, value)
        found = modes(lockstep, 12)
        assert found[0] == Mode.RUN
        assert Mode.HOLD in found
        assert found[-1] == Mode.DAMP

    @pytest.mark.parametrize(
        ("name", "spoilt"),
        [
            *(
                (name, spoilt)
                for name in ("joint_states", "imu/data")
                for spoilt in SPOILT
                if (name, spoilt) != ("imu/data", "not UTF-8")
            )  # which has no text there
        ],
    )
    def test_message_that_cannot_be_read_is_bridged_and_named(
        self, lockstep: Robot, name: str, spoilt: str
    ) -> None:
        lockstep.runs().spoilt = {name: SPOILT[spoilt]}
        lockstep.tick()
        status = lockstep.reported(
            lambda s: any("cannot be read" in entry.text for entry in s.inputs), "the reason"
        )
        text = {entry.name: entry.text for entry in status.inputs}[name]
        assert text.startswith(f"{name}: expected a sensor_msgs/msg/")
        assert status.mode == Mode.RUN
        lockstep.spoilt = {}
        assert modes(lockstep, 2) == [Mode.RUN] * 2

    def test_messages_that_cannot_be_read_count_as_silence(self, lockstep: Robot) -> None:
        lockstep.runs().spoilt = {"joint_states": SPOILT["truncated"]}
        found = modes(lockstep, 12)
        assert found[0] == Mode.RUN
        assert Mode.HOLD in found
        assert found[-1] == Mode.DAMP
        status = lockstep.reported(lambda s: s.latched, "the fault")
        assert "held_too_long: joint_states" in status.reason

    def test_orientation_that_is_not_given_counts_as_silence(self, lockstep: Robot) -> None:
        lockstep.runs().quat_xyzw = (0.0, 0.0, 0.0, 0.0)
        found = modes(lockstep, 12)
        assert Mode.HOLD in found
        assert found[-1] == Mode.DAMP

    @pytest.mark.parametrize("field", ["position", "velocity"])
    def test_nan_damps_in_the_tick_in_which_it_comes(self, lockstep: Robot, field: str) -> None:
        setattr(lockstep.runs(), field, (NAN, 0.0))
        assert is_damp(lockstep.tick())
        setattr(lockstep, field, STAND)
        assert is_damp(lockstep.tick())

    def test_frozen_stamps_count_as_silence(self, lockstep: Robot) -> None:
        lockstep.runs()
        frozen_ns = lockstep.now_ns
        found = []
        for _ in range(12):
            lockstep.now_ns, now_ns = frozen_ns, lockstep.now_ns + PERIOD_NS
            lockstep.send()
            lockstep.now_ns = now_ns
            lockstep.send_clock()
            lockstep.until(lockstep.answers, "an answer")
            found.append(lockstep.answers()[-1].mode)
        assert Mode.HOLD in found
        assert found[-1] == Mode.DAMP

    def test_names_in_another_order_change_nothing(self, lockstep: Robot) -> None:
        lockstep.position = (0.3, -0.1)
        before = list(lockstep.runs().tick().position)
        settled = list(lockstep.tick().position)
        while settled != before:
            before, settled = settled, list(lockstep.tick().position)
        lockstep.names, lockstep.position = ("right", "left"), (-0.1, 0.3)
        assert list(lockstep.tick().position) == pytest.approx(settled)

    def test_tilt_damps(self, lockstep: Robot) -> None:
        lockstep.runs().quat_xyzw = (1.0, 0.0, 0.0, 0.0)
        assert is_damp(lockstep.tick())
        lockstep.hears("attitude: tilt 3.14 rad")


class TestClocks:
    def test_pause_of_the_simulator_is_no_fault(self, lockstep: Robot) -> None:
        lockstep.runs()
        sent = len(lockstep.commands)
        # Wall time passes, seen by the statuses that go on; sensors repeat with the time.
        lockstep.statuses.clear()
        lockstep.until(lambda: len(lockstep.statuses) >= 4, "statuses")
        for _ in range(5):
            lockstep.show_time(step_ns=0)
        lockstep.statuses.clear()
        lockstep.until(lambda: len(lockstep.statuses) >= 2, "statuses")
        assert len(lockstep.commands) == sent
        assert modes(lockstep, 5) == [Mode.RUN] * 5

    def test_time_that_is_shown_again_at_rest_is_answered_again(self, lockstep: Robot) -> None:
        """The first answer may have met no one: a simulator would wait for it for ever."""
        first = lockstep.tick()
        lockstep.shows_time_until(lambda: len(lockstep.answers()) > 1, "a second answer", step_ns=0)
        assert lockstep.answers()[-1].stamp == first.stamp

    @pytest.mark.parametrize("step_ms", [-900, -300, -60, 60, 300, 2000])
    def test_sensors_whose_clock_is_set_are_a_warning_and_motion_goes_on(
        self, lockstep: Robot, step_ms: int
    ) -> None:
        lockstep.runs().clock_offset_ns = step_ms * 1_000_000
        assert modes(lockstep, 12) == [Mode.RUN] * 12
        said = f"joint_states, imu/data: the sender's clock was set by {step_ms:+} ms"
        assert lockstep.hears(said).count("was set by") == 1

    def test_clock_that_runs_backwards_damps_until_reset(self, lockstep: Robot) -> None:
        lockstep.runs()
        lockstep.now_ns = 500_000_000
        lockstep.commands.clear()
        assert is_damp(lockstep.tick())
        lockstep.hears("clock: simulated time ran backwards")
        lockstep.request("reset")
        lockstep.is_met()
        lockstep.request("stand")
        assert lockstep.tick().mode == Mode.STAND

    def test_clock_before_zero_is_refused_and_nothing_else_happens(self, lockstep: Robot) -> None:
        lockstep.runs()
        lockstep.show_on_clock(-1_500_000_000)
        assert "found -1.500 s" in lockstep.hears("/clock: expected a time of 0 s or later")
        assert lockstep.tick().mode == Mode.RUN

    def test_clock_that_runs_backwards_at_rest_is_no_fault(self, lockstep: Robot) -> None:
        lockstep.now_ns = 500_000_000
        lockstep.commands.clear()
        lockstep.is_met()
        lockstep.request("stand")

    def test_clock_that_jumps_ahead_damps(self, lockstep: Robot) -> None:
        lockstep.runs()
        assert is_damp(lockstep.tick(step_ns=1_000_000_000))
        lockstep.hears("clock: 1000 ms since the last tick")

    def test_header_clock_that_is_reset_is_followed(
        self, active: Callable[..., JointPolicyNode], robot: Robot
    ) -> None:
        """A driver that restarts counts from zero; its messages are new all the same."""
        active(use_sim_time=True)
        robot.runs()
        for i in range(20):
            now_ns = robot.now_ns + PERIOD_NS
            robot.now_ns = PERIOD_NS * (i + 1)
            robot.send()
            robot.now_ns = now_ns
            robot.send_clock()
            robot.until(robot.answers, "an answer")
            assert robot.answers()[-1].mode == Mode.RUN


class TestTicks:
    @pytest.mark.parametrize("kind", [ZeroDivisionError, SystemExit])
    def test_unexpected_error_damps_and_the_node_lives(
        self,
        active: Callable[..., JointPolicyNode],
        robot: Robot,
        monkeypatch: pytest.MonkeyPatch,
        kind: type[BaseException],
    ) -> None:
        def break_down(*_: object) -> None:
            raise kind("in the middle of a tick")

        node = active(use_sim_time=True)
        robot.runs()
        monkeypatch.setattr(node.controller, "tick", break_down)
        assert is_damp(robot.tick())
        robot.hears("Traceback")
        robot.hears("in the middle of a tick")
        monkeypatch.undo()
        assert is_damp(robot.tick())
        status = robot.reported(lambda s: s.latched, "the fault")
        assert status.reason.startswith(f"internal: {kind.__name__}: in the middle of a tick")
        robot.request("reset")
        robot.request("stand")
        assert robot.tick().mode == Mode.STAND

    def test_backend_that_fails_holds_then_damps(
        self, lockstep: Robot, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(_: OnnxBackend) -> None:
            raise BackendError("the device is gone")

        lockstep.runs()
        monkeypatch.setattr(OnnxBackend, "run", fail)
        found = modes(lockstep, 10)
        assert found[0] == Mode.HOLD
        assert found[-1] == Mode.DAMP
        lockstep.hears("the device is gone")

    def test_node_ends_although_a_tick_hangs(
        self, active: Callable[..., JointPolicyNode], robot: Robot, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hangs, goes_on, ended = threading.Event(), threading.Event(), threading.Event()

        def hang(_: OnnxBackend) -> None:
            hangs.set()
            goes_on.wait()
            ended.set()

        node = active(use_sim_time=True)
        robot.runs()
        monkeypatch.setattr(OnnxBackend, "run", hang)
        before = len(robot.commands)
        robot.show_time()
        robot.until(hangs.is_set, "a tick that hangs")
        try:
            node.trigger_deactivate()
            robot.until(lambda: len(robot.commands) > before, "the fault command")
            assert is_damp(robot.commands[-1])
            robot.hears("a tick hangs in the backend")
            node.trigger_activate()
            robot.hears("a tick still hangs in the backend; restart the process")
        finally:
            goes_on.set()
        robot.until(ended.is_set, "the end of the tick")

    def test_commands_expire_after_the_time_that_was_asked_for(
        self, active: Callable[..., JointPolicyNode], robot: Robot
    ) -> None:
        active(use_sim_time=True, command_valid_for_s=0.25)
        robot.is_met()
        assert ns(robot.tick().valid_for) == 250_000_000

    def test_the_robot_s_names_count_in_what_it_says_and_in_what_it_receives(
        self, active: Callable[..., JointPolicyNode], robot: Robot, tmp_path: Path
    ) -> None:
        names = {"joints.robot_names": {"left": "{name}_joint", "right": "rr"}}
        bundle = write_bundle(tmp_path / "renamed", names)
        active(use_sim_time=True, bundle=str(bundle))
        robot.names = ("left_joint", "rr")
        robot.is_met()
        robot.runs()
        command = robot.tick()
        assert command.mode == Mode.RUN
        assert list(command.names) == ["left_joint", "rr"]

    def test_servo_arm_holds_its_measured_pose_after_a_fault(
        self, active: Callable[..., JointPolicyNode], robot: Robot, tmp_path: Path
    ) -> None:
        bundle = write_bundle(tmp_path / "arm", {"safety.on_fault": "hold_measured"})
        active(bundle=str(bundle), use_sim_time=True)
        robot.position, robot.holds = (0.3, -0.1), True
        robot.runs().request("estop")
        command = robot.tick()
        assert command.mode == JointCommand.MODE_HOLD_MEASURED
        assert list(command.position) == [0.3, -0.1]
        assert list(command.stiffness) == [100.0, 100.0]

    def test_servo_arm_is_commanded_nothing_before_damp_or_stand(
        self, active: Callable[..., JointPolicyNode], robot: Robot, tmp_path: Path
    ) -> None:
        bundle = write_bundle(tmp_path / "arm", {"safety.on_fault": "hold_measured"})
        node = active(bundle=str(bundle), use_sim_time=True)
        robot.shows_time_until(lambda: robot.statuses and robot.statuses[-1].ticks > 100, "ticks")
        assert robot.statuses[-1].reason.startswith("started; nothing is commanded")
        robot.request("estop")
        robot.request("reset")
        node.halt()
        assert robot.commands == []

    def test_servo_arm_stands_up_though_time_stands_still_until_the_first_command(
        self, active: Callable[..., JointPolicyNode], robot: Robot, tmp_path: Path
    ) -> None:
        bundle = write_bundle(tmp_path / "arm", {"safety.on_fault": "hold_measured"})
        active(bundle=str(bundle), use_sim_time=True)
        robot.position = (0.3, -0.1)
        robot.shows_time_until(lambda: robot.ask("stand").success, "a pose to stand from", 0)
        robot.shows_time_until(robot.answers, "the first command", 0)
        assert robot.commands[0].mode == Mode.STAND
        assert list(robot.commands[0].position) == [0.3, -0.1]
        robot.tick()


class TestRealTime:
    """Without simulated time; counts and orders only."""

    @pytest.mark.parametrize("trigger", ["timer", "joint_states", "imu/data"])
    def test_node_ticks_without_any_input(
        self, active: Callable[..., JointPolicyNode], robot: Robot, trigger: str
    ) -> None:
        active(trigger=trigger)
        robot.until(lambda: len(robot.commands) >= 5, "commands")
        assert all(is_damp(command) for command in robot.commands)
        sequence = [command.sequence for command in robot.commands]
        assert sequence == sorted(set(sequence))

    def test_arrival_of_the_trigger_ticks(
        self, active: Callable[..., JointPolicyNode], robot: Robot
    ) -> None:
        active(trigger="joint_states")

        def acts() -> bool:
            robot.now_ns += PERIOD_NS
            robot.send()
            return bool(robot.statuses) and any(
                entry.name == "joint_states" and entry.ok for entry in robot.statuses[-1].inputs
            )

        robot.until(acts, "fresh joint states")
        robot.request("stand")
