# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Over topics: height scans of a map and a pose, or sampled already; images of a camera."""

from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from geometry_msgs.msg import Quaternion, TransformStamped
from grid_map_msgs.msg import GridMap, GridMapInfo
from nav_msgs.msg import Odometry
from policy_msgs.msg import Perceived
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Float32MultiArray, MultiArrayDimension, MultiArrayLayout
from tf2_msgs.msg import TFMessage

from policy_core.bundle.load import load_bundle
from policy_inference.nodes.perception_node import PerceptionNode
from policy_inference.testing.models import weights

from .bundles import (
    SEES_COLOUR,
    SEES_DEPTH,
    SEES_GROUND,
    write_encoder_bundle,
    write_sensing_bundle,
)
from .harness import Stage

TOPIC, FRONT = "perception/ground", "perception/front"
CELLS, RESOLUTION_M = 20, 0.1
UPRIGHT = Quaternion(w=1.0)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_sensing_bundle(tmp_path / "bundle", SEES_GROUND)


@pytest.fixture
def perceive(node_stage: Stage, bundle: Path) -> Callable[..., PerceptionNode]:
    def start(**parameters: Any) -> PerceptionNode:
        given = {"bundle": str(bundle), **parameters}
        return node_stage.beside(
            PerceptionNode([Parameter(name, value=value) for name, value in given.items()])
        )

    return start


def elevation_map() -> GridMap:
    """Return a step of 0.2 m to the left, around the origin."""
    heights = np.zeros((CELLS, CELLS), np.float32)
    heights[:, : CELLS // 2] = 0.2
    names = ("column_index", "row_index")
    dims = [MultiArrayDimension(label=name, size=CELLS, stride=CELLS) for name in names]
    layout, cells = MultiArrayLayout(dim=dims), array("f", heights.T.ravel())
    length_m = CELLS * RESOLUTION_M
    info = GridMapInfo(resolution=RESOLUTION_M, length_x=length_m, length_y=length_m)
    info.pose.orientation = UPRIGHT
    data = [Float32MultiArray(layout=layout, data=cells)]
    return GridMap(info=info, layers=["elevation"], data=data)


def test_a_scan_follows_map_and_pose_and_says_why_there_is_none(
    node_stage: Stage, bundle: Path, perceive: Callable[..., PerceptionNode]
) -> None:
    robot, found = node_stage.robot, list[Perceived]()
    node = perceive()
    robot.node.create_subscription(Perceived, TOPIC, found.append, QoSProfile(depth=10))
    maps = robot.node.create_publisher(GridMap, "elevation_map", 1)
    poses = robot.node.create_publisher(Odometry, "odom", 1)
    clouds = list[PointCloud2]()
    robot.node.create_subscription(PointCloud2, f"{TOPIC}/points", clouds.append, 10)
    robot.until(lambda: node.count_publishers("odom"), "the poses")
    heard = (TOPIC, f"{TOPIC}/points")
    robot.until(lambda: all(map(node.count_subscribers, heard)), "both listeners")

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
    label = load_bundle(bundle).contract.perceived[TOPIC]
    assert found[0].header.frame_id == label
    message = elevation_map()
    message.header.stamp = node.get_clock().now().to_msg()
    maps.publish(message)
    robot.until(lambda: not see().problem, "a scan of the map")
    assert (found[0].invalid, found[0].header.frame_id) == (0, label)
    np.testing.assert_allclose(found[0].data, [-0.35, -0.15], atol=1e-6)
    robot.until(lambda: clouds, "points to look at")
    rows = np.frombuffer(clouds[-1].data, np.float32).reshape(2, 5)
    np.testing.assert_allclose(rows[:, 2:], [[-0.15, 0, -0.35], [-0.35, 1, -0.15]], atol=1e-6)
    assert [field.name for field in clouds[-1].fields] == ["x", "y", "z", "index", "value"]
    robot.until(lambda: see().problem, "a map that is too old")
    assert len(found[0].data) == 0


def test_a_scan_takes_the_pose_from_transforms(
    node_stage: Stage, perceive: Callable[..., PerceptionNode]
) -> None:
    robot, found = node_stage.robot, list[Perceived]()
    node = perceive(base_frame="base_link")
    robot.node.create_subscription(Perceived, TOPIC, found.append, QoSProfile(depth=10))
    maps = robot.node.create_publisher(GridMap, "elevation_map", 1)
    moving = robot.node.create_publisher(TFMessage, "/tf", 10)
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    fixed = robot.node.create_publisher(TFMessage, "/tf_static", latched)

    def transform(parent: str, child: str, z: float) -> TFMessage:
        one = TransformStamped(child_frame_id=child)
        one.header.frame_id, one.header.stamp = parent, node.get_clock().now().to_msg()
        one.transform.translation.z, one.transform.rotation = z, UPRIGHT
        return TFMessage(transforms=[one])

    def comes(*, usable: bool) -> bool:
        moving.publish(transform("odom", "footprint", 0.05))
        return bool(found and usable is not bool(found[-1].problem))

    robot.until(lambda: comes(usable=False), "no scan without a map")
    message = elevation_map()
    message.header.frame_id = "odom"

    def sees(*, usable: bool) -> bool:
        message.header.stamp = node.get_clock().now().to_msg()
        maps.publish(message)
        return comes(usable=usable)

    found.clear()
    robot.until(lambda: sees(usable=False) and "footprint" not in found[-1].problem, "no base")
    fixed.publish(transform("footprint", "base_link", 0.3))
    robot.until(lambda: sees(usable=True), "a scan")
    np.testing.assert_allclose(found[-1].data, [-0.35, -0.15], atol=1e-6)


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


def depth_image(node: PerceptionNode, millimetres: int, **change: Any) -> Image:
    pixels = np.full((2, 3), millimetres, "<u2")
    pixels[0, 0] = 0
    image = Image(
        height=2, width=3, encoding="16UC1", step=6, data=array("B", pixels.tobytes()), **change
    )
    image.header.stamp = node.get_clock().now().to_msg()
    return image


def test_a_depth_image_becomes_values_and_says_why_there_are_none(
    node_stage: Stage, tmp_path: Path, perceive: Callable[..., PerceptionNode]
) -> None:
    robot, found = node_stage.robot, list[Perceived]()
    bundle = write_sensing_bundle(tmp_path / "sees", SEES_DEPTH)
    node = perceive(bundle=str(bundle))
    robot.node.create_subscription(Perceived, FRONT, found.append, QoSProfile(depth=10))
    seen = list[Image]()
    robot.node.create_subscription(Image, f"{FRONT}/seen", seen.append, QoSProfile(depth=10))
    images = robot.node.create_publisher(Image, f"{FRONT}/image", 1)

    def see(millimetres: int) -> Perceived:
        found.clear()

        def comes() -> bool:
            images.publish(depth_image(node, millimetres))
            return bool(found and not found[-1].problem)

        robot.until(comes, "an image")
        return found[-1]

    assert see(2500).invalid == 1
    assert found[-1].header.frame_id == load_bundle(bundle).contract.perceived[FRONT]
    np.testing.assert_allclose(found[-1].data, [1.0, *[0.5] * 5] * 2, atol=1e-6)
    robot.until(lambda: see(2500) and seen, "an image to look at")
    assert (seen[-1].encoding, seen[-1].height, seen[-1].width) == ("32FC1", 2, 3)
    np.testing.assert_allclose(np.frombuffer(seen[-1].data, np.float32), [1.0, *[0.5] * 5])
    found.clear()

    def is_refused() -> bool:
        images.publish(depth_image(node, 0))
        return any(one.problem for one in found)

    robot.until(is_refused, "a covered camera")
    see(1000)
    found.clear()
    robot.until(lambda: any(one.problem for one in found), "no image for too long")
    assert not any(one.data for one in found if one.problem)


def test_an_encoder_makes_the_values_of_a_distance_image(
    node_stage: Stage, tmp_path: Path, perceive: Callable[..., PerceptionNode]
) -> None:
    bundle = write_encoder_bundle(tmp_path / "sees")
    robot, found = node_stage.robot, list[Perceived]()
    node = perceive(bundle=str(bundle), depth_measure="distance")
    robot.node.create_subscription(Perceived, FRONT, found.append, QoSProfile(depth=10))
    images = robot.node.create_publisher(Image, f"{FRONT}/image", 1)
    cameras = robot.node.create_publisher(CameraInfo, f"{FRONT}/camera_info", 1)
    k = [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]

    def comes() -> bool:
        cameras.publish(CameraInfo(height=2, width=3, k=k))
        images.publish(depth_image(node, 2500))
        return bool(found and not found[-1].problem)

    robot.until(comes, "values of the encoder")
    u, v = np.arange(3) - 1.0, np.arange(2)[:, None]
    image = 0.5 / np.sqrt(1.0 + u**2 + v**2)
    image[0, 0] = 1.0
    expected = np.tile(image.ravel(), 2) @ weights(12, 2)
    np.testing.assert_allclose(found[-1].data, expected, rtol=1e-5)


@pytest.mark.parametrize("transport", ["raw", "compressed"])
def test_a_colour_image_becomes_values(
    transport: str, node_stage: Stage, tmp_path: Path, perceive: Callable[..., PerceptionNode]
) -> None:
    bundle = write_sensing_bundle(tmp_path / "sees", SEES_COLOUR)
    robot, found, seen = node_stage.robot, list[Perceived](), list[Image]()
    node = perceive(bundle=str(bundle), image_transport=transport)
    robot.node.create_subscription(Perceived, FRONT, found.append, QoSProfile(depth=10))
    robot.node.create_subscription(Image, f"{FRONT}/seen", seen.append, QoSProfile(depth=10))
    pixels = np.array([[(0, 51, 102), (153, 204, 255)]], np.uint8)
    if transport == "raw":
        data = array("B", pixels.tobytes())
        message = Image(height=1, width=2, encoding="rgb8", step=6, data=data)
        images = robot.node.create_publisher(Image, f"{FRONT}/image", 1)
    else:
        _, png = cv2.imencode(".png", pixels[..., ::-1])
        message = CompressedImage(format="png", data=array("B", png.tobytes()))
        images = robot.node.create_publisher(CompressedImage, f"{FRONT}/image/compressed", 1)

    def comes() -> bool:
        message.header.stamp = node.get_clock().now().to_msg()
        images.publish(message)
        return bool(found and seen)

    robot.until(comes, "values, and an image to look at")
    assert found[-1].header.frame_id == load_bundle(bundle).contract.perceived[FRONT]
    np.testing.assert_allclose(found[-1].data, [0.0, 0.6, 0.2, 0.8, 0.4, 1.0], atol=1e-6)
    assert (seen[-1].encoding, seen[-1].height, seen[-1].width) == ("rgb8", 1, 2)
    assert bytes(seen[-1].data) == pixels.tobytes()
