# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Requests over services and topics: who is heard, who is refused, and with which words."""

from pathlib import Path

import pytest
from geometry_msgs.msg import Twist, TwistStamped, Vector3
from policy_msgs.msg import JointCommand
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Empty

from policy_core.interfaces import Mode
from policy_inference.backends.onnx import OnnxBackend
from policy_inference.nodes.joint_policy_node import JointPolicyNode
from testkit.publisher_elsewhere import is_known, publisher_elsewhere
from testkit.ros_time import stamp
from testkit.wording import check_wording

from .harness import NAN, Activate, Robot, Stage, counters, is_damp, runs_hang, status_of_input

pytestmark = pytest.mark.ros


class TestRefusals:
    def test_node_of_the_same_name(self, lockstep: Robot) -> None:
        lockstep.tick()
        twin = Node("joint_policy_node", use_global_arguments=False)
        own = ("joint_policy_node", "/")
        lockstep.until(
            lambda: lockstep.node.get_node_names_and_namespaces().count(own) == 2,
            "two nodes of that name",
        )
        lockstep.refusal("stand")
        twin.destroy_node()
        lockstep.until(lambda: lockstep.tick() and lockstep.ask("stand").success, "STAND")

    def test_backend_that_can_run_no_more(
        self, lockstep: Robot, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(OnnxBackend, "problem", lambda _: "onnx: its process has ended")
        lockstep.refusal("stand")
        lockstep.refusal("run")

    def test_the_command_has_no_subscriber(self, lockstep: Robot) -> None:
        lockstep.node.destroy_subscription(lockstep.listening)
        lockstep.refusal("stand")

    @pytest.mark.parametrize("mode", [Mode.DAMP, Mode.READY], ids=lambda mode: mode.name)
    def test_two_publishers_on_one_input(
        self, lockstep_node: JointPolicyNode, lockstep: Robot, mode: Mode
    ) -> None:
        lockstep.tick()
        if mode is Mode.READY:
            lockstep.stands()
        lockstep.is_joined_by_publisher(lockstep_node, JointState, "joint_states")
        lockstep.tick()
        lockstep.refusal("run" if mode is Mode.READY else "stand")

    def test_another_commander(self, lockstep_node: JointPolicyNode, lockstep: Robot) -> None:
        lockstep.is_joined_by_publisher(lockstep_node, JointCommand, "joint_command")
        lockstep.tick()
        lockstep.refusal("stand")


class TestEstop:
    def press(self, robot: Robot, way: str) -> None:
        if way == "topic":
            robot.until(lambda: robot.estop.get_subscription_count() >= 1, "the e-stop's listener")
            robot.estop.publish(Bool(data=True))
        else:
            robot.request("estop")

    @pytest.mark.parametrize("way", ["topic", "service"])
    def test_damps_at_once_and_stays_until_reset_also_when_the_button_is_released(
        self, lockstep: Robot, way: str
    ) -> None:
        answer = lockstep.runs().tick()
        before = len(lockstep.commands)
        self.press(lockstep, way)
        # Simulated time stands still: no tick can have done it.
        lockstep.until(lambda: len(lockstep.commands) > before, "a command between ticks")
        assert is_damp(lockstep.commands[-1])
        # Otherwise a simulator that waits for the answer to a tick might miss it.
        assert lockstep.commands[-1].stamp == answer.stamp
        assert lockstep.commands[-1].sequence == answer.sequence + 1
        assert is_damp(lockstep.tick())
        lockstep.estop.publish(Bool(data=False))
        lockstep.refusal("stand")
        lockstep.request("reset")
        lockstep.request("stand")
        assert lockstep.tick().mode == Mode.STAND
        assert "incompatible QoS" not in lockstep.log

    @pytest.mark.parametrize(
        ("way", "transitions"),
        [("topic", ["activate"]), ("service", ["cleanup", "configure", "activate"])],
    )
    def test_before_activation_it_holds_afterwards(
        self, node_stage: Stage, bundle_in_use: Path, way: str, transitions: list[str]
    ) -> None:
        node = node_stage.node(bundle=str(bundle_in_use), use_sim_time=True)
        robot = node_stage.robot
        node.trigger_configure()
        self.press(robot, way)
        assert not robot.ask("run").success
        for transition in transitions:
            getattr(node, f"trigger_{transition}")()
        robot.is_met()
        robot.refusal("stand")
        robot.request("reset")
        robot.tick()
        robot.request("stand")

    def test_button_of_any_quality_of_service_is_heard(self, lockstep: Robot) -> None:
        best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        button = lockstep.node.create_publisher(Bool, "estop", best_effort)
        lockstep.until(lambda: button.get_subscription_count() >= 1, "a listener")
        button.publish(Bool(data=True))
        lockstep.reported(lambda status: status.latched, "the e-stop")

    def test_button_that_was_pressed_before_the_node_came_is_heard(
        self, partner: Robot, activate: Activate
    ) -> None:
        kept = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        partner.node.create_publisher(Bool, "estop", kept).publish(Bool(data=True))
        activate(use_sim_time=True)
        partner.is_met()
        partner.reported(lambda status: status.latched, "the e-stop")

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
        assert lockstep.modes(5) == [Mode.RUN] * 5
        lockstep.request("damp")
        lockstep.tick()
        lockstep.request("stand")  # with any number of buttons

    def test_message_that_cannot_be_read_presses(self, lockstep: Robot) -> None:
        lockstep.runs()
        lockstep.until(lambda: lockstep.estop.get_subscription_count() >= 2, "the listeners")
        lockstep.estop.publish(b"")
        lockstep.reported(lambda status: status.latched, "the e-stop")
        check_wording(lockstep.hears("estop: expected"))

    def test_publisher_of_another_type_is_named_and_no_motion_is_granted(
        self, lockstep_node: JointPolicyNode, lockstep: Robot
    ) -> None:
        with publisher_elsewhere(Empty, "estop"):
            lockstep.until(lambda: is_known(lockstep_node, "estop"), "the button")
            lockstep.tick()
            lockstep.refusal("stand")
            assert "std_msgs/msg/Empty from /elsewhere" in lockstep.newest().reason

    @pytest.mark.usefixtures("python_models")
    def test_damps_while_a_tick_hangs_in_the_backend(
        self, lockstep: Robot, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lockstep.runs()
        before = len(lockstep.commands)
        with runs_hang(monkeypatch) as hangs:
            lockstep.show_time()
            lockstep.until(hangs.is_set, "a tick that hangs")
            self.press(lockstep, "topic")
            lockstep.until(lambda: len(lockstep.commands) > before, "a command")
            assert is_damp(lockstep.commands[-1])
            lockstep.refusal("damp")
        lockstep.until(lambda: lockstep.answers(), "the end of the tick")
        assert is_damp(lockstep.commands[-1])


def position_of(robot: Robot) -> list[float]:
    return list(robot.tick().position)


def sends_speed(robot: Robot, vx: float) -> None:
    robot.until(lambda: robot.cmd_vel.get_subscription_count() == 1, "the command's listener")
    robot.cmd_vel.publish(Twist(linear=Vector3(x=vx)))


def test_stamped_command_reaches_the_policy_until_it_is_repeated_or_old(
    activate: Activate, partner: Robot
) -> None:
    partner.node.destroy_publisher(partner.cmd_vel)
    stamped_command = partner.node.create_publisher(TwistStamped, "cmd_vel", 10)
    activate(use_sim_time=True, stamped_command=True)
    still = position_of(partner.runs())
    partner.until(lambda: stamped_command.get_subscription_count() == 1, "the command's listener")
    message = TwistStamped(twist=Twist(linear=Vector3(x=0.7)))
    message.header.stamp = stamp(partner.now_ns)

    def again() -> list[float]:
        stamped_command.publish(message)
        return position_of(partner)

    partner.until(lambda: again() != pytest.approx(still, abs=1e-3), "another target")
    partner.until(
        lambda: again() and counters(partner.statuses[-1])["stale_command"] == 1,
        "the command to fade",
    )


def test_command_of_another_type_is_named_with_the_parameter(
    lockstep_node: JointPolicyNode, lockstep: Robot
) -> None:
    assert status_of_input(lockstep.newest(), "cmd_vel").ok
    with publisher_elsewhere(TwistStamped, "cmd_vel"):
        lockstep.until(lambda: lockstep_node.count_publishers("cmd_vel") == 2, "both publishers")
        lockstep.until(lambda: is_known(lockstep_node, "cmd_vel"), "the publisher")
        beside = status_of_input(lockstep.newest(), "cmd_vel")
        assert (beside.publishers, beside.ok) == (1, False)
        lockstep.node.destroy_publisher(lockstep.cmd_vel)
        lockstep.until(lambda: lockstep_node.count_publishers("cmd_vel") == 1, "it alone")
        assert not status_of_input(lockstep.newest(), "cmd_vel").ok
        check_wording(status_of_input(lockstep.newest(), "cmd_vel").text)
        lockstep.runs()


@pytest.mark.parametrize(
    "message", [Twist(linear=Vector3(x=NAN)), serialize_message(Twist())[:-1]], ids=["NaN", "cut"]
)
def test_command_that_makes_no_sense_is_ignored_and_counted(
    lockstep: Robot, message: Twist | bytes
) -> None:
    sends_speed(lockstep.runs(), 0.7)
    lockstep.tick()
    lockstep.cmd_vel.publish(message)
    status = lockstep.reported(
        lambda s: lockstep.tick() and counters(s)["bad_command"] == 1, "the counter"
    )
    assert status.mode == Mode.RUN
    check_wording(status_of_input(status, "cmd_vel").text)
