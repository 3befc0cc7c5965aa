# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Publishes a simulated robot's view of the ground: elevation map and depth camera."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from grid_map_msgs.msg import GridMap
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from robot_sim import depth_camera, mapper
from robot_sim.depth_camera import CameraFault, DepthCamera, DepthCameraFigures
from robot_sim.errors import SimError
from robot_sim.faults import Fault
from robot_sim.ground import Ground
from robot_sim.mapper import MapFault, Mapper
from robot_sim.nodes.messages import (
    camera_info_message,
    depth_image_message,
    elevation_map_message,
    to_time,
)
from robot_sim.nodes.robot_node import NEWEST
from robot_sim.world import Sensors, World

Plan = TypeVar("Plan")


class PerceptionTopics:
    """Publishes `elevation_map`, and `depth_camera/image` with its `camera_info`, if enabled."""

    def __init__(self, node: Node, get: Callable[[str], Any], ground: Ground) -> None:
        """Create the publishers.

        Args:
            node: Owner of the publishers.
            get: Returns a parameter by name.
            ground: Ground that the mapper measures.
        """
        self._mapper = Mapper(ground) if get("elevation_map") else None
        self._camera: DepthCamera | None = None
        if self._mapper is not None:
            self._maps = node.create_publisher(GridMap, mapper.STREAM, NEWEST)
        if get("depth_camera"):
            figures = DepthCameraFigures(
                size=(get("depth_height"), get("depth_width")),
                vertical_deg=get("depth_vertical_deg"),
                position_m=tuple(get("depth_position_m")),
                pitch_deg=get("depth_pitch_deg"),
                rate_hz=get("depth_rate_hz"),
                noise_m=get("depth_noise_m"),
            )
            self._camera = DepthCamera(figures, get("seed"))
            topic = depth_camera.STREAM
            self._images = node.create_publisher(Image, f"{topic}/image", NEWEST)
            self._infos = node.create_publisher(CameraInfo, f"{topic}/camera_info", NEWEST)

    def plan(
        self, texts: Sequence[str], now_ns: int, of_robot: Callable[[list[str]], Plan]
    ) -> Plan:
        """Plan all faults; if one is invalid, change nothing.

        Args:
            texts: The faults.
            now_ns: Simulated time.
            of_robot: Plans the faults that concern neither map nor camera.

        Returns:
            What `of_robot` returns.
        """
        rest, planned = list(texts), list[tuple[Any, Sequence[Fault]]]()
        for eye, kind, stream in (
            (self._mapper, MapFault, mapper.STREAM),
            (self._camera, CameraFault, depth_camera.STREAM),
        ):
            own = [text for text in rest if f":{stream}" in text]
            if own and eye is None:
                raise SimError(
                    f"fault {own[0]}: expected {stream} to be published, found it turned off; set "
                    f"the parameter {stream} to true"
                )
            planned.append((eye, kind.parse_all(own, now_ns=now_ns)))
            rest = [text for text in rest if text not in own]
        plan = of_robot(rest)
        for eye, faults in planned:
            if eye is not None:
                eye.faults = faults
        return plan

    def publish(self, world: World, truth: Sensors, offset_ns: int) -> None:
        """Publish the messages that are due.

        Args:
            world: The world that the camera sees.
            truth: True pose of the robot in the world, and simulated time.
            offset_ns: Offset from simulated time to the clock used for stamps.
        """
        if self._mapper is not None and (made := self._mapper.look(truth)) is not None:
            self._maps.publish(elevation_map_message(made, to_time(made.time_ns + offset_ns)))
        if self._camera is not None and (frame := self._camera.look(world)) is not None:
            stamp = to_time(frame.time_ns + offset_ns)
            self._infos.publish(camera_info_message(self._camera.figures, stamp))
            self._images.publish(depth_image_message(frame, stamp))
