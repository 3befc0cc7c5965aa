# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Converts a world's state to the messages of a real robot, and command messages to commands."""

import io
from array import array
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Quaternion, Vector3
from grid_map_msgs.msg import GridMap
from nav_msgs.msg import Odometry
from PIL import Image as Pillow
from policy_msgs.msg import ContactForces, JointCommand
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Imu, JointState
from std_msgs.msg import Float32MultiArray, MultiArrayDimension, MultiArrayLayout

from robot_sim.depth_camera import STREAM, DepthCameraFigures, DepthFrame
from robot_sim.driven import NS_PER_S, JointSensors
from robot_sim.drives import DriveCommand
from robot_sim.errors import SimError
from robot_sim.mapper import FRAME, MadeMap
from robot_sim.offscreen import Frame
from robot_sim.world import Sensors

_JPEG_QUALITY = 90


def to_time(ns: int) -> Time:
    """Convert ns since the clock's zero to a ROS time."""
    sec, nanosec = divmod(ns, NS_PER_S)
    return Time(sec=sec, nanosec=nanosec)


def nanoseconds(stamp: Time) -> int:
    return int(stamp.sec * NS_PER_S + stamp.nanosec)


class JointStateWriter:
    """Fills one JointState message repeatedly, with the joints in a given order."""

    def __init__(self, order: Sequence[str], joint_names: Sequence[str]) -> None:
        """Prepare the message.

        Args:
            order: Joint names in the order of the message.
            joint_names: Names in the order of the sensors' arrays.
        """
        if sorted(order) != sorted(joint_names):
            raise SimError(
                f"joint_order: expected each joint once ({', '.join(joint_names)}), found "
                f"({', '.join(order)})"
            )
        self._index = np.array([list(joint_names).index(name) for name in order])
        self.message = JointState(name=list(order))
        self._views = []
        for field in ("position", "velocity", "effort"):
            setattr(self.message, field, array("d", bytes(8 * len(order))))
            # a view of the message's own memory, filled without conversion
            self._views.append(np.frombuffer(getattr(self.message, field)))

    def fill(self, sensors: JointSensors, stamp: Time) -> JointState:
        """Write positions (rad), velocities (rad/s) and torques (N·m)."""
        self.message.header.stamp = stamp
        values = (sensors.joint_pos, sensors.joint_vel, sensors.joint_effort)
        for view, row in zip(self._views, values, strict=True):
            row.take(self._index, out=view)
        return self.message


def imu_message(sensors: Sensors, stamp: Time) -> Imu:
    message = Imu(
        orientation=Quaternion(**_named("xyzw", sensors.quat_xyzw)),
        angular_velocity=Vector3(**_named("xyz", sensors.ang_vel_body)),
        linear_acceleration=Vector3(**_named("xyz", sensors.lin_acc_body)),
    )
    message.header.stamp, message.header.frame_id = stamp, "imu_link"
    return message


def odometry_message(sensors: Sensors, stamp: Time) -> Odometry:
    """Return the pose in `odom` and the velocities in `base_link`."""
    message = Odometry(child_frame_id="base_link")
    message.header.stamp, message.header.frame_id = stamp, "odom"
    message.pose.pose.position = Point(**_named("xyz", sensors.pos_world))
    message.pose.pose.orientation = Quaternion(**_named("xyzw", sensors.quat_xyzw))
    message.twist.twist.linear = Vector3(**_named("xyz", sensors.lin_vel_body))
    message.twist.twist.angular = Vector3(**_named("xyz", sensors.ang_vel_body))
    return message


def contact_message(sensors: Sensors, names: Sequence[str], stamp: Time) -> ContactForces:
    """Return the ground reaction force on each foot, N, world frame."""
    forces = [Vector3(**_named("xyz", force)) for force in sensors.foot_force_world]
    message = ContactForces(names=list(names), forces=forces)
    message.header.stamp, message.header.frame_id = stamp, "world"
    return message


def drive_command(message: JointCommand) -> DriveCommand:
    return DriveCommand(
        joint_names=tuple(message.names),
        position=np.array(message.position),
        velocity=np.array(message.velocity),
        effort=np.array(message.effort),
        stiffness=np.array(message.stiffness),
        damping=np.array(message.damping),
        effort_limit=np.array(message.effort_limit),
        valid_for_ns=message.valid_for.sec * NS_PER_S + message.valid_for.nanosec,
    )


def elevation_map_message(made: MadeMap, stamp: Time) -> GridMap:
    """Return a map message with one layer, `elevation`."""
    elevation = made.elevation
    rows, columns = elevation.heights.shape
    message = GridMap(layers=["elevation"], basic_layers=["elevation"])
    message.header.frame_id, message.header.stamp = FRAME, stamp
    info = message.info
    info.resolution = elevation.resolution_m
    info.length_x, info.length_y = (size * elevation.resolution_m for size in (rows, columns))
    info.pose.position.x, info.pose.position.y = elevation.centre
    message.data = [
        Float32MultiArray(
            layout=MultiArrayLayout(
                dim=[
                    MultiArrayDimension(label="column_index", size=columns, stride=rows * columns),
                    MultiArrayDimension(label="row_index", size=rows, stride=rows),
                ]
            ),
            data=array("f", elevation.heights.T.tobytes()),
        )
    ]
    return message


def depth_image_message(frame: DepthFrame, stamp: Time) -> Image:
    """Return a depth image message, in meters; the z axis of its frame is the optical axis."""
    height, width = frame.metres.shape
    message = Image(height=height, width=width, encoding="32FC1", step=4 * width)
    message.header.frame_id, message.header.stamp = STREAM, stamp
    message.data = array("B", frame.metres.tobytes())
    return message


def camera_info_message(figures: DepthCameraFigures, stamp: Time) -> CameraInfo:
    height, width = figures.size
    f, x, y = figures.focal_px, (width - 1) / 2.0, (height - 1) / 2.0
    message = CameraInfo(height=height, width=width, distortion_model="plumb_bob", d=[0.0] * 5)
    message.header.frame_id, message.header.stamp = STREAM, stamp
    message.k = [f, 0.0, x, 0.0, f, y, 0.0, 0.0, 1.0]
    message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    message.p = [f, 0.0, x, 0.0, 0.0, f, y, 0.0, 0.0, 0.0, 1.0, 0.0]
    return message


def _named(axes: str, values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> dict[str, float]:
    return dict(zip(axes, values.tolist(), strict=True))


class ImageWriter:
    """Writes uncompressed images, rgb8."""

    MESSAGE: ClassVar[Any] = Image
    TOPIC: ClassVar[str] = "image_raw"

    def __init__(self, frame_id: str, size: tuple[int, int]) -> None:
        """Prepare a message.

        Args:
            frame_id: Name of the camera.
            size: Height and width of the images.
        """
        height, width = size
        self._message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
        self._message.header.frame_id = frame_id
        self._message.data = array("B", bytes(3 * width * height))
        # a view of the message's own memory, filled without conversion
        self._pixels = np.frombuffer(self._message.data, np.uint8).reshape(height, width, 3)

    def draw(self, frame: Frame) -> None:
        self._pixels[:] = frame

    def stamped(self, stamp: Time) -> Image:
        self._message.header.stamp = stamp
        return self._message


class CompressedWriter:
    """Writes JPEG images."""

    MESSAGE: ClassVar[Any] = CompressedImage
    TOPIC: ClassVar[str] = "image_raw/compressed"

    def __init__(self, frame_id: str, _size: tuple[int, int]) -> None:
        self._message = CompressedImage(format="rgb8; jpeg compressed bgr8")
        self._message.header.frame_id = frame_id

    def draw(self, frame: Frame) -> None:
        file = io.BytesIO()
        Pillow.fromarray(frame).save(file, "JPEG", quality=_JPEG_QUALITY)
        self._message.data = array("B", file.getvalue())

    def stamped(self, stamp: Time) -> CompressedImage:
        self._message.header.stamp = stamp
        return self._message
