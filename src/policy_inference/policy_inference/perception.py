# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Compute a policy's perception values from maps and poses, or from images, without ROS."""

from __future__ import annotations

import math
import zlib
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from policy_core.bundle.body import AnyContract
from policy_core.bundle.camera_image import AnyImage, DepthImage
from policy_core.bundle.height_scan import HeightScan
from policy_core.errors import RobotError
from policy_core.interfaces import F64
from policy_core.observation.camera_image import (
    F32,
    ColourProcessor,
    DepthProcessor,
    ImageHistory,
    ray_factors,
)
from policy_core.observation.height_scan import ElevationMap, HeightScanner
from policy_inference.backends.base import BackendBase
from policy_inference.messages.camera import read_colour, read_depth
from policy_inference.messages.elevation import read_elevation, sampled_heights
from policy_inference.messages.pose import Pose
from policy_inference.messages.readers import require_age, require_past, stamp_ns

FROZEN_AFTER_S = 1.0
"""Default time after which an unchanged image is no longer trusted; real cameras have noise."""


class ImageSource:
    """Converts camera images to the values on one topic of a contract."""

    def __init__(
        self,
        topic: str,
        image: AnyImage,
        period_ns: int,
        camera_measure: str = "depth",
        encoder: BackendBase | None = None,
        frozen_after_s: float = FROZEN_AFTER_S,
    ) -> None:
        """Start with no image.

        Args:
            topic: Topic of the values.
            image: The image's section of the contract.
            period_ns: The policy's period.
            camera_measure: Meaning of a depth camera's pixels: depth, as in REP 118, or distance.
            encoder: Opened model that computes the values from the images; None if the values are
                the pixels.
            frozen_after_s: Time after which an unchanged image is no longer trusted; 0 for no
                limit, for a camera without noise.
        """
        self.topic, self.image = topic, image
        self.processor = (
            DepthProcessor(image) if isinstance(image, DepthImage) else ColourProcessor(image)
        )
        self._history = ImageHistory(image, period_ns)
        self._encoder = encoder
        rows = len(image.stack.offsets)
        self._values: F64 = np.zeros(image.count)
        self._into: Any = self._values.reshape(rows, -1)
        if encoder is not None:
            (self._input,), (self._output,) = encoder.inputs.values(), encoder.outputs.values()
            self._into = self._input.reshape(rows, -1)
            self._values = np.zeros(self._output.size)
        self.needs_rays = isinstance(image, DepthImage) and camera_measure != image.measure
        self._divides = camera_measure == "distance"
        self._rays: tuple[tuple[float, ...], F32] | None = None
        self._frozen_after_s = frozen_after_s
        self._content, self._changed_ns = 0, 0
        self._given_ns: int | None = None
        self._heard_ns: int | None = None

    def take_camera(self, message: Any) -> None:
        """Set the camera's intrinsics from a sensor_msgs/CameraInfo.

        Raises:
            RobotError: The message has the wrong size or is invalid; the previous intrinsics are
                then discarded too.
        """
        before, self._rays = self._rays, None
        height, width = self.image.camera_size
        if (message.height, message.width) != (height, width):
            raise RobotError(
                f"camera_info: expected {width} x {height} pixels (the contract's camera_size), "
                f"found {message.width} x {message.height}"
            )
        k = tuple(map(float, message.k))
        if before is None or before[0] != k:
            factors = ray_factors(k, height, width)
            before = k, np.reciprocal(factors) if self._divides else factors
        self._rays = before

    def take(self, message: Any, now_ns: int) -> None:
        """Add an image that has just arrived; skip it if it does not belong in the image stack.

        Args:
            message: sensor_msgs/Image or CompressedImage.
            now_ns: Time on the clock used for stamps.

        Raises:
            RobotError: The image is invalid, is too old, has not changed for too long, or has too
                many unknown depths.
        """
        self._heard_ns = now_ns
        made_ns = stamp_ns(message) or now_ns
        age_s = (now_ns - made_ns) * 1e-9
        require_past("camera image", age_s)
        self._require_fresh(age_s)
        if self._frozen_after_s:
            self._require_change(zlib.crc32(message.data), made_ns)
        if not self._history.wants(made_ns):
            return
        factors = None
        if self.needs_rays:
            if self._rays is None:
                raise RobotError("expected a usable camera_info, found none yet")
            factors = self._rays[1]
        size = self.image.camera_size
        if isinstance(self.processor, DepthProcessor):
            self.processor.see(read_depth(message, size), factors)
        else:
            self.processor.see(read_colour(message, size))
        self._history.add(self.processor.image, made_ns)

    def see(self, now_ns: int) -> tuple[F64, int] | None:
        """Return the values and the stamp (ns) of their newest image; None if unchanged.

        The next call overwrites the values.

        Args:
            now_ns: Time on the clock used for stamps.

        Raises:
            RobotError: No image has arrived for too long, images are farther apart than in
                training, or the encoder's values are not finite.
            BackendError: The encoder failed.
        """
        self._heard_ns = self._heard_ns or now_ns
        found_ns = self._history.ready_ns(now_ns)
        if found_ns is None or found_ns == self._given_ns:
            self._require_fresh((now_ns - self._heard_ns) * 1e-9)
            return None
        self._given_ns = found_ns
        self._require_fresh((now_ns - found_ns) * 1e-9)
        self._history.write(found_ns, self._into)
        if self._encoder is not None:
            self._encoder.run()
            self._values[:] = self._output.reshape(-1)
        if not math.isfinite(self._values.dot(self._values)):
            raise RobotError("expected finite values, found NaN or infinity")
        return self._values, found_ns

    def _require_change(self, content: int, made_ns: int) -> None:
        if content != self._content or made_ns < self._changed_ns:
            self._content, self._changed_ns = content, made_ns
        same_s = (made_ns - self._changed_ns) * 1e-9
        if same_s > self._frozen_after_s:
            raise RobotError(
                f"camera image: expected a new image within {self._frozen_after_s:g} s, found the "
                f"same image for {same_s:.2f} s"
            )

    def _require_fresh(self, age_s: float) -> None:
        if age_s > self.image.max_age_s:
            raise RobotError(
                f"camera image: expected an age of at most {self.image.max_age_s:g} s, found "
                f"{age_s:.2f} s"
            )


_FASTEST_M_S, _FASTEST_RAD_S, _LONGEST_GAP_S = 10.0, 20.0, 0.1
"""No robot moves or turns faster; a larger change is a jump in the pose estimate."""
_JUMP_M, _JUMP_RAD = 0.05, 0.1
FROZEN_AFTER_M = 0.5
"""Default distance after which an unchanged map is no longer trusted."""
_MOST_WAITING = 4
"""Maximum number of maps between two poses, each of which is judged by the next pose."""
FARTHEST_M = 10.0
"""Ground this far above or below the robot is an error, such as heights in millimeters."""


class _Map(NamedTuple):
    """A map that was heard, with its frame and its creation time on the clock used for stamps."""

    elevation: ElevationMap
    frame: str
    made_ns: int
    content: tuple[int, tuple[float, float]]


class ScanSource:
    """Converts elevation maps, or points sampled elsewhere, to the values of a height scan.

    A map replaces the last one only if a scan can be made from it; otherwise the last one serves
    until it is too old.

    Attributes:
        refusal: Why the newest map is not used; empty if it is.
    """

    def __init__(self, topic: str, scan: HeightScan, frozen_after_m: float) -> None:
        """Start with no map.

        Args:
            topic: Topic of the values.
            scan: The scan's section of the contract.
            frozen_after_m: Distance that the robot may move before an unchanged map is no longer
                trusted; 0 for no limit, for a map that is known in advance.
        """
        self.topic, self._scan = topic, scan
        self.scanner = HeightScanner(scan)
        self._frozen_after_m = frozen_after_m
        self._map: _Map | None = None
        self._waiting = deque[_Map](maxlen=_MOST_WAITING)
        self.refusal = "no elevation map received"
        self._content: tuple[int, tuple[float, float]] | None = None
        self._seen_from: F64 = np.zeros(3)
        self._pose: Pose | None = None
        self._jumped_ns: int | None = None

    @property
    def frame(self) -> str:
        """Frame in which the next pose is expected; empty without a map."""
        expected = self._map or self._newest
        return expected.frame if expected else ""

    @property
    def map_stamp_ns(self) -> int:
        """Creation time of the map in use; 0 without a map."""
        return self._map.made_ns if self._map else 0

    def take_map(self, message: Any, now_ns: int) -> None:
        """Store a grid_map_msgs/GridMap that has just arrived.

        Raises:
            RobotError: The map is malformed, or its stamp is too old or ahead of the clock; it is
                left out.
        """
        made_ns = stamp_ns(message) or now_ns
        try:
            require_age("stamp", (now_ns - made_ns) * 1e-9, self._scan.map_timeout_s)
            found = read_elevation(message, self._scan.layer)
        except RobotError as error:
            self.refusal = f"elevation map: {error}"
            raise RobotError(self.refusal) from None
        self.take(found, message.header.frame_id, made_ns)

    def take(self, found: ElevationMap, frame: str, made_ns: int) -> None:
        """Store a map, with its frame and its creation time (ns) on the clock used for stamps."""
        newest = self._newest
        later_s = (made_ns - newest.made_ns) * 1e-9 if newest else 0.0
        if -self._scan.map_timeout_s < later_s < 0.0:
            return  # overtaken by a newer one in transit
        if later_s < 0.0:
            self._jumped_ns = None  # the map's clock was set back
        if abs(later_s) > self._scan.map_timeout_s:
            self._map = None
        content = zlib.crc32(found.heights.tobytes()), found.centre
        self._waiting.append(_Map(found, frame, made_ns, content))

    def see(self, pose: Pose, now_ns: int) -> F64:
        """Return the values at a pose; the next call overwrites them.

        Raises:
            RobotError: There is no map, the map or the pose is too old, the map has not changed for
                too long, the pose has jumped or is in the wrong frame, too few points are known, or
                one is too far above or below the robot.
        """
        require_age("pose", (now_ns - pose.stamp_ns) * 1e-9, self._scan.pose_timeout_s)
        self._note_pose(pose)
        newest_first = [*reversed(self._waiting)]
        self._waiting.clear()
        refusal = ""
        for found in newest_first:
            try:
                values = self._see(found, pose, now_ns)
            except RobotError as error:
                refusal = refusal or str(error)
            else:
                self._use(found, pose)
                self.refusal = refusal
                return values
        self.refusal = refusal or self.refusal
        if self._map is None:
            raise RobotError(self.refusal)
        try:
            return self._see(self._map, pose, now_ns)
        except RobotError as error:
            if not self.refusal or str(error) == self.refusal:
                raise
            raise RobotError(f"{error}; a newer map was refused: {self.refusal}") from None

    @property
    def _newest(self) -> _Map | None:
        return self._waiting[-1] if self._waiting else self._map

    def _see(self, found: _Map, pose: Pose, now_ns: int) -> F64:
        """Return the values of one map at a pose; raise RobotError if they are not to be had."""
        age_s = (now_ns - found.made_ns) * 1e-9
        require_age("elevation map", age_s, self._scan.map_timeout_s)
        if pose.frame != found.frame:
            raise RobotError(
                f"elevation map: expected a map in the pose's frame, {pose.frame!r}, found "
                f"{found.frame!r}"
            )
        if self._jumped_ns is not None and found.made_ns <= self._jumped_ns:
            raise RobotError(
                "the pose has jumped: expected a map that was made after the jump, found none"
            )
        is_same = found.content == self._content
        moved_m = math.dist(self._seen_from, pose.position) if is_same else 0.0
        if self._frozen_after_m and moved_m > self._frozen_after_m:
            raise RobotError(
                f"elevation map: expected a new map after {moved_m:.2f} m of travel, found the "
                "same map"
            )
        self.scanner.sample(found.elevation, pose.position, pose.quat_xyzw)
        return self._values()

    def _use(self, found: _Map, pose: Pose) -> None:
        self._map, self._jumped_ns, self.refusal = found, None, ""
        if found.content != self._content:
            self._content, self._seen_from = found.content, pose.position

    def _values(self) -> F64:
        """Return the values of the scanner's heights."""
        heights = self.scanner.heights
        farthest = float(np.abs(heights[np.isfinite(heights)]).max(initial=0.0))
        if farthest > FARTHEST_M:
            raise RobotError(
                f"elevation map: expected ground within {FARTHEST_M:g} m above or below the "
                f"robot, found {farthest:.3g} m; heights are in meters"
            )
        self.scanner.see()
        return self.scanner.values

    def ground(self) -> F64 | None:
        """Return the ground points from the last scan [points, 3] in the base frame, m.

        None if another program has sampled them.
        """
        if self._pose is None:
            return None
        return self.scanner.ground(self._pose.position, self._pose.quat_xyzw)

    def take_points(self, message: Any) -> F64:
        """Return the values of points that another program has sampled.

        Raises:
            RobotError: The points do not match the contract, too few are known, or one is too far
                above or below the robot.
        """
        self.scanner.heights[:] = sampled_heights(message, self.scanner.heights.size)
        return self._values()

    def _note_pose(self, pose: Pose) -> None:
        before, self._pose = self._pose, pose
        if before is None or before.frame != pose.frame or pose.stamp_ns <= before.stamp_ns:
            return
        gap_s = min((pose.stamp_ns - before.stamp_ns) * 1e-9, _LONGEST_GAP_S)
        way_m = float(np.linalg.norm(pose.position - before.position))
        half_turn = min(1.0, abs(float(pose.quat_xyzw @ before.quat_xyzw)))
        turned_rad = 2.0 * math.acos(half_turn)
        if (
            way_m > _JUMP_M + _FASTEST_M_S * gap_s
            or turned_rad > _JUMP_RAD + _FASTEST_RAD_S * gap_s
        ):
            self._jumped_ns = pose.stamp_ns


def make_scans(contracts: Sequence[AnyContract], frozen_after_m: float) -> list[ScanSource]:
    """Return a source for each height scan in the contracts, one per topic."""
    scans = {topic: scan for contract in contracts for topic, scan in contract.scans.items()}
    return [ScanSource(topic, scan, frozen_after_m) for topic, scan in scans.items()]
