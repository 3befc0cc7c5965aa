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
import yaml

pytest.importorskip("policy_msgs", reason="the workspace is not sourced")
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist
from policy_msgs.msg import JointCommand, PolicyStatus
from sensor_msgs.msg import Imu, JointState

from robot_sim.figures import load_robot
from robot_sim.nodes.messages import odometry_message
from robot_sim.urdf import BASE, write_urdf
from robot_sim.world import World

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
"""As in docs/running.md."""


DESCRIPTION = "/robot_description"
"""Topic of robot_state_publisher, which docs/look.md starts with the URDF of `robot_urdf`."""


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


def test_the_robot_is_shown_where_its_messages_have_it() -> None:
    frame = odometry_message(World().sense(), Time()).child_frame_id
    assert frame == BASE
    panel = json.loads(LAYOUT.read_text("utf-8"))["configById"]["3D!robot"]
    assert (panel["followTf"], list(panel["topics"])) == (frame, [DESCRIPTION])
    manager = yaml.safe_load(RVIZ.read_text("utf-8"))["Visualization Manager"]
    (model,) = (one for one in manager["Displays"] if one["Class"].endswith("/RobotModel"))
    assert manager["Global Options"]["Fixed Frame"] == frame
    assert model["Description Topic"]["Value"] == DESCRIPTION
    assert f"<link name={frame!r}".replace("'", '"') in write_urdf(load_robot("lite3"))
