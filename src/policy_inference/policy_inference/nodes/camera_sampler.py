# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Cameras of a chunk policy: subscribe, and bring the newest frames into its buffers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from policy_inference.assembly.freshness import Input
from policy_inference.core.chunks.controller import ChunkRuntime, camera_input
from policy_inference.core.chunks.observation_sync import FrameBuffer
from policy_inference.core.images import frame_of
from policy_inference.core.messages import stamp_ns
from policy_inference.errors import RobotError
from policy_inference.nodes.pacing import Tick
from policy_inference.nodes.sampler import Sampler, subscribe
from policy_inference.nodes.sampling import Sampled, SampleGroup
from policy_inference.nodes.settings import RAW, TRANSPORTS


def subscribe_chunks(
    node: Node, group: SampleGroup, runtime: ChunkRuntime, image_transport: str
) -> dict[str, Sampled[Any]]:
    """Subscribe to all inputs of a chunk policy; return the subscriptions by name of the input.

    Args:
        node: Node that subscribes.
        group: Keeps the executor from them.
        runtime: Whose inputs they are.
        image_transport: How images come: a key of `TRANSPORTS`.
    """
    cameras = {camera_input(name): name for name in runtime.frames}
    others = [name for name in runtime.controller.inputs if name not in cameras]
    message: type[Any] = Image if image_transport == RAW else CompressedImage
    images: dict[str, Sampled[Any]] = {
        entry: Sampled(node, group, message, f"{name}/{TRANSPORTS[image_transport]}")
        for entry, name in cameras.items()
    }
    return {**subscribe(node, group, others, stamped_command=False), **images}


class ChunkSampler(Sampler):
    """Brings the newest messages of all inputs into a chunk policy, at each tick."""

    def __init__(
        self, topics: Mapping[str, Sampled[Any]], runtime: ChunkRuntime, names: tuple[str, ...]
    ) -> None:
        """Prepare; arguments as for `Sampler`."""
        cameras = {camera_input(name): buffer for name, buffer in runtime.frames.items()}
        super().__init__(
            {name: sampled for name, sampled in topics.items() if name not in cameras},
            runtime.controller,
            names,
        )
        self._runtime = runtime
        self._cameras = [
            (runtime.controller.inputs[name], topics[name], buffer)
            for name, buffer in cameras.items()
        ]

    def sample(self, tick: Tick) -> None:
        """Take the newest message of each input; images are checked, and not decoded yet."""
        super().sample(tick)
        for entry, sampled, buffer in self._cameras:
            try:
                _take(sampled, entry, buffer, tick)
            except RobotError as error:
                entry.reject(str(error))

    def restart(self) -> None:
        """Forget ages, stamps and frames, after the clock was reset."""
        super().restart()
        self._runtime.forget_frames()


def _take(sampled: Sampled[Any], entry: Input, buffer: FrameBuffer, tick: Tick) -> None:
    message = sampled.take()
    if message is None or not entry.is_new(stamp := stamp_ns(message), tick.now_ns):
        return
    frame = frame_of(message, buffer.camera)
    entry.accept(tick.now_ns, stamp, tick.ros_now_ns)
    assert entry.measured_ns is not None  # of the message that it just accepted
    buffer.add(frame, entry.measured_ns)
    entry.problem = buffer.problem
