# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The operator's node over topics and services."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from geometry_msgs.msg import Twist
from policy_msgs.msg import InputStatus, JointCommand, RobotStatus, SetStatus
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import BatteryState, Joy
from std_msgs.msg import Float32MultiArray

from robot_operator.cockpit import RobotCondition
from robot_operator.nodes.operator_node import OperatorNode
from testkit.wording import check_wording, lines_with

from .robot import DEADMAN, Robot

pytestmark = pytest.mark.ros
Make = Callable[..., OperatorNode]
LITE3_WALK = Path(__file__).parents[4] / "config" / "bundles" / "lite3_walk"
_LAST_TERM = "      - {term: last_action}"
_HEIGHT = f"""{_LAST_TERM}
      - term: external
        topic: height
        size: 1
        commanded: [{{name: height, unit: m, min: 0.2, max: 0.4, default: 0.3}}]"""
STAND, ESTOP, DAMP, RUN, SWITCH, RELEASE, TAKE, RESET = 0, 1, 2, 3, 5, 6, 7, 8


def news(node: OperatorNode) -> str:
    return "\n".join(node.view().news)


def screen_lines(node: OperatorNode) -> dict[str, str]:
    return dict(node.view().lines)


def shows(robot: Robot, node: OperatorNode, headline: str) -> None:
    robot.until(lambda: node.view().headline == headline, headline)


def meets_driver(robot: Robot, node: OperatorNode) -> None:
    robot.until(lambda: "driver" in news(node), "the driver")


def meets_joystick(robot: Robot, node: OperatorNode) -> None:
    robot.holds()
    robot.until(lambda: "joystick: found" in news(node), "the joystick")


def let_it_walk(robot: Robot, node: OperatorNode) -> None:
    """Let the policy run, and the joystick drive."""
    robot.policy.mode = JointCommand.MODE_RUN
    robot.holds()
    robot.until(
        lambda: screen_lines(node).get("joystick", "").startswith("connected"), "the joystick"
    )
    robot.holds(DEADMAN)
    robot.until(lambda: screen_lines(node)["joystick"] == "dead-man's switch held", "the switch")
    robot.holds(DEADMAN, vx=1.0)
    robot.until(lambda: robot.velocities and robot.velocities[-1][0] == 0.5, "full speed")


def test_keys_command_the_values_of_the_running_bundle(
    operator: Make, met_robot: Robot, tmp_path: Path
) -> None:
    content = (LITE3_WALK / "policy.yaml").read_text(encoding="utf-8").partition("nominal:")[0]
    content = content.replace(_LAST_TERM, _HEIGHT).replace("shape: [1, 45]", "shape: [1, 46]")
    (tmp_path / "policy.yaml").write_text(content, encoding="utf-8")
    heard = list[list[float]]()
    met_robot.node.create_subscription(
        Float32MultiArray, "height", lambda m: heard.append([*m.data]), QoSProfile(depth=10)
    )
    node, policy = operator(), met_robot.policy
    policy.bundle, policy.bundle_sha256 = str(tmp_path), sha256(content.encode()).hexdigest()
    met_robot.until(lambda: "height" in screen_lines(node), "the slider")
    node.press("pageup")
    assert "0.3 m" in screen_lines(node)["height"]  # a damped robot takes no values
    policy.mode = JointCommand.MODE_RUN
    met_robot.until(lambda: met_robot.velocities, "a velocity")
    node.press("pageup")
    met_robot.until(lambda: heard and heard[-1] == pytest.approx([0.31]), "the value")
    policy.mode, policy.bundle_sha256 = JointCommand.MODE_DAMP, "of another bundle"
    met_robot.until(lambda: "height" not in screen_lines(node), "no slider")


def test_robot_is_taken_stood_up_walked_and_given_back_by_joystick_alone(
    operator: Make, met_robot: Robot
) -> None:
    met_robot.has_driver()
    node = operator()
    meets_joystick(met_robot, node)
    meets_driver(met_robot, node)
    for button, asked, headline in (
        (TAKE, "driver: take_control", "DAMP | robot: FOLLOWING"),
        (STAND, "stand", "READY | robot: FOLLOWING"),
        (RUN, "run", "RUN | robot: FOLLOWING"),
    ):
        met_robot.holds(DEADMAN, button)
        met_robot.is_asked(asked)
        met_robot.holds(DEADMAN)
        shows(met_robot, node, headline)
    let_it_walk(met_robot, node)
    met_robot.holds(vx=1.0)
    met_robot.until(lambda: met_robot.velocities[-1] == (0.0, 0.0, 0.0), "zero velocity")
    met_robot.holds(RELEASE)
    met_robot.is_asked("driver: release_control")


def test_button_asks_a_policy_set_for_its_next_state(operator: Make, met_robot: Robot) -> None:
    met_robot.policy.policy_set = [SetStatus(state="walk", states=["walk", "crouch"])]
    node = operator()
    let_it_walk(met_robot, node)
    for state in ("crouch", "walk"):
        met_robot.holds(DEADMAN, SWITCH)
        met_robot.is_asked(f"switch {state}")
        met_robot.holds(DEADMAN)
        met_robot.until(
            lambda: f"{met_robot.policy.policy_set[0].state} has been requested" in news(node),
            state,
        )
    met_robot.refusal = "the switch to walk has not ended"
    met_robot.holds(DEADMAN, SWITCH)
    met_robot.is_asked("switch crouch")
    met_robot.until(
        lambda: met_robot.refusal in screen_lines(node).get("refused", ""), "the refusal"
    )
    met_robot.holds()
    met_robot.until(lambda: "held" not in screen_lines(node)["joystick"], "the release")
    met_robot.holds(SWITCH)
    met_robot.until(lambda: met_robot.refusal not in screen_lines(node)["refused"], "another")
    check_wording(screen_lines(node)["refused"])
    assert met_robot.asked == []


def test_keys_step_the_dial_and_more_needs_enter(operator: Make, met_robot: Robot) -> None:
    node = operator()
    let_it_walk(met_robot, node)
    for share in ("0.9", "0.8"):
        node.press("left_square_bracket")
        met_robot.is_asked(f"authority {share}")
    met_robot.until(lambda: "0.80" in screen_lines(node)["authority"], "the share on the screen")
    node.press("right_square_bracket")
    check_wording(screen_lines(node)["confirm"])
    assert met_robot.asked == []
    met_robot.types(node.press, "right_square_bracket", lambda: met_robot.asked)
    met_robot.is_asked("authority 0.9")


def test_keys_let_a_person_take_over_and_hand_back_after_enter(
    operator: Make, met_robot: Robot
) -> None:
    node = operator()
    let_it_walk(met_robot, node)
    for key, request in (("o", "take_over"), ("p", "hand_back")):
        node.press(key)
        check_wording(screen_lines(node)["confirm"])
        assert met_robot.asked == []
        met_robot.types(node.press, key, lambda: met_robot.asked)
        met_robot.is_asked(request)


def test_velocities_are_published_while_the_robot_stands_and_differ_from_zero_while_it_runs(
    operator: Make, met_robot: Robot
) -> None:
    node = operator()
    meets_joystick(met_robot, node)
    met_robot.holds(DEADMAN, vx=1.0)
    met_robot.until(
        lambda: screen_lines(node)["joystick"] == "connected; center the sticks first", "it"
    )
    assert met_robot.velocities == []
    met_robot.policy.mode = JointCommand.MODE_READY
    met_robot.until(lambda: len(met_robot.velocities) > 2, "velocities")
    assert {*met_robot.velocities} == {(0.0, 0.0, 0.0)}
    let_it_walk(met_robot, node)
    met_robot.policy.mode = JointCommand.MODE_DAMP
    met_robot.until(lambda: met_robot.velocities[-1] == (0.0, 0.0, 0.0), "zero at the end")
    heard = len(met_robot.velocities)
    met_robot.policy.reason = "lies"
    met_robot.until(lambda: "DAMP: lies" in news(node), "the next status")
    assert len(met_robot.velocities) == heard


def test_estop_goes_out_as_service_and_topic_and_reset_ends_both(
    operator: Make, met_robot: Robot
) -> None:
    node = operator()
    let_it_walk(met_robot, node)
    node.press("e")
    met_robot.is_asked("estop")
    met_robot.until(lambda: met_robot.estops == [True], "the e-stop's topic")
    met_robot.until(lambda: node.view().condition is RobotCondition.FAULT, "the fault")
    assert screen_lines(node)["next"] == "reset (c)"
    node.press("c")
    met_robot.is_asked("reset")
    met_robot.until(lambda: met_robot.estops == [True, False], "the end of the e-stop's topic")


@pytest.mark.parametrize(("key", "request_"), [("d", "damp"), ("c", "reset")])
def test_damp_and_reset_are_asked_of_policy_and_driver(
    operator: Make, met_robot: Robot, key: str, request_: str
) -> None:
    met_robot.has_driver()
    node = operator()
    meets_driver(met_robot, node)
    node.press(key)
    met_robot.until(lambda: len(met_robot.asked) == 2, "both")
    assert sorted(met_robot.asked) == sorted([request_, f"driver: {request_}"])


def test_robot_that_does_not_follow_is_shown_so_and_neither_stood_up_nor_driven(
    operator: Make, met_robot: Robot
) -> None:
    met_robot.has_driver()
    assert met_robot.driver is not None
    node = operator()
    meets_driver(met_robot, node)
    met_robot.types(
        node.press, "s", lambda: "stand: refused" in screen_lines(node).get("refused", "")
    )
    assert met_robot.asked == []
    met_robot.driver.state = RobotStatus.FOLLOWING
    let_it_walk(met_robot, node)
    met_robot.driver.state, met_robot.driver.reason = (RobotStatus.DAMPING, "the command expired")
    met_robot.until(lambda: met_robot.velocities[-1] == (0.0, 0.0, 0.0), "zero velocity")
    view = node.view()
    check_wording(view.headline)
    assert view.condition is RobotCondition.AT_REST
    assert screen_lines(node)["next"] == "damp (d)"


def test_refusal_is_shown_with_its_reason(operator: Make, met_robot: Robot) -> None:
    node = operator()
    met_robot.refusal = "STAND refused: imu/data: no message yet"
    met_robot.types(node.press, "s", lambda: f"stand: refused: {met_robot.refusal}" in news(node))
    assert screen_lines(node)["refused"] == f"stand: refused: {met_robot.refusal}"
    node.press("d")
    assert "refused" not in screen_lines(node)


def test_without_a_driver_control_cannot_be_taken_and_the_screen_says_so(
    operator: Make, met_robot: Robot
) -> None:
    node = operator()
    check_wording(screen_lines(node)["driver"])
    met_robot.types(node.press, "t", lambda: "take_control" in news(node))
    check_wording(lines_with(news(node), "take_control")[0])


def test_of_two_joysticks_none_drives(operator: Make, met_robot: Robot) -> None:
    node = operator()
    let_it_walk(met_robot, node)
    other = met_robot.node.create_publisher(Joy, "joy", QoSProfile(depth=1))
    met_robot.until(lambda: met_robot.velocities[-1] == (0.0, 0.0, 0.0), "zero velocity")
    check_wording(screen_lines(node)["joystick"])
    met_robot.node.destroy_publisher(other)


@pytest.mark.slow
def test_policy_that_falls_silent_is_sent_no_velocities(operator: Make, met_robot: Robot) -> None:
    node = operator()
    let_it_walk(met_robot, node)
    met_robot.silent = True
    met_robot.until(lambda: "policy: the status has stopped" in news(node), "the policy's silence")
    met_robot.until(lambda: met_robot.velocities[-1] == (0.0, 0.0, 0.0), "zero at the end")
    check_wording(node.view().headline)


def test_a_node_that_commands_velocities_already_is_named_and_refused(
    unconfigured: Make, met_robot: Robot, capfd: pytest.CaptureFixture[str]
) -> None:
    met_robot.node.create_publisher(Twist, "cmd_vel", QoSProfile(depth=1))
    node = unconfigured()
    assert node.trigger_configure() is TransitionCallbackReturn.FAILURE
    check_wording(*lines_with(capfd.readouterr().err, "/operator_node"))


def test_a_node_that_begins_to_command_velocities_is_named_and_run_refused(
    operator: Make, met_robot: Robot
) -> None:
    node = operator()
    other = Node("teleop", use_global_arguments=False)
    publisher = other.create_publisher(Twist, "cmd_vel", QoSProfile(depth=1))
    met_robot.until(
        lambda: "other nodes publish velocity commands too: /teleop" in news(node), "the other one"
    )
    met_robot.types(node.press, "w", lambda: "run: " in news(node))
    check_wording(lines_with(news(node), "run: refused")[0])
    other.destroy_publisher(publisher)
    other.destroy_node()
    met_robot.until(
        lambda: "this node is the only publisher again" in news(node), "the other one's end"
    )
    met_robot.types(node.press, "w", lambda: met_robot.asked)
    met_robot.is_asked("run")


def test_deactivation_is_a_goodbye_with_velocity_zero_and_damp(
    operator: Make, met_robot: Robot
) -> None:
    node = operator()
    let_it_walk(met_robot, node)
    assert node.trigger_deactivate() is TransitionCallbackReturn.SUCCESS
    met_robot.is_asked("damp")
    met_robot.until(lambda: met_robot.velocities[-1] == (0.0, 0.0, 0.0), "zero velocity")
    met_robot.until(lambda: node.answering == 0, "the answer")
    node.press("d")
    assert met_robot.asked == []


def test_goodbye_to_a_robot_that_folds_ends_that(operator: Make, met_robot: Robot) -> None:
    met_robot.has_driver()
    node = operator()
    assert met_robot.driver is not None
    met_robot.driver.state = RobotStatus.TAKING
    met_robot.until(lambda: "TAKING" in screen_lines(node).get("driver", ""), "the fold")

    node.trigger_deactivate()

    met_robot.until(lambda: "driver: damp" in met_robot.asked, "the driver to be asked")


def test_screen_shows_reasons_to_refuse_the_next_step_and_the_state_of_the_robot(
    operator: Make, met_robot: Robot
) -> None:
    met_robot.has_driver()
    node = operator()
    assert met_robot.driver is not None
    met_robot.driver.obstacles = ["the legs are not folded", "the robot moves"]
    met_robot.driver.joint_names = ["FL_Knee", "HR_Knee", "HL_Knee"]
    met_robot.driver.temperature_c = [41.0, 44.0, float("nan")]
    met_robot.driver.largest_gap_s = 0.0021
    met_robot.battery.publish(BatteryState(percentage=0.82, voltage=25.3))
    met_robot.until(
        lambda: "battery" in screen_lines(node) and "hottest" in screen_lines(node), "all of it"
    )
    shown = screen_lines(node)
    check_wording(shown["next"])
    assert {"HR_Knee,", "44"} <= {*shown["hottest"].split()}
    assert {"82", "25.3"} <= {*shown["battery"].split()}
    assert "2.1 ms" in shown["link"]
    check_wording(shown["link"])
    check_wording(shown["people"])
    met_robot.driver.state = RobotStatus.FOLLOWING
    met_robot.policy.inputs = [InputStatus(name="imu/data", text="imu/data: 400 ms old")]
    met_robot.until(
        lambda: screen_lines(node)["next"] == "stand (s, Enter): imu/data: 400 ms old", "stand"
    )
    check_wording(node.view().headline)
    check_wording(screen_lines(node)["people"])
