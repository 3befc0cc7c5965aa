# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What becomes of a running policy when something goes wrong around it."""

from pathlib import Path

import pytest

from policy_core.interfaces import Mode
from policy_inference.kinds.opening import NATIVE, PYTHON
from policy_inference.nodes.joint_policy_node import JointPolicyNode
from testkit.ros_time import ns
from testkit.wording import check_wording

from .bundles import write_bundle
from .harness import Activate, Robot, is_damp, runs_hang, status_of_input

pytestmark = pytest.mark.ros


class TestInputs:
    @pytest.mark.parametrize("name", ["joint_states", "imu/data"])
    def test_message_that_cannot_be_read_is_bridged_and_named(
        self, lockstep: Robot, name: str
    ) -> None:
        spoilt = {  # a name that is not UTF-8, and nothing
            "joint_states": lambda data: data[:29] + b"\xff\xfe" + data[31:],
            "imu/data": lambda _: b"",
        }
        lockstep.runs().spoilt = {name: spoilt[name]}
        lockstep.tick()
        status = lockstep.reported(lambda s: not status_of_input(s, name).ok, "the reason")
        assert "sensor_msgs/msg/" in status_of_input(status, name).text
        assert status.mode == Mode.RUN
        lockstep.spoilt = {}
        assert lockstep.modes(2) == [Mode.RUN] * 2


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
        assert lockstep.modes(5) == [Mode.RUN] * 5

    def test_time_that_is_shown_again_at_rest_is_answered_again(self, lockstep: Robot) -> None:
        """The first answer may have met no one: a simulator would wait for it for ever."""
        first = lockstep.tick()
        lockstep.shows_time_until(lambda: len(lockstep.answers()) > 1, "a second answer", step_ns=0)
        assert lockstep.answers()[-1].stamp == first.stamp

    def test_sensors_whose_clock_is_set_are_a_warning_and_motion_goes_on(
        self, lockstep: Robot
    ) -> None:
        lockstep.runs().clock_offset_ns = -900_000_000
        assert lockstep.modes(12) == [Mode.RUN] * 12
        said = lockstep.hears("joint_states, imu/data", "-900 ms", level="WARN")
        assert [each.text for each in lockstep.logged("WARN")] == [said]

    @pytest.mark.parametrize("step_ns", [-1_000_000_000, 1_000_000_000])
    def test_clock_that_jumps_damps_until_reset(self, lockstep: Robot, step_ns: int) -> None:
        lockstep.runs().commands.clear()
        assert is_damp(lockstep.tick(step_ns))
        check_wording(lockstep.hears("clock: "))
        lockstep.request("reset")
        lockstep.is_met()
        lockstep.request("stand")
        assert lockstep.tick().mode == Mode.STAND


class TestTicks:
    def test_unexpected_error_damps_and_the_node_lives(
        self, lockstep_node: JointPolicyNode, lockstep: Robot, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def break_down(*_: object) -> None:
            raise SystemExit("in the middle of a tick")

        lockstep.runs()
        monkeypatch.setattr(lockstep_node.controller, "tick", break_down)
        assert is_damp(lockstep.tick())
        lockstep.hears("Traceback", "in the middle of a tick")
        monkeypatch.undo()
        assert is_damp(lockstep.tick())
        status = lockstep.reported(lambda s: s.latched, "the fault")
        assert status.reason.split(": ")[:2] == ["internal", "SystemExit"]
        lockstep.request("reset")
        lockstep.request("stand")
        assert lockstep.tick().mode == Mode.STAND

    @pytest.mark.slow
    @pytest.mark.usefixtures("python_models")
    def test_node_ends_although_a_tick_hangs(
        self, lockstep_node: JointPolicyNode, lockstep: Robot, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lockstep.runs()
        before = len(lockstep.commands)
        with runs_hang(monkeypatch) as hangs:
            lockstep.show_time()
            lockstep.until(hangs.is_set, "a tick that hangs")
            lockstep_node.trigger_deactivate()
            lockstep.until(lambda: len(lockstep.commands) > before, "the fault command")
            assert is_damp(lockstep.commands[-1])
            check_wording(lockstep.hears("a tick hangs"))
            lockstep_node.trigger_activate()
            check_wording(lockstep.hears("a tick still hangs"))

    def test_servo_arm_stands_up_though_time_stands_still_until_the_first_command(
        self, activate: Activate, partner: Robot, tmp_path: Path
    ) -> None:
        bundle = write_bundle(tmp_path / "arm", {"safety.on_fault": "hold_measured"})
        activate(bundle=str(bundle), use_sim_time=True)
        partner.position = (0.3, -0.1)
        partner.shows_time_until(lambda: partner.ask("stand").success, "a pose to stand from", 0)
        partner.shows_time_until(partner.answers, "the first command", 0)
        assert partner.commands[0].mode == Mode.STAND
        assert list(partner.commands[0].position) == [0.3, -0.1]
        partner.tick()


class TestRealTime:
    """Without simulated time; counts and orders only."""

    @pytest.mark.parametrize("trigger", ["timer", "joint_states"])
    def test_node_ticks_without_any_input(
        self, activate: Activate, partner: Robot, trigger: str
    ) -> None:
        activate(trigger=trigger)
        partner.until(lambda: len(partner.commands) >= 5, "commands")
        assert all(is_damp(command) for command in partner.commands)
        sequence = [command.sequence for command in partner.commands]
        assert sequence == sorted(set(sequence))

    @pytest.mark.parametrize("loop", [NATIVE, PYTHON])
    def test_message_of_the_trigger_starts_a_tick(
        self, activate: Activate, partner: Robot, tmp_path: Path, loop: str
    ) -> None:
        # By itself a tick would come a second after the one before.
        bundle = write_bundle(tmp_path / "slow", {"rate_hz": 1})
        node = activate(
            bundle=str(bundle), trigger="joint_states", command_valid_for_s=2.0, realtime__loop=loop
        )
        assert node.loop.name == loop
        partner.until(lambda: partner.commands, "the first command")
        partner.send_joints()
        partner.until(lambda: len(partner.commands) > 1, "the command that answers")
        first_ns, second_ns = (ns(command.stamp) for command in partner.commands[:2])
        assert second_ns - first_ns < 900_000_000
