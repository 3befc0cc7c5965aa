# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The operator's dial: by parameter, service and topic; what is refused, reported and recorded."""

import math
from pathlib import Path

import pytest
from policy_msgs.srv import SetAuthority
from std_msgs.msg import Float64

from policy_core.interfaces import Mode
from policy_inference.kinds.opening import NATIVE, PYTHON
from testkit.wording import check_wording

from .bundles import STAND
from .harness import Activate, Robot, Stage

pytestmark = pytest.mark.ros
LOOPS = pytest.mark.parametrize("loop", [PYTHON, NATIVE])
ENOUGH_TICKS = 30
"""For the longest way of the dial."""


def _set(robot: Robot, authority: float, **request: object) -> SetAuthority.Response:
    asked = SetAuthority.Request(authority=authority, **request)
    response: SetAuthority.Response = robot.call(
        SetAuthority, f"{robot.policy_node}/set_authority", asked
    )
    return response


@LOOPS
def test_service_turns_the_dial_of_all_joints_or_of_some(
    activate: Activate, partner: Robot, loop: str
) -> None:
    activate(use_sim_time=True, **{"realtime.loop": loop})
    partner.runs()
    moving = partner.tick()
    assert _set(partner, 0.0).success
    standing = partner.ticks(ENOUGH_TICKS)
    assert standing.mode == Mode.RUN
    assert list(standing.position) == list(STAND)
    assert partner.newest().authority == 0.0
    assert _set(partner, 1.0, joints=["le*"]).success
    partial = partner.ticks(ENOUGH_TICKS)
    assert (partial.stiffness[0], partial.stiffness[1]) == (
        moving.stiffness[0],
        standing.stiffness[1],
    )
    assert _set(partner, 0.0, rest=SetAuthority.Request.DISABLE).success
    assert list(partner.ticks(ENOUGH_TICKS).stiffness) == [0.0, 0.0]


@LOOPS
def test_parameter_is_the_first_value(activate: Activate, partner: Robot, loop: str) -> None:
    activate(use_sim_time=True, authority=0.25, **{"realtime.loop": loop})
    partner.is_met()
    assert partner.newest().authority == 0.25


def test_refused_settings_say_why(lockstep: Robot) -> None:
    for authority, request in (
        (1.5, {}),
        (math.nan, {}),
        (0.5, {"joints": ["tail_*"]}),
        (0.5, {"rest": 7}),
        (0.5, {"rest": SetAuthority.Request.FREEZE}),
    ):
        response = _set(lockstep, authority, **request)
        assert not response.success
        check_wording(response.message)
    assert lockstep.newest().authority == 1.0


def test_inactive_node_says_that_it_is(node_stage: Stage, bundle_in_use: Path) -> None:
    node_stage.node(bundle=str(bundle_in_use)).trigger_configure()
    check_wording(_set(node_stage.robot, 0.5).message)


def test_topic_turns_the_dial_and_what_is_no_share_is_ignored(lockstep: Robot) -> None:
    topic = lockstep.node.create_publisher(Float64, "authority", 1)
    lockstep.until(lambda: topic.get_subscription_count() == 1, "the subscription")
    topic.publish(Float64(data=0.5))
    lockstep.until(lambda: lockstep.newest().authority == 0.5, "the share")
    topic.publish(Float64(data=math.inf))
    check_wording(lockstep.hears("authority", level="WARN"))
    assert lockstep.newest().authority == 0.5
