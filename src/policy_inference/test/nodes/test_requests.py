# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Requests over services and topics: who is heard, who is refused, and with which words."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from policy_msgs.msg import JointCommand
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool

from policy_inference.backends.onnx import OnnxBackend
from policy_inference.interfaces import Mode
from policy_inference.nodes.joint_policy_node import JointPolicyNode

from .bundles import write_external_bundle
from .harness import NAN, Robot, Stage, is_damp

pytestmark = pytest.mark.ros


def refusal(robot: Robot, request: str) -> str:
    """Ask for something that must be refused; return why."""
    response = robot.ask(request)
    assert not response.success
    return str(response.message)


class TestMotion:
    def test_stand_and_run_lead_to_the_policy(self, lockstep: Robot) -> None:
        lockstep.request("stand")
        assert lockstep.tick().mode == Mode.STAND
        lockstep.until(lambda: lockstep.tick().mode == Mode.READY, "READY")
        lockstep.request("run")
        assert lockstep.tick().mode == Mode.RUN

    def test_answer_names_the_mode(self, lockstep: Robot) -> None:
        assert lockstep.ask("stand").message == "STAND"
        assert lockstep.ask("damp").message == "DAMP"
        assert lockstep.runs().ask("estop").message == "DAMP"

    def test_damp_ends_a_motion_without_latching(self, lockstep: Robot) -> None:
        lockstep.runs().request("damp")
        assert is_damp(lockstep.tick())
        lockstep.request("stand")

    @pytest.mark.parametrize("request_name", ["stand", "run", "damp", "reset"])
    def test_inactive_node_says_that_it_is(
        self, stage: Stage, bundle: Path, request_name: str
    ) -> None:
        stage.node(bundle=str(bundle)).trigger_configure()
        assert refusal(stage.robot, request_name) == ("the node is not active; activate it first")


class TestRefusals:
    def test_run_before_stand(self, lockstep: Robot) -> None:
        assert "the mode is DAMP, expected READY; ask for stand first" in refusal(lockstep, "run")

    def test_node_of_the_same_name(self, lockstep: Robot) -> None:
        lockstep.tick()
        twin = Node("joint_policy_node", use_global_arguments=False)
        own = ("joint_policy_node", "/")
        lockstep.until(
            lambda: lockstep.node.get_node_names_and_namespaces().count(own) == 2,
            "two nodes of that name",
        )
        said = "2 nodes are named /joint_policy_node, expected this one alone"
        assert said in refusal(lockstep, "stand")
        twin.destroy_node()
        lockstep.until(lambda: lockstep.tick() and lockstep.ask("stand").success, "STAND")

    def test_inputs_that_never_came(
        self, active: Callable[..., JointPolicyNode], robot: Robot
    ) -> None:
        robot.silent = {"joint_states", "imu/data"}
        active(use_sim_time=True)
        robot.is_met()
        text = refusal(robot, "stand")
        assert "joint_states: no message" in text
        assert "imu/data: no message" in text

    def test_inputs_that_are_old(self, lockstep: Robot) -> None:
        lockstep.silent = {"imu/data"}
        for _ in range(5):
            lockstep.tick()
        assert "imu/data: 100 ms old" in refusal(lockstep, "stand")

    def test_message_that_does_not_fit_is_named(self, lockstep: Robot) -> None:
        lockstep.names = ("left", "wheel")
        for _ in range(4):
            lockstep.tick()
        assert "found missing: right" in refusal(lockstep, "stand")

    def test_backend_that_can_run_no_more(
        self, lockstep: Robot, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(OnnxBackend, "problem", lambda _: "onnx: its process has ended")
        assert "onnx: its process has ended" in refusal(lockstep, "stand")
        assert "onnx: its process has ended" in refusal(lockstep, "run")

    def test_tilt(self, lockstep: Robot) -> None:
        lockstep.quat_xyzw = (1.0, 0.0, 0.0, 0.0)
        lockstep.tick()
        assert "tilt 3.14 rad, limit 1.00 rad" in refusal(lockstep, "stand")

    def test_joints_outside_their_limits(self, lockstep: Robot) -> None:
        lockstep.position = (0.0, 1.7)
        for _ in range(30):
            lockstep.tick()
        assert "outside their position limits: right" in refusal(lockstep, "stand")

    def test_values_that_are_not_finite(self, lockstep: Robot) -> None:
        lockstep.velocity = (NAN, 0.0)
        lockstep.tick()
        assert "not finite: joint_vel" in refusal(lockstep, "stand")

    def test_run_far_from_the_stand_pose(self, lockstep: Robot) -> None:
        lockstep.request("stand")
        lockstep.until(lambda: lockstep.tick().mode == Mode.READY, "READY")
        for left in (0.4, 0.6, 0.8, 1.0):
            lockstep.position = (left, -0.2)
            lockstep.tick()
        assert "too far from the stand pose: left" in refusal(lockstep, "run")

    def test_the_command_has_no_subscriber(
        self, active: Callable[..., JointPolicyNode], robot: Robot
    ) -> None:
        active(use_sim_time=True)
        robot.is_met()
        robot.node.destroy_subscription(robot.listening)
        assert "/joint_command has no subscriber" in refusal(robot, "stand")

    @pytest.mark.parametrize("mode", [Mode.DAMP, Mode.READY])
    def test_two_publishers_on_one_input(
        self, active: Callable[..., JointPolicyNode], robot: Robot, mode: Mode
    ) -> None:
        node = active(use_sim_time=True)
        robot.is_met()
        robot.tick()
        if mode is Mode.READY:
            robot.request("stand")
            robot.until(lambda: robot.tick().mode == mode, "READY")
        robot.is_joined_by_publisher(node, JointState, "joint_states")
        robot.tick()
        text = refusal(robot, "run" if mode is Mode.READY else "stand")
        assert "joint_states: 2 publishers, expected 1" in text

    def test_another_commander(self, active: Callable[..., JointPolicyNode], robot: Robot) -> None:
        node = active(use_sim_time=True)
        robot.is_met()
        robot.is_joined_by_publisher(node, JointCommand, "joint_command")
        robot.tick()
        assert "2 publishers on /joint_command, expected this node alone" in refusal(robot, "stand")

    def test_all_reasons_to_refuse_are_said(
        self, active: Callable[..., JointPolicyNode], robot: Robot
    ) -> None:
        node = active(use_sim_time=True)
        robot.is_met()
        robot.is_joined_by_publisher(node, JointState, "joint_states")
        robot.silent = {"imu/data"}
        for _ in range(5):
            robot.tick()
        text = refusal(robot, "run")
        for piece in ("2 publishers", "the mode is DAMP", "imu/data: "):
            assert piece in text


class TestEstop:
    def press(self, robot: Robot, way: str) -> None:
        if way == "topic":
            robot.until(lambda: robot.estop.get_subscription_count() >= 1, "the e-stop's listener")
            robot.estop.publish(Bool(data=True))
        else:
            robot.request("estop")

    @pytest.mark.parametrize("way", ["topic", "service"])
    def test_damps_at_once_without_waiting_for_a_tick(self, lockstep: Robot, way: str) -> None:
        lockstep.runs()
        before = len(lockstep.commands)
        self.press(lockstep, way)
        # Simulated time stands still: no tick can have done it.
        lockstep.until(lambda: len(lockstep.commands) > before, "a command between ticks")
        assert is_damp(lockstep.commands[-1])
        assert is_damp(lockstep.tick())

    @pytest.mark.parametrize("way", ["topic", "service"])
    def test_stays_until_reset(self, lockstep: Robot, way: str) -> None:
        lockstep.runs()
        self.press(lockstep, way)
        lockstep.until(lambda: is_damp(lockstep.tick()), "damping")
        assert f"latched fault (estop: pressed by {way}); ask for reset first" in refusal(
            lockstep, "stand"
        )
        lockstep.request("reset")
        lockstep.request("stand")
        assert lockstep.tick().mode == Mode.STAND

    def test_command_beside_the_ticks_is_stamped_like_the_latest_tick(
        self, lockstep: Robot
    ) -> None:
        """Otherwise a simulator that waits for the answer to a tick might miss it."""
        answer = lockstep.runs().tick()
        before = len(lockstep.commands)
        self.press(lockstep, "topic")
        lockstep.until(lambda: len(lockstep.commands) > before, "a command between ticks")
        assert lockstep.commands[-1].stamp == answer.stamp
        assert lockstep.commands[-1].sequence == answer.sequence + 1

    def test_release_of_the_button_does_not_reset(self, lockstep: Robot) -> None:
        lockstep.runs()
        self.press(lockstep, "topic")
        lockstep.until(lambda: is_damp(lockstep.tick()), "damping")
        lockstep.estop.publish(Bool(data=False))
        assert "ask for reset first" in refusal(lockstep, "stand")

    def test_any_number_of_buttons_is_allowed(
        self, active: Callable[..., JointPolicyNode], robot: Robot
    ) -> None:
        node = active(use_sim_time=True)
        robot.is_met()
        robot.is_joined_by_publisher(node, Bool, "estop")
        robot.tick()
        robot.request("stand")

    @pytest.mark.parametrize("way", ["topic", "service"])
    def test_before_activation_it_holds_afterwards(
        self, stage: Stage, bundle: Path, way: str
    ) -> None:
        node, robot = stage.node(bundle=str(bundle), use_sim_time=True), stage.robot
        node.trigger_configure()
        self.press(robot, way)
        assert not robot.ask("run").success
        node.trigger_activate()
        robot.is_met()
        assert "stop" in refusal(robot, "stand")

    def test_outlasts_a_new_configuration(self, stage: Stage, bundle: Path) -> None:
        node, robot = stage.node(bundle=str(bundle), use_sim_time=True), stage.robot
        node.trigger_configure()
        self.press(robot, "service")
        for transition in (node.trigger_cleanup, node.trigger_configure, node.trigger_activate):
            transition()
        robot.is_met()
        assert "stop" in refusal(robot, "stand")
        robot.request("reset")
        robot.tick()
        robot.request("stand")

    @pytest.mark.parametrize(
        "profile",
        [
            QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT),
            QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL),
        ],
        ids=["best effort", "transient local"],
    )
    def test_button_of_any_quality_of_service_is_heard(
        self, lockstep: Robot, profile: QoSProfile
    ) -> None:
        button = lockstep.node.create_publisher(Bool, "estop", profile)
        lockstep.until(lambda: button.get_subscription_count() >= 1, "a listener")
        button.publish(Bool(data=True))
        lockstep.reported(lambda status: status.latched, "the e-stop")

    def test_button_that_was_pressed_before_the_node_came_is_heard(
        self, robot: Robot, active: Callable[..., JointPolicyNode]
    ) -> None:
        kept = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        robot.node.create_publisher(Bool, "estop", kept).publish(Bool(data=True))
        active(use_sim_time=True)
        robot.is_met()
        robot.reported(lambda status: status.latched, "the e-stop")

    def test_press_that_was_reset_is_not_heard_again_when_another_button_comes(
        self, lockstep: Robot
    ) -> None:
        kept = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        first = lockstep.node.create_publisher(Bool, "estop", kept)
        lockstep.until(lambda: first.get_subscription_count() == 3, "all listeners")
        first.publish(Bool(data=True))
        lockstep.reported(lambda status: status.latched, "the e-stop")
        lockstep.request("reset")
        lockstep.runs()
        second = lockstep.node.create_publisher(Bool, "estop", kept)
        lockstep.until(lambda: second.get_subscription_count() == 3, "all listeners")
        assert [lockstep.tick().mode for _ in range(5)] == [Mode.RUN] * 5

    @pytest.mark.parametrize("spoilt", [b"", b"\x00\x01\x00\x00", b"\x00\x01\x00"])
    def test_message_that_cannot_be_read_presses(self, lockstep: Robot, spoilt: bytes) -> None:
        lockstep.runs()
        lockstep.until(lambda: lockstep.estop.get_subscription_count() >= 2, "the listeners")
        lockstep.estop.publish(spoilt)
        lockstep.reported(lambda status: status.latched, "the e-stop")
        assert "it counts as pressed" in lockstep.hears("estop: expected a std_msgs/msg/Bool")

    def test_plain_button_is_not_warned_of_quality_of_service(self, lockstep: Robot) -> None:
        lockstep.until(lambda: lockstep.estop.get_subscription_count() == 2, "the listeners")
        lockstep.runs()
        assert "incompatible QoS" not in lockstep.log

    def test_damps_while_a_tick_hangs_in_the_backend(
        self, lockstep: Robot, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hangs, goes_on = threading.Event(), threading.Event()

        def hang(_: OnnxBackend) -> None:
            hangs.set()
            goes_on.wait()

        lockstep.runs()
        monkeypatch.setattr(OnnxBackend, "run", hang)
        before = len(lockstep.commands)
        lockstep.show_time()
        lockstep.until(hangs.is_set, "a tick that hangs")
        try:
            self.press(lockstep, "topic")
            lockstep.until(lambda: len(lockstep.commands) > before, "a command")
            assert is_damp(lockstep.commands[-1])
            assert "a tick has not returned; the backend hangs" in refusal(lockstep, "damp")
        finally:
            goes_on.set()
        lockstep.until(lambda: lockstep.answers(), "the end of the tick")
        assert is_damp(lockstep.commands[-1])


def test_policy_without_imu_and_command_needs_neither(
    active: Callable[..., JointPolicyNode], robot: Robot, tmp_path: Path
) -> None:
    active(bundle=str(write_external_bundle(tmp_path / "b")), use_sim_time=True)
    robot.is_met()
    text = refusal(robot, "stand")
    assert "scan: no message" in text
    assert "imu" not in text
