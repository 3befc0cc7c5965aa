# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The operator's screen and node outlive every message, and show why one was refused."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from policy_msgs.msg import PolicyStatus, RobotStatus
from sensor_msgs.msg import BatteryState

from policy_core.errors import RobotError
from policy_inference.messages.statuses import require_usable
from policy_inference.nodes.rclpy_gaps import Logger
from robot_operator.nodes.operator_node import OperatorNode
from robot_operator.nodes.views import OperatorNews, Seen, make_view
from robot_operator.nodes.words import driver_lines, policy_lines, way_to_follow
from testkit.any_messages import any_message, any_policy_status, any_robot_status
from testkit.wording import check_wording

from .robot import Robot
from .test_operator_node import screen_lines

Make = Callable[..., OperatorNode]
UNEVEN = RobotStatus(state=RobotStatus.FOLLOWING, joint_names=["hip", "knee"], temperature_c=[40.0])


@pytest.mark.fuzz
@given(policy=any_policy_status(), driver=any_robot_status(), battery=any_message(BatteryState))
def test_any_status_that_is_not_refused_can_be_shown(
    policy: PolicyStatus, driver: RobotStatus, battery: BatteryState
) -> None:
    seen, news = Seen(battery=battery, served=True), OperatorNews(Logger("any_status"))
    with suppress(RobotError):
        require_usable(policy)
        seen.policy = policy
        policy_lines(policy)
    with suppress(RobotError):
        require_usable(driver)
        seen.driver = driver
        driver_lines(driver)
    if seen.policy is not None and seen.driver is not None:
        way_to_follow(seen.policy, seen.driver)
    view = make_view(seen, None, [], news, 0)
    assert "next" in dict(view.lines)
    assert view.headline


@pytest.mark.slow
@pytest.mark.ros
def test_screen_outlives_a_driver_status_with_lists_of_different_lengths(
    operator: Make, met_robot: Robot
) -> None:
    met_robot.has_driver()
    node = operator()
    met_robot.until(lambda: "robot: LISTENING" in node.view().headline, "the driver")
    met_robot.driver = UNEVEN
    met_robot.until(lambda: "driver status" in screen_lines(node), "the refusal")
    check_wording(screen_lines(node)["driver status"])
    assert screen_lines(node)["driver status"] in "\n".join(node.view().news)
    met_robot.until(lambda: "robot: NO DRIVER" in node.view().headline, "the end of the old status")
    assert "stopped" in screen_lines(node)["driver"]

    met_robot.driver = RobotStatus(state=RobotStatus.FOLLOWING, reason="follows")
    met_robot.until(lambda: "robot: FOLLOWING" in node.view().headline, "a usable status")
    met_robot.until(lambda: "driver status" not in screen_lines(node), "the end of the refusal")


@pytest.mark.ros
def test_screen_outlives_a_policy_status_with_an_unknown_mode(
    operator: Make, met_robot: Robot
) -> None:
    node = operator()
    met_robot.policy.mode = 99
    met_robot.until(lambda: "policy status" in screen_lines(node), "the refusal")
    check_wording(screen_lines(node)["policy status"])
    assert node.view().headline == "DAMP"  # of the status before
