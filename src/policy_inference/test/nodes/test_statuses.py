# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A status that any program may have published is refused with a reason, or can be used."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from policy_msgs.msg import (
    InputStatus,
    JointCommand,
    PolicyStatus,
    RobotStatus,
    SetStatus,
    ShadowStatus,
)
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from sensor_msgs.msg import BatteryState

from policy_core.errors import RobotError
from policy_inference.messages.statuses import LARGEST, require_usable
from policy_inference.nodes.robot_metrics import RobotMetrics
from testkit.any_messages import any_message, any_policy_status, any_robot_status
from testkit.wording import check_wording

SHADOW = {"joints": ["hip"], "mean": [0.1], "rms": [0.1], "max": [0.1]}
UNUSABLE: dict[str, Any] = {
    "temperatures": RobotStatus(joint_names=["hip", "knee"], temperature_c=[40.0]),
    "state": RobotStatus(state=99),
    "mode": PolicyStatus(mode=99),
    "success": PolicyStatus(success=99),
    "authority": PolicyStatus(authority=float("nan")),
    "state of a set": PolicyStatus(policy_set=[SetStatus(state="walk", states=["crouch"])]),
    "two sets": PolicyStatus(policy_set=[SetStatus(state="a", states=["a"])] * 2),
    "distances": PolicyStatus(shadow=[ShadowStatus(**{**SHADOW, "rms": [0.1, 0.2]})]),
    "distances in steps": PolicyStatus(shadow=[ShadowStatus(**SHADOW, rms_steps=[0.1, 0.2])]),
    "entries": RobotStatus(obstacles=["a"] * 1001),
    "text": PolicyStatus(inputs=[InputStatus(text="a" * 60_000)] * 2),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_status_against_its_definition_is_refused_with_its_field(name: str) -> None:
    with pytest.raises(RobotError) as refusal:
        require_usable(UNUSABLE[name])
    check_wording(str(refusal.value))


def test_the_largest_constants_are_those_of_the_messages() -> None:
    def largest(message: Any, prefix: str = "") -> int:
        values = [getattr(message, name) for name in dir(message) if name.startswith(prefix)]
        return max(value for value in values if type(value) is int)

    assert {
        "PolicyStatus": {
            "mode": largest(JointCommand, "MODE_"),
            "success": largest(PolicyStatus, "SUCCESS_"),
        },
        "RobotStatus": {"state": largest(RobotStatus)},
    } == LARGEST


@pytest.mark.fuzz
@given(policy=any_policy_status(), driver=any_robot_status(), battery=any_message(BatteryState))
def test_any_status_that_is_not_refused_becomes_metrics_that_can_be_read(
    policy: PolicyStatus, driver: RobotStatus, battery: BatteryState
) -> None:
    metrics, registry = RobotMetrics("robot", 2.0), CollectorRegistry(auto_describe=False)
    for name, message in (("/policy", policy), ("/driver", driver)):
        metrics.expect(name, type(message))
        with suppress(RobotError):
            require_usable(message)
            metrics.take_status(name, message)
    metrics.take_battery(battery)
    registry.register(metrics)
    text = bytes(generate_latest(registry)).decode()
    assert [*text_string_to_metric_families(text)]
