# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The node of a policy set: switches by service, the way back, what it reports and refuses."""

import pytest
from policy_msgs.msg import PolicyStatus
from std_msgs.msg import String

from testkit.wording import check_wording

from .harness import Activate
from .kinds import SET, GaitRobot

pytestmark = [pytest.mark.ros, pytest.mark.parametrize("kind", [SET], ids=str)]


@pytest.fixture
def walking_set(activate: Activate, partner: GaitRobot) -> GaitRobot:
    activate(use_sim_time=True)
    partner.runs()
    return partner


def test_a_switch_by_service_changes_what_is_commanded(walking_set: GaitRobot) -> None:
    response = walking_set.switch("crouch")
    assert response.success
    check_wording(response.message)
    walking_set.ticks(6)
    assert walking_set.tick().stiffness[0] == 50.0
    status = walking_set.reported(lambda status: status.policy_set[0].switches == 1, "the switch")
    assert_reports(status, state="crouch", last_from="walk", last_to="crouch", asked="")
    check_wording(walking_set.hears("walk -> crouch"))


def assert_reports(status: PolicyStatus, **expected: object) -> None:
    (found,) = status.policy_set
    assert {key: getattr(found, key) for key in expected} == expected
    assert list(found.states) == ["walk", "crouch"]


def test_a_refused_switch_says_why(walking_set: GaitRobot) -> None:
    response = walking_set.switch("trot")
    assert not response.success
    walking_set.request("damp")
    check_wording(response.message, walking_set.switch("crouch").message)


def test_a_switch_by_topic_is_made_or_its_refusal_is_logged(walking_set: GaitRobot) -> None:
    topic = walking_set.node.create_publisher(String, "policy_set_node/switch_to", 1)
    walking_set.until(lambda: topic.get_subscription_count() == 1, "the subscription")
    topic.publish(String(data="trot"))
    check_wording(walking_set.hears("'trot'"))
    topic.publish(String(data="crouch"))
    walking_set.until(lambda: walking_set.tick().stiffness[0] == 50.0, "the gains of crouch")
    walking_set.reported(lambda status: status.policy_set[0].state == "crouch", "the state")
