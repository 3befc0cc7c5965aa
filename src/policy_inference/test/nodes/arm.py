# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""An arm with two cameras beside the node under test; what it shows can be wrong in every way."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import numpy.typing as npt
from policy_msgs.msg import ActionChunk
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image

from policy_core.interfaces import Mode
from policy_inference.nodes import qos
from testkit.ros_time import stamp

from .colour_bundle import JOINTS, PERIOD_NS, SIZES
from .harness import Robot

Colour = tuple[int, int, int]
Pixels = npt.NDArray[np.uint8]
FRONT, WRIST = (200, 100, 50), (150, 0, 0)


class Arm(Robot):
    """Robot whose cameras show one colour each, in an encoding each."""

    policy_node = "act_policy_node"
    period_ns = PERIOD_NS
    stand = (0.0,) * len(JOINTS)

    def __init__(self, executor: SingleThreadedExecutor, new_log: Callable[[], str]) -> None:
        super().__init__(executor, new_log)
        self.names, self.velocity = JOINTS, (0.0,) * len(JOINTS)
        self.holds = True
        self.colours: dict[str, Colour] = {"front": FRONT, "wrist": WRIST}
        self.encodings = {"front": "rgb8", "wrist": "rgb8"}
        self.sizes = dict(SIZES)
        self.chunks: list[ActionChunk] = []
        self._listen(ActionChunk, "action_chunk", self.chunks, QoSProfile(depth=100))
        self._raw = {
            name: self.node.create_publisher(Image, f"{name}/image_raw", qos.SAMPLE)
            for name in SIZES
        }
        self._compressed = {
            name: self.node.create_publisher(
                CompressedImage, f"{name}/image_raw/compressed", qos.SAMPLE
            )
            for name in SIZES
        }

    def send(self) -> None:
        if "joint_states" not in self.silent:
            self.send_joints()
        for name in SIZES:
            if name not in self.silent:
                self.send_image(name)

    def send_now(self) -> None:
        """Publish the sensors, stamped by the clock on the wall."""
        self.now_ns = time.time_ns()
        self.send()

    def send_image(self, name: str) -> None:
        encoding = self.encodings[name]
        image: Pixels = np.full((*self.sizes[name], 3), self.colours[name], np.uint8)
        if encoding == "jpeg":
            _, data = cv2.imencode(f".{encoding}", image[:, :, ::-1])
            message = CompressedImage(format=encoding, data=array("B", data.tobytes()))
            message.header.stamp = stamp(self.now_ns)
            self.publish(self._compressed[name], name, message)
            return
        rows = image.reshape(image.shape[0], -1)  # rgb8, or named otherwise than it is
        message = Image(
            height=image.shape[0],
            width=image.shape[1],
            encoding=encoding,
            step=rows.shape[1],
            data=array("B", rows.tobytes()),
        )
        message.header.stamp = stamp(self.now_ns)
        self.publish(self._raw[name], name, message)

    def runs(self) -> Arm:
        self.is_met()
        self.stands()
        self.request("run")
        self.until(lambda: self.tick().mode == Mode.RUN, "RUN")
        return self

    def moves(self, ticks: int) -> list[float]:
        """Return what the first joint is commanded in each of so many ticks, rad."""
        return [self.tick().position[0] for _ in range(ticks)]


def seen_positions(front: Colour = FRONT, wrist: Colour = WRIST) -> Sequence[float]:
    """Return what the policy makes of colours in the first step, rad."""
    return [value / 255.0 for value in (*front, wrist[0])]
