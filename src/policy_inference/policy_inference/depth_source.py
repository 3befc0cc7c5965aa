# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Perception of a policy from a stream of depth images; no ROS is needed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from policy_core.bundle.depth import DepthImage
from policy_core.errors import RobotError
from policy_core.interfaces import F64
from policy_core.observation.depth import F32, DepthHistory, DepthProcessor, ray_factors
from policy_inference.backends.base import BackendBase
from policy_inference.messages.depth import read_depth
from policy_inference.messages.readers import require_past, stamp_ns


class DepthSource:
    """The depth images of one topic of a contract: converts camera images to values."""

    def __init__(
        self,
        topic: str,
        depth: DepthImage,
        period_ns: int,
        camera_measure: str = "depth",
        encoder: BackendBase | None = None,
    ) -> None:
        """Begin without an image.

        Args:
            topic: Topic of the values.
            depth: Section of the contract.
            period_ns: Period of the policy.
            camera_measure: Meaning of the camera's pixels: depth, as in REP 118, or distance.
            encoder: Opened model that computes the values from the images; None for the pixels
                themselves.
        """
        self.topic, self.depth = topic, depth
        self.processor = DepthProcessor(depth)
        self._history = DepthHistory(depth, period_ns)
        self._encoder = encoder
        rows = len(depth.stack.offsets)
        self._values: F64 = np.zeros(depth.count)
        self._into: Any = self._values.reshape(rows, -1)
        if encoder is not None:
            (self._input,), (self._output,) = encoder.inputs.values(), encoder.outputs.values()
            self._into = self._input.reshape(rows, -1)
            self._values = np.zeros(self._output.size)
        self.needs_rays = camera_measure != depth.measure
        self._divides = camera_measure == "distance"
        self._rays: tuple[tuple[float, ...], F32] | None = None
        self._given_ns: int | None = None
        self._began_ns: int | None = None

    def take_camera(self, message: Any) -> None:
        """Set the camera's sensor_msgs/CameraInfo.

        Raises:
            RobotError: Its size is wrong, or it is invalid; the previous one is then discarded too.
        """
        before, self._rays = self._rays, None
        height, width = self.depth.camera_size
        if (message.height, message.width) != (height, width):
            raise RobotError(
                f"camera_info: expected {width} x {height} pixels, the contract's camera_size, "
                f"found {message.width} x {message.height}"
            )
        k = tuple(map(float, message.k))
        if before is None or before[0] != k:
            factors = ray_factors(k, height, width)
            before = k, np.reciprocal(factors) if self._divides else factors
        self._rays = before

    def take(self, message: Any, now_ns: int) -> None:
        """Add an image that has just arrived; skip it if it does not belong in the stack.

        Args:
            message: sensor_msgs/Image or CompressedImage.
            now_ns: Time on the clock of stamps.

        Raises:
            RobotError: The image is invalid or too old, or too many of its depths are unknown.
        """
        made_ns = stamp_ns(message) or now_ns
        age_s = (now_ns - made_ns) * 1e-9
        require_past("depth image", age_s)
        self._require_fresh(age_s)
        if not self._history.wants(made_ns):
            return
        factors = None
        if self.needs_rays:
            if self._rays is None:
                raise RobotError("expected a camera_info that can be used, found none so far")
            factors = self._rays[1]
        self.processor.see(read_depth(message, self.depth.camera_size), factors)
        self._history.add(self.processor.image, made_ns)

    def see(self, now_ns: int) -> tuple[F64, int] | None:
        """Return values and the stamp of the newest image in them; None if unchanged.

        The next call overwrites them.

        Args:
            now_ns: Time on the clock of stamps.

        Raises:
            RobotError: No image has arrived for too long, images are further apart than in
                training, or the encoder's values are not finite.
            BackendError: The encoder failed.
        """
        self._began_ns = self._began_ns or now_ns
        found_ns = self._history.ready_ns(now_ns)
        if found_ns is None or found_ns == self._given_ns:
            newest_ns = self._history.newest_ns
            self._require_fresh((now_ns - (newest_ns or self._began_ns)) * 1e-9)
            return None
        self._given_ns = found_ns
        self._require_fresh((now_ns - found_ns) * 1e-9)
        self._history.write(found_ns, self._into)
        if self._encoder is not None:
            self._encoder.run()
            self._values[:] = self._output.reshape(-1)
        if not math.isfinite(self._values.dot(self._values)):
            raise RobotError("expected finite values, found NaN or infinite ones")
        return self._values, found_ns

    def _require_fresh(self, age_s: float) -> None:
        if age_s > self.depth.max_age_s:
            raise RobotError(
                f"depth image: expected one of at most {self.depth.max_age_s:g} s, found none "
                f"since {age_s:.2f} s"
            )
