# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Cameras of chunk policies: subscriptions, and the newest frames in their buffers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from policy_core.control.controller import Controller
from policy_core.errors import RobotError
from policy_core.members.chunk.controller import camera_input
from policy_core.members.chunk.observation_sync import FrameBuffer
from policy_core.observation.freshness import Input
from policy_core.observation.images import read_frame
from policy_inference.messages.readers import stamp_ns
from policy_inference.nodes.pacing import DueTick
from policy_inference.nodes.sampler import Sampler, subscribe
from policy_inference.nodes.sampling import Sampled, SampleGroup
from policy_inference.nodes.settings import RAW, TRANSPORTS

FramesOf = Mapping[str, Sequence[FrameBuffer]]
"""Buffers for new frames by camera, one for each policy that observes it."""


def subscribe_with_cameras(
    node: Node,
    group: SampleGroup,
    inputs: Iterable[str],
    frames: FramesOf,
    image_transport: str,
    *,
    stamped_command: bool,
) -> dict[str, Sampled[Any]]:
    """Subscribe to inputs; return the subscriptions by name of the input.

    Args:
        node: Node that subscribes.
        group: Keeps the executor away from the subscriptions.
        inputs: Names of the inputs.
        frames: Buffers by camera; no other input is a camera.
        image_transport: Transport of the images: a key of `TRANSPORTS`.
        stamped_command: As for `subscribe`.
    """
    cameras = {camera_input(name): name for name in frames}
    others = [name for name in inputs if name not in cameras]
    message: type[Any] = Image if image_transport == RAW else CompressedImage
    images: dict[str, Sampled[Any]] = {
        entry: Sampled(node, group, message, f"{name}/{TRANSPORTS[image_transport]}")
        for entry, name in cameras.items()
    }
    return {**subscribe(node, group, others, stamped_command=stamped_command), **images}


class CameraSampler(Sampler):
    """Passes the newest messages of all inputs to policies with cameras, at each tick."""

    def __init__(
        self,
        topics: Mapping[str, Sampled[Any]],
        controller: Controller,
        frames: FramesOf,
        names: Sequence[str],
    ) -> None:
        cameras = {camera_input(name): buffers for name, buffers in frames.items()}
        super().__init__(
            {name: sampled for name, sampled in topics.items() if name not in cameras},
            controller,
            names,
        )
        self._cameras = [
            (controller.inputs[name], topics[name], tuple(buffers))
            for name, buffers in cameras.items()
        ]

    def sample(self, tick: DueTick) -> None:
        """Take the newest message of each input; images are checked, but not yet decoded."""
        super().sample(tick)
        for entry, sampled, buffers in self._cameras:
            try:
                _take(sampled, entry, buffers, tick)
            except RobotError as error:
                entry.reject(str(error))

    def restart(self) -> None:
        super().restart()
        for _, _, buffers in self._cameras:
            for buffer in buffers:
                buffer.clear()


def _take(
    sampled: Sampled[Any], entry: Input, buffers: Sequence[FrameBuffer], tick: DueTick
) -> None:
    message = sampled.take()
    if message is None or not entry.is_new(stamp := stamp_ns(message), tick.now_ns):
        return
    frames = [read_frame(message, buffer.camera) for buffer in buffers]
    entry.accept(tick.now_ns, stamp, tick.ros_now_ns)
    assert entry.measured_ns is not None  # of the message that it has just accepted
    for buffer, frame in zip(buffers, frames, strict=True):
        buffer.add(frame, entry.measured_ns)
        entry.problem = entry.problem or buffer.problem
        entry.repeats = buffer.repeats
