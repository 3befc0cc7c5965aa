# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The operator's node over topics and services."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from geometry_msgs.msg import Twist
from policy_msgs.msg import InputStatus, JointCommand, RobotStatus, SetStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import BatteryState, Joy

from robot_operator.cockpit import Tone
from robot_operator.nodes.operator_node import OperatorNode

from .robot import DEADMAN, Robot

pytestmark = pytest.mark.ros
Make = Callable[..., OperatorNode]
STAND, ESTOP, DAMP, RUN, SWITCH, RELEASE, TAKE, RESET = 0, 1, 2, 3, 5, 6, 7, 8


def news(node: OperatorNode) -> str:
    return "\n".join(node.view().news)


def lines(node: OperatorNode) -> dict[str, str]:
    return dict(node.view().lines)


def shows(robot: Robot, node: OperatorNode, headline: str) -> None:
    robot.until(lambda: node.view().headline == headline, headline)


def walks(robot: Robot, node: OperatorNode) -> None:
    """Let the policy run, and the joystick drive."""
    robot.policy.mode = JointCommand.MODE_RUN
    robot.holds()
    robot.until(lambda: lines(node).get("joystick", "").startswith("there"), "the joystick")
    robot.holds(DEADMAN)
    robot.until(lambda: lines(node)["joystick"] == "dead-man's switch held", "the switch")
    robot.holds(DEADMAN, vx=1.0)
    robot.until(lambda: robot.velocities and robot.velocities[-1][0] == 0.5, "full speed")


def test_robot_is_taken_stood_up_walked_and_given_back_by_joystick_alone(
    active: Make, robot: Robot
) -> None:
    robot.has_driver()
    node = active()
    robot.holds()
    robot.until(lambda: "joystick: found" in news(node), "the joystick")
    robot.until(lambda: "driver" in news(node), "the driver")
    for button, asked, headline in (
        (TAKE, "driver: take_control", "DAMP | robot: FOLLOWING"),
        (STAND, "stand", "READY | robot: FOLLOWING"),
        (RUN, "run", "RUN | robot: FOLLOWING"),
    ):
        robot.holds(DEADMAN, button)
        robot.is_asked(asked)
        robot.holds(DEADMAN)
        shows(robot, node, headline)
    walks(robot, node)
    robot.holds(vx=1.0)
    robot.until(lambda: robot.velocities[-1] == (0.0, 0.0, 0.0), "zero velocity")
    robot.holds(RELEASE)
    robot.is_asked("driver: release_control")


def test_button_asks_a_policy_set_for_its_next_state(active: Make, robot: Robot) -> None:
    robot.policy.policy_set = [SetStatus(state="walk", states=["walk", "crouch"])]
    node = active()
    walks(robot, node)
    for state in ("crouch", "walk"):
        robot.holds(DEADMAN, SWITCH)
        robot.is_asked(f"switch {state}")
        robot.holds(DEADMAN)
        robot.until(lambda: f"{robot.policy.policy_set[0].state} is asked for" in news(node), state)
    robot.refusal = "the switch to walk has not ended"
    robot.holds(DEADMAN, SWITCH)
    robot.is_asked("switch crouch")
    robot.until(lambda: robot.refusal in lines(node).get("refused", ""), "the refusal")
    robot.holds()
    robot.until(lambda: lines(node)["joystick"] != "dead-man's switch held", "the release")
    robot.holds(SWITCH)
    robot.until(lambda: "hold the dead-man's switch as well" in lines(node)["refused"], "refusal")
    assert robot.asked == []


def test_keys_let_a_person_take_over_and_hand_back_after_enter(active: Make, robot: Robot) -> None:
    node = active()
    walks(robot, node)
    for key, request in (("o", "take_over"), ("p", "hand_back")):
        node.press(key)
        assert lines(node)["confirm"] == f"{request.replace('_', ' ')}: Enter"
        assert robot.asked == []
        robot.types(node.press, key, lambda: robot.asked)
        robot.is_asked(request)


def test_single_policy_has_no_state_to_switch_to(active: Make, robot: Robot) -> None:
    node = active()
    walks(robot, node)
    robot.holds(DEADMAN, SWITCH)
    robot.until(lambda: "expected a policy set" in lines(node).get("refused", ""), "the refusal")
    assert robot.asked == []


def test_velocities_are_published_while_the_robot_stands_and_differ_from_zero_while_it_runs(
    active: Make, robot: Robot
) -> None:
    node = active()
    robot.holds()
    robot.until(lambda: "joystick: found" in news(node), "the joystick")
    robot.holds(DEADMAN, vx=1.0)
    robot.until(lambda: lines(node)["joystick"] == "there; sticks to the middle first", "it")
    assert robot.velocities == []
    robot.policy.mode = JointCommand.MODE_READY
    robot.until(lambda: len(robot.velocities) > 2, "velocities")
    assert {*robot.velocities} == {(0.0, 0.0, 0.0)}
    walks(robot, node)
    robot.policy.mode = JointCommand.MODE_DAMP
    robot.until(lambda: robot.velocities[-1] == (0.0, 0.0, 0.0), "zero at the end")
    heard = len(robot.velocities)
    robot.policy.reason = "lies"
    robot.until(lambda: "DAMP: lies" in news(node), "the next status")
    assert len(robot.velocities) == heard


def test_estop_goes_out_as_service_and_topic_and_reset_ends_both(
    active: Make, robot: Robot
) -> None:
    node = active()
    walks(robot, node)
    node.press("e")
    robot.is_asked("estop")
    robot.until(lambda: robot.estops == [True], "the e-stop's topic")
    robot.until(lambda: node.view().tone is Tone.FAULT, "the fault")
    assert lines(node)["next"] == "reset (c)"
    node.press("c")
    robot.is_asked("reset")
    robot.until(lambda: robot.estops == [True, False], "the end of the e-stop's topic")


def test_damp_is_asked_of_policy_and_driver(active: Make, robot: Robot) -> None:
    robot.has_driver()
    node = active()
    robot.until(lambda: "driver" in news(node), "the driver")
    node.press("d")
    robot.until(lambda: len(robot.asked) == 2, "both")
    assert sorted(robot.asked) == ["damp", "driver: damp"]


def test_reset_is_asked_of_policy_and_driver(active: Make, robot: Robot) -> None:
    robot.has_driver()
    node = active()
    robot.until(lambda: "driver" in news(node), "the driver")
    node.press("c")
    robot.until(lambda: len(robot.asked) == 2, "both")
    assert sorted(robot.asked) == ["driver: reset", "reset"]


def test_wish_to_move_is_shown_until_it_is_confirmed(active: Make, robot: Robot) -> None:
    node = active()
    node.press("S")
    assert lines(node)["confirm"] == "stand: Enter"
    assert robot.asked == []
    robot.types(node.press, "s", lambda: robot.asked)
    robot.is_asked("stand")
    assert "confirm" not in lines(node)


def test_keys_that_must_be_let_go_are_shown_so(active: Make, robot: Robot) -> None:
    node = active()
    assert lines(node)["velocity"].endswith("keys: 50 %")
    node.press("space")
    assert lines(node)["velocity"].endswith("keys: let them go first")


def test_robot_that_does_not_follow_is_shown_so_and_neither_stood_up_nor_driven(
    active: Make, robot: Robot
) -> None:
    robot.has_driver()
    assert robot.driver is not None
    node = active()
    robot.until(lambda: "driver" in news(node), "the driver")
    robot.types(node.press, "s", lambda: "stand: refused" in lines(node).get("refused", ""))
    assert robot.asked == []
    robot.driver.state = RobotStatus.FOLLOWING
    walks(robot, node)
    robot.driver.state, robot.driver.reason = RobotStatus.DAMPING, "the command expired"
    robot.until(lambda: robot.velocities[-1] == (0.0, 0.0, 0.0), "zero velocity")
    view = node.view()
    assert view.headline == "RUN, NOT FOLLOWED | robot: DAMPING"
    assert view.tone is Tone.AT_REST
    assert lines(node)["next"] == "damp (d)"


def test_driver_that_falls_silent_is_shown_so(active: Make, robot: Robot) -> None:
    robot.has_driver()
    node = active()
    robot.until(lambda: "driver" in news(node), "the driver")
    robot.driver = None
    gone = "no status of the driver comes any more"
    robot.until(lambda: lines(node)["next"] == gone, "the driver's silence")
    assert node.view().headline == "DAMP | robot: NO DRIVER"
    assert node.view().tone is Tone.UNKNOWN


def test_button_without_the_deadman_is_refused_with_the_remedy(active: Make, robot: Robot) -> None:
    node = active()
    robot.holds()
    robot.until(lambda: "joystick: found" in news(node), "the joystick")
    robot.holds(STAND)
    robot.until(lambda: "stand: refused: hold the dead-man's switch" in news(node), "the refusal")
    assert robot.asked == []


def test_refusal_is_shown_with_its_reason(active: Make, robot: Robot) -> None:
    node = active()
    robot.refusal = "STAND refused: imu/data: no message yet"
    robot.types(node.press, "s", lambda: f"stand: refused: {robot.refusal}" in news(node))
    assert lines(node)["refused"] == f"stand: refused: {robot.refusal}"
    node.press("d")
    assert "refused" not in lines(node)


def test_without_a_driver_control_cannot_be_taken_and_the_screen_says_so(
    active: Make, robot: Robot
) -> None:
    node = active()
    assert lines(node)["driver"] == "none: nothing to take control of"
    robot.types(node.press, "t", lambda: "take_control" in news(node))
    assert "take_control: expected the service lite3_driver/take_control, found none" in news(node)


def test_lost_joystick_is_an_estop_by_choice(
    unconfigured: Make, executor: SingleThreadedExecutor, robot: Robot
) -> None:
    node = unconfigured(joy_timeout_s=0.5, lost_joystick="estop")
    assert node.trigger_configure() is TransitionCallbackReturn.SUCCESS
    assert node.trigger_activate() is TransitionCallbackReturn.SUCCESS
    executor.add_node(node)
    robot.holds()
    robot.until(lambda: "joystick: found" in news(node), "the joystick")
    robot.joy = None
    robot.until(lambda: robot.estops == [True], "the e-stop")
    assert "joystick: lost" in news(node)


def test_of_two_joysticks_none_drives(active: Make, robot: Robot) -> None:
    node = active()
    walks(robot, node)
    other = robot.node.create_publisher(Joy, "joy", QoSProfile(depth=1))
    robot.until(lambda: robot.velocities[-1] == (0.0, 0.0, 0.0), "zero velocity")
    assert lines(node)["joystick"] == "2 publishers on joy, expected one"
    robot.node.destroy_publisher(other)


@pytest.mark.slow
def test_policy_that_falls_silent_is_sent_no_velocities(active: Make, robot: Robot) -> None:
    node = active()
    walks(robot, node)
    robot.silent = True
    robot.until(lambda: "policy: no status comes any more" in news(node), "the policy's silence")
    robot.until(lambda: robot.velocities[-1] == (0.0, 0.0, 0.0), "zero at the end")
    assert node.view().headline == "no policy node"


def test_a_node_that_commands_velocities_already_is_named_and_refused(
    unconfigured: Make, robot: Robot, capfd: pytest.CaptureFixture[str]
) -> None:
    robot.node.create_publisher(Twist, "cmd_vel", QoSProfile(depth=1))
    node = unconfigured()
    assert node.trigger_configure() is TransitionCallbackReturn.FAILURE
    assert (
        "/cmd_vel: expected /operator_node alone to command velocities, found /robot; end that"
        in capfd.readouterr().err
    )


def test_of_two_operators_the_second_does_not_start(
    active: Make, unconfigured: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    active()
    assert unconfigured().trigger_configure() is TransitionCallbackReturn.FAILURE
    assert "alone to command velocities, found /operator_node; end that" in capfd.readouterr().err


def test_a_node_that_begins_to_command_velocities_is_named_and_run_refused(
    active: Make, robot: Robot
) -> None:
    node = active()
    other = Node("teleop", use_global_arguments=False)
    publisher = other.create_publisher(Twist, "cmd_vel", QoSProfile(depth=1))
    robot.until(lambda: "others command velocities too: /teleop" in news(node), "the other one")
    robot.types(node.press, "w", lambda: "run: " in news(node))
    assert "run: refused: others command velocities too: /teleop; end them" in news(node)
    other.destroy_publisher(publisher)
    other.destroy_node()
    robot.until(lambda: "this node is alone again" in news(node), "the other one's end")
    robot.types(node.press, "w", lambda: robot.asked)
    robot.is_asked("run")


def test_deactivation_is_a_goodbye_with_velocity_zero_and_damp(active: Make, robot: Robot) -> None:
    node = active()
    walks(robot, node)
    assert node.trigger_deactivate() is TransitionCallbackReturn.SUCCESS
    robot.is_asked("damp")
    robot.until(lambda: robot.velocities[-1] == (0.0, 0.0, 0.0), "zero velocity")
    robot.until(lambda: node.answering == 0, "the answer")
    node.press("d")
    assert robot.asked == []


def test_goodbye_to_a_robot_that_folds_ends_that(active: Make, robot: Robot) -> None:
    robot.has_driver()
    node = active()
    assert robot.driver is not None
    robot.driver.state = RobotStatus.TAKING
    robot.until(lambda: "TAKING" in lines(node).get("driver", ""), "the fold")

    node.trigger_deactivate()

    robot.until(lambda: "driver: damp" in robot.asked, "the driver to be asked")


def test_goodbye_to_a_robot_that_is_damped_asks_for_nothing(active: Make, robot: Robot) -> None:
    node = active()
    node.trigger_deactivate()
    assert node.answering == 0
    assert "damp: asked for" not in news(node)


def test_screen_shows_reasons_to_refuse_the_next_step_and_the_state_of_the_robot(
    active: Make, robot: Robot
) -> None:
    robot.has_driver()
    node = active()
    assert robot.driver is not None
    robot.driver.obstacles = ["the legs are not folded", "the robot moves"]
    robot.driver.joint_names = ["FL_Knee", "HR_Knee", "HL_Knee"]
    robot.driver.temperature_c = [41.0, 44.0, float("nan")]
    robot.driver.largest_gap_s = 0.0021
    robot.battery.publish(BatteryState(percentage=0.82, voltage=25.3))
    robot.until(lambda: "battery" in lines(node) and "hottest" in lines(node), "all of it")
    shown = lines(node)
    assert shown["next"] == "take control (t, Enter): the legs are not folded; the robot moves"
    assert shown["hottest"] == "HR_Knee, 44 °C"
    assert shown["battery"] == "82 %, 25.3 V"
    assert "gap 2.1 ms" in shown["link"]
    near = "out of reach (5 m from legs), or hardware e-stop pressed: "
    assert shown["people"] == f"{near}its own controller moves it"
    robot.driver.state = RobotStatus.FOLLOWING
    robot.policy.inputs = [InputStatus(name="imu/data", text="imu/data: 400 ms old")]
    robot.until(lambda: lines(node)["next"] == "stand (s, Enter): imu/data: 400 ms old", "stand")
    assert node.view().headline == "DAMP | robot: FOLLOWING"
    assert lines(node)["people"] == f"{near}one request makes it stiff"


def test_button_with_two_meanings_is_refused(
    unconfigured: Make, robot: Robot, capfd: pytest.CaptureFixture[str]
) -> None:
    node = unconfigured(button_stand=DEADMAN)
    assert node.trigger_configure() is TransitionCallbackReturn.FAILURE
    assert "button_deadman and button_stand: expected buttons of their own" in (
        capfd.readouterr().err
    )
