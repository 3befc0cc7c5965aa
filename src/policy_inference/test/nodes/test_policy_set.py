# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The node of a policy set: switches by service, the way back, what it reports and refuses."""

from pathlib import Path
from typing import Any

import pytest
from policy_msgs.msg import JointCommand
from std_msgs.msg import String

from testkit.wording import check_wording

from .harness import Activate, StageOf
from .kinds import JOINT, SET, GaitRobot, Kind
from .shadows import answered, moves_sensors, shadow_of

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
    (found,) = status.policy_set
    assert (found.state, found.last_from, found.last_to) == ("crouch", "walk", "crouch")
    assert (found.asked, list(found.states)) == ("", ["walk", "crouch"])
    check_wording(walking_set.hears("walk -> crouch"))


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


WALKS, CROUCHES = 20, 15


@pytest.fixture
def walk(bundle_in_use: Path) -> Path:
    return bundle_in_use.parent / "walk"


@pytest.mark.slow
def test_shadow_is_compared_while_its_member_runs(
    activate: Activate, partner: GaitRobot, walk: Path
) -> None:
    activate(use_sim_time=True, shadow_bundle=str(walk), shadow_member="walk")
    partner.runs()
    moves_sensors(partner, JOINT, WALKS)
    assert partner.switch("crouch").success
    moves_sensors(partner, JOINT, CROUCHES)
    assert partner.switch("walk").success
    moves_sensors(partner, JOINT, WALKS)
    partner.request("damp")
    partner.tick()
    ran = sum(each.mode == JointCommand.MODE_RUN for each in partner.commands)

    def is_whole(shadow: Any) -> bool:
        others = int(partner.told().get("shadow.ticks_other_members", "0"))
        return bool(answered(shadow) + others == ran)

    found = shadow_of(partner, is_whole, "all answers")
    told = partner.told()
    assert told["shadow.member"] == "walk"
    assert 0 < int(told["shadow.ticks_other_members"]) <= CROUCHES + 1
    assert found.compared
    assert (found.failed, found.not_finite, found.problem) == (0, 0, "")
    assert not any(found.max)


@pytest.mark.parametrize("member", ["", "trot"])
def test_the_member_must_be_named(
    node_stage: StageOf[Any, Any], bundle_in_use: Path, walk: Path, member: str
) -> None:
    node_stage.refuses(bundle=str(bundle_in_use), shadow_bundle=str(walk), shadow_member=member)


def test_a_set_is_no_shadow(node_stage: StageOf[Any, Any], bundle_in_use: Path, kind: Kind) -> None:
    node_stage.refuses(
        bundle=str(bundle_in_use), shadow_bundle=str(bundle_in_use), shadow_member="walk"
    )
