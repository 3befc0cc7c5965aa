# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What Foxglove and RViz show: topics and frames that there are, fields that messages have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("policy_msgs", reason="the workspace is not sourced")
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist
from policy_msgs.msg import JointCommand, PolicyStatus
from sensor_msgs.msg import Imu, JointState

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
LAYOUT, RVIZ = DEPLOY / "foxglove" / "policy.json", DEPLOY / "rviz" / "robot.rviz"
TOPICS = {
    "/joint_policy_node/status": PolicyStatus,
    "/joint_states": JointState,
    "/joint_command": JointCommand,
    "/imu/data": Imu,
    "/cmd_vel": Twist,
    "/diagnostics": DiagnosticArray,
}
"""As in docs/walking.md."""


def shown_paths() -> Iterator[str]:
    for panel in json.loads(LAYOUT.read_text("utf-8"))["configById"].values():
        yield from (path["value"] for path in panel.get("paths", ()))
        yield from (panel[key] for key in ("topicPath", "topicToRender") if key in panel)


@pytest.mark.parametrize("path", sorted(set(shown_paths())))
def test_a_path_is_a_field_of_a_topic(path: str) -> None:
    topic = next(name for name in TOPICS if path == name or path.startswith(f"{name}."))
    message: Any = TOPICS[topic]()
    for name in filter(None, path.removeprefix(topic).split(".")):
        field, index = re.fullmatch(r"(\w+)(\[[\d:]+\])?", name).groups()  # type: ignore[union-attr]
        assert field in message.get_fields_and_field_types()
        message = getattr(message, field)
        assert index is None or not isinstance(message, (str, float, int))
