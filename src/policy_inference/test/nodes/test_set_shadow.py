# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A shadow beside a policy set: compared with one member, in the ticks in which that runs."""

from pathlib import Path
from typing import Any

import pytest
from policy_msgs.msg import JointCommand

from .harness import Activate, StageOf
from .kinds import JOINT, SET, GaitRobot, Kind
from .shadows import answered, moves_sensors, shadow_of

pytestmark = [pytest.mark.ros, pytest.mark.parametrize("kind", [SET], ids=str)]
WALKS, CROUCHES = 20, 15


@pytest.fixture
def walk(bundle_in_use: Path) -> Path:
    return bundle_in_use.parent / "walk"


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
