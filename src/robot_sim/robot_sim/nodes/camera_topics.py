# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Publishes the camera images of a simulated arm."""

from collections.abc import Callable
from typing import Any

from rclpy.node import Node

from robot_sim.arm_model import POLICY_CAMERAS
from robot_sim.nodes.messages import CompressedWriter, ImageWriter
from robot_sim.nodes.robot_node import NEWEST
from robot_sim.offscreen import Frame


class CameraTopics:
    """A publisher of `CAMERA/image_raw` or `CAMERA/image_raw/compressed` for each camera."""

    def __init__(
        self,
        node: Node,
        render: Callable[[str], Frame],
        size: tuple[int, int],
        *,
        compressed: bool,
    ) -> None:
        """Create the publishers.

        Args:
            node: Owner of the publishers.
            render: Returns the current image of a camera.
            size: Height and width of the images.
            compressed: True to publish JPEG instead of raw images.
        """
        writer = CompressedWriter if compressed else ImageWriter
        self._render, self._shown_at = render, -1
        self._writers = {name: writer(name, size) for name in POLICY_CAMERAS}
        self._publishers = {
            name: node.create_publisher(writer.MESSAGE, f"{name}/{writer.TOPIC}", NEWEST)
            for name in POLICY_CAMERAS
        }

    def publish(self, step: int, stamp: Any) -> None:
        """Publish the current images.

        Args:
            step: Step of the world; if it is repeated, the same images are published again.
            stamp: Stamp of the messages.
        """
        for name, writer in self._writers.items():
            if self._shown_at != step:
                writer.draw(self._render(name))
            self._publishers[name].publish(writer.stamped(stamp))
        self._shown_at = step
