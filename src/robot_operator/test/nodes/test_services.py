# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""When a publisher counts as reaching all subscribers."""

from types import SimpleNamespace

import pytest

from robot_operator.nodes import services
from robot_operator.nodes.services import Reach


@pytest.mark.parametrize(
    ("secured", "listed", "matched", "wait_s", "complete"),
    [
        ("", 2, 2, 0.0, True),
        ("", 0, 0, 9.0, False),
        ("", 3, 2, 9.0, False),
        ("true", 2, 2, 0.0, True),
        ("true", 3, 2, 1.0, False),
        ("true", 3, 2, 3.0, True),
        ("true", 3, 0, 3.0, False),
    ],
)
def test_all_subscribers_are_reached_or_with_sros2_all_that_still_match(
    monkeypatch: pytest.MonkeyPatch,
    secured: str,
    listed: int,
    matched: int,
    wait_s: float,
    complete: bool,
) -> None:
    now_s = [100.0]
    monkeypatch.setenv("ROS_SECURITY_ENABLE", secured)
    monkeypatch.setattr(services, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    reach = Reach(
        SimpleNamespace(count_subscribers=lambda _: listed),
        SimpleNamespace(topic_name="/estop", get_subscription_count=lambda: matched),
    )
    reach.is_complete()
    now_s[0] += wait_s
    assert reach.is_complete() == complete
