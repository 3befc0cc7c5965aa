# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Height scans over topics: from a map and a pose, and from points that are sampled already."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import Pose, Quaternion
from grid_map_msgs.msg import GridMap, GridMapInfo
from nav_msgs.msg import Odometry
from policy_msgs.msg import Perceived
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from std_msgs.msg import Float32MultiArray, MultiArrayDimension, MultiArrayLayout

from policy_core.errors import PolicyError
from policy_inference.nodes.perception_node import PerceptionNode
from testkit.edits import MISSING
from testkit.wire_messages import SCAN
from testkit.wording import refusal

from .bundles import write_bundle
from .harness import Stage

TOPIC = "perception/ground"
CELLS, RESOLUTION_M = 20, 0.1
UPRIGHT = Quaternion(w=1.0)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    terms = [{"term": "height_scan", "topic": TOPIC, "scan": SCAN}]
    return write_bundle(
        tmp_path / "bundle",
        {
            "observations": {"obs": {"terms": terms}},
            "model.inputs": {"obs": {"shape": [1, 2]}},
            "velocity_command": MISSING,
            "safety": {"on_fault": "damp"},
        },
    )


@pytest.fixture
def perceive(node_stage: Stage, bundle: Path) -> Iterator[Callable[..., PerceptionNode]]:
    nodes: list[PerceptionNode] = []

    def start(**parameters: Any) -> PerceptionNode:
        given = {"bundle": str(bundle), **parameters}
        node = PerceptionNode([Parameter(name, value=value) for name, value in given.items()])
        nodes.append(node)
        node_stage.robot.executor.add_node(node)
        return node

    yield start
    for node in nodes:
        node_stage.robot.executor.remove_node(node)
        node.destroy_node()


def elevation_map() -> GridMap:
    """Return a step of 0.2 m to the left, around the origin."""
    heights = np.zeros((CELLS, CELLS), np.float32)
    heights[:, : CELLS // 2] = 0.2
    dims = [
        MultiArrayDimension(label="column_index", size=CELLS, stride=CELLS * CELLS),
        MultiArrayDimension(label="row_index", size=CELLS, stride=CELLS),
    ]
    length_m = CELLS * RESOLUTION_M
    return GridMap(
        info=GridMapInfo(
            resolution=RESOLUTION_M,
            length_x=length_m,
            length_y=length_m,
            pose=Pose(orientation=UPRIGHT),
        ),
        layers=["elevation"],
        data=[
            Float32MultiArray(layout=MultiArrayLayout(dim=dims), data=array("f", heights.T.ravel()))
        ],
    )


def test_a_scan_follows_map_and_pose_and_says_why_there_is_none(
    node_stage: Stage, perceive: Callable[..., PerceptionNode]
) -> None:
    robot, found = node_stage.robot, list[Perceived]()
    node = perceive()
    robot.node.create_subscription(Perceived, TOPIC, found.append, QoSProfile(depth=10))
    maps = robot.node.create_publisher(GridMap, "elevation_map", 1)
    poses = robot.node.create_publisher(Odometry, "odom", 1)
    robot.until(
        lambda: node.count_publishers("odom") and node.count_subscribers(TOPIC), "both ends"
    )

    def see() -> Perceived:
        found.clear()

        def comes() -> bool:
            odometry = Odometry()
            odometry.header.stamp = node.get_clock().now().to_msg()
            odometry.pose.pose.position.z = 0.35
            odometry.pose.pose.orientation = UPRIGHT
            poses.publish(odometry)
            return bool(found)

        robot.until(comes, "a scan")
        return found[0]

    assert see().problem
    message = elevation_map()
    message.header.stamp = node.get_clock().now().to_msg()
    maps.publish(message)
    robot.until(lambda: not see().problem, "a scan of the map")
    assert found[0].invalid == 0
    np.testing.assert_allclose(found[0].data, [-0.35, -0.15], atol=1e-6)
    robot.until(lambda: see().problem, "a map that is too old")
    assert len(found[0].data) == 0


def test_points_of_another_program_are_passed_on(
    node_stage: Stage, perceive: Callable[..., PerceptionNode]
) -> None:
    robot, found = node_stage.robot, list[Perceived]()
    perceive(source="array")
    robot.node.create_subscription(Perceived, TOPIC, found.append, QoSProfile(depth=10))
    points = robot.node.create_publisher(Float32MultiArray, "sampled_points", 1)

    def comes() -> bool:
        points.publish(Float32MultiArray(data=[-0.25, float("nan")]))
        return bool(found)

    robot.until(comes, "a scan")
    assert (found[0].problem, found[0].invalid) == ("", 1)
    np.testing.assert_allclose(found[0].data, [-0.25, -0.25])


def test_a_bundle_without_a_height_scan_is_refused(
    tmp_path: Path, perceive: Callable[..., PerceptionNode]
) -> None:
    with refusal(PolicyError):
        perceive(bundle=str(write_bundle(tmp_path / "blind", {})))
