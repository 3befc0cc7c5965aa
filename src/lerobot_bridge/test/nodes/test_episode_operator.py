# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The operator of an episode recorder reads only the status of a recorder."""

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from hypothesis import given

from lerobot_bridge.nodes.episode_operator import read_recorder_status
from policy_core.errors import RobotError
from testkit.any_messages import any_message
from testkit.wording import check_wording

SOUND = DiagnosticStatus(message="waiting", values=[KeyValue(key="folder", value="/tmp/session")])


@pytest.mark.fuzz
@given(message=any_message(DiagnosticArray))
def test_any_other_status_is_refused(message: DiagnosticArray) -> None:
    with pytest.raises(RobotError):
        read_recorder_status("episode_recorder", message)


def test_status_without_an_entry_is_refused_with_the_remedy() -> None:
    assert read_recorder_status("recorder", DiagnosticArray(status=[SOUND])) is SOUND
    with pytest.raises(RobotError) as refusal:
        read_recorder_status("recorder", DiagnosticArray())
    check_wording(str(refusal.value))
