# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The node of a policy set: switches by service, the way back, what it reports and refuses."""

from collections.abc import Callable
from pathlib import Path

import pytest
from policy_msgs.msg import PolicyStatus
from policy_msgs.srv import SwitchState
from std_msgs.msg import String

from policy_inference.interfaces import Mode
from policy_inference.nodes.policy_set_node import PolicySetNode
from testkit.wording import check_wording

from .harness import StageOf
from .kinds import SET, GaitRobot, Kind

pytestmark = [pytest.mark.ros, pytest.mark.parametrize("kind", [SET], ids=str)]
Stage = StageOf[GaitRobot, PolicySetNode]


@pytest.fixture
def set_robot(activate: Callable[..., PolicySetNode], partner: GaitRobot) -> GaitRobot:
    """A robot that walks."""
    activate(use_sim_time=True)
    partner.runs()
    return partner


def test_a_switch_by_service_changes_what_is_commanded(set_robot: GaitRobot) -> None:
    response = set_robot.switch("crouch")
    assert response.success
    check_wording(response.message)
    set_robot.ticks(6)
    assert set_robot.tick().stiffness[0] == 50.0
    status = set_robot.reported(lambda status: status.policy_set[0].switches == 1, "the switch")
    assert_reports(status, state="crouch", last_from="walk", last_to="crouch", asked="")
    check_wording(set_robot.hears("walk -> crouch"))


def assert_reports(status: PolicyStatus, **expected: object) -> None:
    (found,) = status.policy_set
    assert {key: getattr(found, key) for key in expected} == expected
    assert list(found.states) == ["walk", "crouch"]


def test_a_refused_switch_says_why(set_robot: GaitRobot) -> None:
    response = set_robot.switch("trot")
    assert not response.success
    set_robot.request("damp")
    check_wording(response.message, set_robot.switch("crouch").message)


def test_a_switch_by_topic_is_made_or_its_refusal_is_logged(set_robot: GaitRobot) -> None:
    topic = set_robot.node.create_publisher(String, "policy_set_node/switch_to", 1)
    set_robot.until(lambda: topic.get_subscription_count() == 1, "the subscription")
    topic.publish(String(data="trot"))
    check_wording(set_robot.hears("'trot'"))
    topic.publish(String(data="crouch"))
    set_robot.until(lambda: set_robot.tick().stiffness[0] == 50.0, "the gains of crouch")
    set_robot.reported(lambda status: status.policy_set[0].state == "crouch", "the state")


def test_stand_goes_by_the_way_back(set_robot: GaitRobot) -> None:
    set_robot.switch("crouch")
    set_robot.ticks(7)
    assert set_robot.ask("stand").message == "RUN"
    set_robot.until(lambda: set_robot.tick().mode == Mode.STAND, "STAND")
    status = set_robot.reported(lambda status: status.policy_set[0].switches == 2, "the way back")
    assert_reports(status, state="walk")


def test_a_load_during_a_blend_is_refused_and_the_blend_goes_on(
    set_robot: GaitRobot, tmp_path: Path, kind: Kind
) -> None:
    set_robot.switch("crouch")
    set_robot.ticks(2)
    set_robot.load_refusal(kind.write(tmp_path / "other", "2.0.0"))
    set_robot.ticks(6)
    assert set_robot.tick().stiffness[0] == 50.0


def test_a_flood_of_requests_is_answered_and_stops_no_tick(set_robot: GaitRobot) -> None:
    client = set_robot.node.create_client(SwitchState, "policy_set_node/switch")
    answers = [
        client.call_async(SwitchState.Request(state=("crouch", "walk", "trot")[number % 3]))
        for number in range(300)
    ]
    set_robot.ticks(20)
    set_robot.until(lambda: all(answer.done() for answer in answers), "all answers")
    assert {answer.result().success for answer in answers} == {True, False}
    assert set_robot.tick().mode == Mode.RUN


def test_a_member_that_computes_something_else_here_is_refused_at_configure(
    node_stage: Stage, tmp_path: Path, kind: Kind
) -> None:
    node_stage.refuses(bundle=str(kind.write(tmp_path / "wrong", "1.0.0", wrong=True)))
