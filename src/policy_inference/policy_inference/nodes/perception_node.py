# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Perception for a bundle's policies: heights from an elevation map, depth and color images.

    perception_node --ros-args -p bundle:=lite3_stairs -r elevation_map:=/elevation_map_raw

Subscribes (best effort, depth 1): for height scans, if `source` is grid_map, `elevation_map`
(grid_map_msgs/GridMap) and the pose of the base in the map's frame: `odom` (nav_msgs/Odometry), or,
with `base_frame`, `/tf` and `/tf_static` (tf2_msgs/TFMessage); if `source` is points or array,
`sampled_points` (sensor_msgs/PointCloud2 or std_msgs/Float32MultiArray) from another program. For
the images on a topic TOPIC, `TOPIC/image` (sensor_msgs/Image) or, with `image_transport`,
`TOPIC/image/compressedDepth` or `TOPIC/image/compressed` (sensor_msgs/CompressedImage);
`TOPIC/camera_info` (sensor_msgs/CameraInfo), if the camera and the policy measure distance
differently.
Publishes (reliable, depth 1): the topics of the contract's terms (policy_msgs/Perceived), a scan
for each pose, at most two per policy period, and the values of each image. If a scan or image
fails, its message gives the reason. For inspection, if there is a subscriber: `TOPIC/points`
(sensor_msgs/PointCloud2), the ground at a scan's points, with index and value, in the frame
base_link; `TOPIC/seen` (sensor_msgs/Image), an image as the policy sees it: depth as 32FC1, color
before its scaling.
"""
# run: ready: perception.height_scan

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from builtin_interfaces.msg import Time
from nav_msgs.msg import Odometry
from policy_msgs.msg import Perceived
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import Float32MultiArray, Header

from policy_core.bundle.bundle import AnyBundle, Bundle, ModelFiles, list_policies
from policy_core.bundle.camera_image import DepthImage
from policy_core.bundle.load import load_bundle, trusted_keys
from policy_core.errors import BackendError, PolicyError, RobotError
from policy_core.interfaces import F64
from policy_core.observation.camera_image import ColourProcessor, DepthProcessor
from policy_core.observation.scan_scene import check_scenes
from policy_inference.backends.registry import OpenedModels, open_models, parse_options
from policy_inference.messages.pose import Pose, Transforms, read_pose
from policy_inference.messages.readers import shortened
from policy_inference.messages.wire import Decode
from policy_inference.nodes import qos
from policy_inference.nodes.parameters import Spec, refuse_arguments
from policy_inference.nodes.process import ServedNode, serve_node
from policy_inference.nodes.sampling import decoder_for
from policy_inference.nodes.settings import POLICY
from policy_inference.perception import (
    FROZEN_AFTER_M,
    FROZEN_AFTER_S,
    ImageSource,
    ScanSource,
    make_scans,
)

BASE = "base_link"
GRID_MAP, POINTS, ARRAY = "grid_map", "points", "array"
RAW, COMPRESSED = "raw", "compressed"
_ENCODINGS = {"rgb": "rgb8", "bgr": "bgr8", "grey": "mono8"}
_SILENT_S = 1.0
_POLICY = ("bundle", "public_key", "backend", "backend_options")
PARAMETERS = (
    *(spec for spec in POLICY if spec.name in _POLICY),
    Spec(
        name="source",
        type=str,
        default=GRID_MAP,
        choices=(GRID_MAP, POINTS, ARRAY),
        doc="grid_map: a grid_map_msgs/GridMap; points, array: points that another program has "
        "sampled, as sensor_msgs/PointCloud2 or std_msgs/Float32MultiArray",
    ),
    Spec(
        name="base_frame",
        type=str,
        default="",
        doc="Frame of the base in tf, such as base_link, whose pose in the map frame is then read "
        "from tf instead of `odom`",
    ),
    Spec(
        name="frozen_after_m",
        type=float,
        default=FROZEN_AFTER_M,
        minimum=0.0,
        maximum=1000.0,
        doc="Distance, m, that the robot may travel before an unchanged map is rejected; 0: no "
        "limit (for a map known in advance)",
    ),
    Spec(
        name="frozen_after_s",
        type=float,
        default=FROZEN_AFTER_S,
        minimum=0.0,
        maximum=1000.0,
        doc="Time after which an unchanged image is refused, s; 0: never, for a camera without "
        "noise",
    ),
    Spec(
        name="image_transport",
        type=str,
        default=RAW,
        choices=(RAW, COMPRESSED),
        doc="Transport of the images: raw: TOPIC/image; compressed: TOPIC/image/compressedDepth "
        "in PNG for depth, TOPIC/image/compressed for color",
    ),
    Spec(
        name="depth_measure",
        type=str,
        default="depth",
        choices=("depth", "distance"),
        doc="Meaning of a depth camera's pixels: depth along the optical axis, as in REP 118, or "
        "distance along the ray",
    ),
)


class PerceptionNode(ServedNode):
    """Publishes the perception inputs of a bundle's policies."""

    def __init__(self, overrides: Sequence[Parameter] = ()) -> None:
        """Read parameters (overrides take precedence) and contracts; subscribe.

        Raises:
            PolicyError: The bundle cannot be used, or its policies need no perception.
        """
        super().__init__("perception_node", PARAMETERS, overrides)
        values = self.values
        bundle = load_bundle(values["bundle"], trusted_keys(values["public_key"]), kind=Bundle)
        policies = list_policies(bundle)
        for one in policies:
            check_scenes(one)
        contracts = [one.contract for one in policies]
        self._least_ns = min(contract.period_ns for contract in contracts) // 2
        self._seen_ns: int | None = None
        self._heard_ns = self._now_ns
        self._transforms = Transforms()
        self._pose_timeout_s = max(
            (scan.pose_timeout_s for each in contracts for scan in each.scans.values()), default=0.0
        )
        self._encoders: list[OpenedModels] = []
        self._cameras = self._open_cameras(policies, values)
        self._scans = make_scans(contracts, values["frozen_after_m"])
        if not (self._scans or self._cameras):
            raise PolicyError(
                "bundle: expected a policy with a height_scan, depth or image term, found none in "
                f"{values['bundle']}"
            )
        self._labels = {
            topic: label for each in contracts for topic, label in each.perceived.items()
        }
        self._publishers_of = {
            topic: self.create_publisher(Perceived, topic, qos.COMMAND)
            for topic in (*(scan.topic for scan in self._scans), *self._cameras)
        }
        self._points = {
            scan.topic: self.create_publisher(PointCloud2, f"{scan.topic}/points", qos.COMMAND)
            for scan in self._scans
        }
        self._images = {
            topic: self.create_publisher(Image, f"{topic}/seen", qos.COMMAND)
            for topic in self._cameras
        }
        if self._scans:
            self._subscribe_to_ground(values["source"], values["base_frame"])
        for source in self._cameras.values():
            self._subscribe_to_camera(source, values["image_transport"])

    def _open_cameras(
        self, policies: Sequence[AnyBundle], values: Mapping[str, Any]
    ) -> dict[str, ImageSource]:
        names = [name.strip() for name in values["backend"].split(",")]
        options = parse_options(filter(None, values["backend_options"].split(",")))
        found = dict[str, ImageSource]()
        for policy in policies:
            for topic, term in policy.contract.images.items():
                if topic in found or term.camera_image is None:
                    continue
                encoder = None
                if term.encoder is not None:
                    files = ModelFiles(
                        folder=policy.path, key=f"encoder of {topic}", model=term.encoder
                    )
                    self._encoders.append(open_models([files], names, options))
                    encoder = self._encoders[-1].first
                found[topic] = ImageSource(
                    topic,
                    term.camera_image,
                    policy.contract.period_ns,
                    values["depth_measure"],
                    encoder,
                    values["frozen_after_s"],
                )
        return found

    def _subscribe_to_ground(self, source: str, base_frame: str) -> None:
        if source == GRID_MAP:
            from grid_map_msgs.msg import GridMap

            self.create_subscription(GridMap, "elevation_map", self._on_map, qos.SAMPLE)
            if base_frame:
                from tf2_msgs.msg import TFMessage

                decode = decoder_for(TFMessage)
                for topic, profile in (("/tf", qos.TRANSFORMS), ("/tf_static", qos.FIXED)):
                    callback = partial(
                        self._on_transforms, decode, base_frame, profile is qos.FIXED
                    )
                    self.create_subscription(TFMessage, topic, callback, profile, raw=True)
            else:
                self.create_subscription(Odometry, "odom", self._on_odometry, qos.SAMPLE)
        else:
            kind = PointCloud2 if source == POINTS else Float32MultiArray
            self.create_subscription(kind, "sampled_points", self._on_points, qos.SAMPLE)
        heard = ("tf" if base_frame else "odom") if source == GRID_MAP else "sampled_points"
        silence = partial(self._notice_silence, heard)
        self.create_timer(_SILENT_S, silence, clock=self.get_clock())

    def _subscribe_to_camera(self, source: ImageSource, transport: str) -> None:
        kind, image = Image, f"{source.topic}/image"
        if transport == COMPRESSED:
            is_depth = isinstance(source.image, DepthImage)
            kind, image = CompressedImage, f"{image}/{COMPRESSED}{'Depth' if is_depth else ''}"
        self.create_subscription(kind, image, partial(self._on_image, source), qos.SAMPLE)
        if source.needs_rays:
            self.create_subscription(
                CameraInfo,
                f"{source.topic}/camera_info",
                partial(self._on_camera_info, source),
                qos.SAMPLE,
            )
        # Images wait until they are as old as in training, and missing ones are noticed.
        wanted = source.image
        waits_s = 0.25 / wanted.rate_hz if wanted.latency_s else wanted.max_age_s
        self.create_timer(waits_s, partial(self._publish_image, source), clock=self.get_clock())

    @property
    def _now_ns(self) -> int:
        now: int = self.get_clock().now().nanoseconds
        return now

    def _on_map(self, message: Any) -> None:
        for scan in self._scans:
            try:
                scan.take_map(message, self._now_ns)
            except RobotError as error:
                self._warn(scan.topic, error)

    def _on_odometry(self, message: Odometry) -> None:
        self._take_pose(partial(read_pose, message), message.header.stamp)

    def _on_transforms(self, decode: Decode, base_frame: str, static: bool, data: bytes) -> None:
        try:
            self._transforms.take(decode(data), self._now_ns, static=static)
        except RobotError as error:
            self._warn("/tf_static" if static else "/tf", error)
        if not static:
            frame = self._scans[0].frame or base_frame
            limits = self._now_ns, self._pose_timeout_s
            self._take_pose(partial(self._transforms.pose, base_frame, frame, *limits))

    def _notice_silence(self, topic: str) -> None:
        """Report that no scans are made because messages are missing."""
        silent_s = (self._now_ns - self._heard_ns) * 1e-9
        if silent_s >= _SILENT_S:
            error = RobotError(f"{topic}: expected a message, found none for {silent_s:.1f} s")
            for scan in self._scans:
                self._refuse(scan.topic, _time(self._now_ns), error)

    def _take_pose(self, read: Callable[[], Pose], stamp: Time | None = None) -> None:
        now_ns = self._heard_ns = self._now_ns
        try:
            pose = read()
        except RobotError as error:
            if self._is_due(now_ns):
                for scan in self._scans:
                    self._refuse(scan.topic, stamp or _time(now_ns), error)
            return
        if not pose.stamp_ns:
            pose = replace(pose, stamp_ns=now_ns)
        if self._is_due(pose.stamp_ns):
            for scan in self._scans:
                see = partial(scan.see, pose, now_ns)
                self._publish(scan, stamp or _time(pose.stamp_ns), see)

    def _is_due(self, stamp_ns: int) -> bool:
        before_ns = self._seen_ns
        if before_ns is not None and 0 <= stamp_ns - before_ns < self._least_ns:
            return False
        self._seen_ns = stamp_ns
        return True

    def _on_points(self, message: Any) -> None:
        self._heard_ns = self._now_ns
        header = getattr(message, "header", None)
        stamp = Time() if header is None else header.stamp
        for scan in self._scans:
            self._publish(scan, stamp, partial(scan.take_points, message))

    def _on_image(self, source: ImageSource, message: Any) -> None:
        try:
            source.take(message, self._now_ns)
        except RobotError as error:
            self._refuse(source.topic, message.header.stamp, error)
        else:
            self._publish_image(source)

    def _on_camera_info(self, source: ImageSource, message: CameraInfo) -> None:
        try:
            source.take_camera(message)
        except RobotError as error:
            self._refuse(source.topic, message.header.stamp, error)

    def _publish_image(self, source: ImageSource) -> None:
        now_ns = self._now_ns
        try:
            seen = source.see(now_ns)
        except (RobotError, BackendError) as error:
            self._refuse(source.topic, _time(now_ns), error)
            return
        if seen is not None:
            values, stamp_ns = seen
            self._publishers_of[source.topic].publish(
                Perceived(
                    header=self._header(source.topic, _time(stamp_ns)),
                    invalid=source.processor.invalid,
                    data=array("d", values.tobytes()),
                )
            )
            if self._images[source.topic].get_subscription_count():
                self._images[source.topic].publish(_image(source.processor, _time(stamp_ns)))

    def _header(self, topic: str, stamp: Time) -> Header:
        return Header(stamp=stamp, frame_id=self._labels[topic])

    def _publish(self, scan: ScanSource, stamp: Time, see: Callable[[], F64]) -> None:
        message = Perceived(
            header=self._header(scan.topic, stamp), map_stamp=_time(scan.map_stamp_ns)
        )
        try:
            message.data = array("d", see().tobytes())
            message.invalid = scan.scanner.invalid
            if scan.refusal and scan.map_stamp_ns:
                self._warn(scan.topic, RobotError(f"the last map serves: {scan.refusal}"))
        except RobotError as error:
            message.problem = shortened(str(error))
            self._warn(scan.topic, error)
        self._publishers_of[scan.topic].publish(message)
        if self._points[scan.topic].get_subscription_count() and not message.problem:
            ground = scan.ground()
            if ground is not None:
                cloud = _cloud(ground, scan.scanner.values, message.header.stamp)
                self._points[scan.topic].publish(cloud)

    def _refuse(self, topic: str, stamp: Time, error: Exception) -> None:
        self._warn(topic, error)
        header = self._header(topic, stamp)
        self._publishers_of[topic].publish(Perceived(header=header, problem=shortened(str(error))))

    def _warn(self, topic: str, error: Exception) -> None:
        self.get_logger().warning(f"{topic}: {shortened(str(error))}", throttle_duration_sec=1.0)

    def close(self) -> None:
        """Close the encoders."""
        for encoder in self._encoders:
            encoder.close()


def _cloud(ground: F64, values: F64, stamp: Time) -> PointCloud2:
    """Return ground points [points, 3], each with its index and the policy's value."""
    columns = np.column_stack([ground, np.arange(len(ground)), values]).astype(np.float32)
    names = ("x", "y", "z", "index", "value")
    step = columns.itemsize * len(names)
    return PointCloud2(
        header=Header(stamp=stamp, frame_id=BASE),
        height=1,
        width=len(columns),
        fields=[
            PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
            for i, name in enumerate(names)
        ],
        point_step=step,
        row_step=step * len(columns),
        data=array("B", columns.tobytes()),
        is_dense=bool(np.isfinite(columns).all()),
    )


def _image(processor: DepthProcessor | ColourProcessor, stamp: Time) -> Image:
    """Return an image as seen by the policy, with colors before scaling."""
    if isinstance(processor, DepthProcessor):
        pixels: npt.NDArray[Any] = processor.image
        encoding = "32FC1"
    else:
        pixels, encoding = processor.levels(), _ENCODINGS[processor.colour.channels]
    height, width = pixels.shape[:2]
    return Image(
        header=Header(stamp=stamp),
        height=height,
        width=width,
        encoding=encoding,
        step=pixels.nbytes // height,
        data=array("B", pixels.tobytes()),
    )


def _time(ns: int) -> Time:
    return Time(sec=ns // 1_000_000_000, nanosec=ns % 1_000_000_000)


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of the `perception_node` command."""
    refuse_arguments("perception_node", __doc__, PARAMETERS, args)
    sys.exit(serve_node("perception_node", PerceptionNode, args))


if __name__ == "__main__":
    main()
