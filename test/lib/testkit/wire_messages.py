# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Messages at random as they go over the wire, in either byte order, valid or not."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

_FIELDS = (
    "base_ang_vel",
    "base_lin_vel",
    "base_pos",
    "base_quat_xyzw",
    "velocity_command",
    "joint_pos",
    "joint_vel",
    "motion_joint_pos",
    "motion_joint_vel",
    "motion_anchor_ori_b",
)
SCAN: Mapping[str, Any] = {
    "points_m": [[0.2, 0.1], [0.2, -0.1]],
    "origin_m": [0.0, 0.0, 0.0],
    "alignment": "yaw",
    "heading": "rotated_x",
    "value": "frame_minus_ground",
    "offset_m": 0.5,
    "invalid": "nearest",
    "max_invalid_ratio": 0.5,
    "map_timeout_s": 0.5,
    "pose_timeout_s": 0.1,
    "layer": "elevation",
}
"""A height scan of two points."""
DEPTH = {
    "camera_size": [2, 3],
    "size": [2, 3],
    "measure": "depth",
    "invalid_m": 5.0,
    "too_far_m": 5.0,
    "max_invalid_ratio": 0.5,
    "steps": ["clip"],
    "clip_m": [0.0, 5.0],
    "values": "scaled",
    "scaled_to": [0.0, 1.0],
    "stack": {"offsets": [0, 1], "unit": "frames", "fill": "repeat"},
    "rate_hz": 20.0,
    "latency_s": 0.0,
    "max_age_s": 0.5,
    "on_stale": "fault",
}
"""Two depth images of six pixels."""
COLOUR = {
    "camera_size": [1, 2],
    "size": [1, 2],
    "steps": [],
    "channels": "rgb",
    "layout": "channels_first",
    "scaled_to": [0.0, 1.0],
    "centre": "none",
    "stack": {"offsets": [0], "unit": "frames", "fill": "repeat"},
    "rate_hz": 20.0,
    "latency_s": 0.0,
    "max_age_s": 0.5,
    "on_stale": "fault",
}
"""A colour image of two pixels."""
ALL_INPUTS: Mapping[str, object] = {
    "observations": {
        "obs": {
            "terms": [
                *({"term": field} for field in _FIELDS),
                {"term": "external", "topic": "scan", "size": 3},
                {"term": "height_scan", "topic": "perception/ground", "scan": SCAN},
            ]
        }
    },
    "motion": {"live": {"timeout_s": 0.1}, "anchor": {"body": "trunk", "chain": []}},
}
"""Changes of a contract that give it every input that a joint policy may have."""


class CdrWriter:
    """Writes CDR values one after the other."""

    def __init__(self, *, is_big_endian: bool = False) -> None:
        self._order = ">" if is_big_endian else "<"
        self._body = bytearray()

    def put(self, kind: str, *values: float) -> CdrWriter:
        """Write values of a kind of `struct`, aligned to its size."""
        packed = struct.Struct(f"{self._order}{len(values)}{kind}")
        self._body += bytes(-len(self._body) % struct.calcsize(f"<{kind}"))
        self._body += packed.pack(*values)
        return self

    def array(self, kind: str, values: Sequence[float]) -> CdrWriter:
        self.put("I", len(values))
        return self.put(kind, *values) if len(values) else self

    def text(self, text: bytes) -> CdrWriter:
        self.put("I", len(text) + 1)
        self._body += text + b"\0"
        return self

    def stamp(self, stamp_ns: int) -> CdrWriter:
        sec, nanosec = divmod(stamp_ns, 1_000_000_000)
        return self.put("i", sec).put("I", nanosec)

    def message(self) -> bytes:
        return (b"\0\0\0\0" if self._order == ">" else b"\0\1\0\0") + self._body


class RandomMessages:
    """Makes messages of a robot whose joints rest somewhere.

    Attributes:
        label: Of the contract that what is perceived is made by.
    """

    label = b""

    def __init__(self, names: Sequence[str], seed: int) -> None:
        self._names = [name.encode() for name in names]
        self._draw, self._noise = random.Random(seed), np.random.default_rng(seed)
        self._position = 0.1 * self._noise.normal(size=len(names))
        self.is_valid, self.is_big_endian = False, False

    def make(self, message: str, stamp_ns: int) -> bytes:
        """Return a message of a ROS type; most of them are valid, all of them if `is_valid`."""
        cdr = CdrWriter(is_big_endian=self.is_big_endian)
        _MAKERS[message](self, cdr, stamp_ns)
        return self._spoilt(cdr.message())

    def _happens(self, share: float) -> bool:
        return not self.is_valid and self._draw.random() < share

    def _spoilt(self, data: bytes) -> bytes:
        spoilt = bytearray(data)
        if self._happens(0.05):
            spoilt[self._draw.randrange(4, len(data))] = self._draw.randrange(256)
        if self._happens(0.03):
            at = 4 * self._draw.randrange(1, len(data) // 4)
            struct.pack_into("<I", spoilt, at, self._draw.choice([0, 1, 2**31, 2**32 - 1]))
        if self._happens(0.08):
            del spoilt[self._draw.randrange(len(data)) :]
        return bytes(spoilt)

    def _numbers(self, count: int) -> list[float]:
        numbers: list[float] = self._noise.normal(size=count).tolist()
        if self._happens(0.05):
            odd = [np.nan, np.inf, -np.inf, 1e200, -1.0, 5e-324]
            numbers[self._draw.randrange(count)] = self._draw.choice(odd)
        return numbers

    def _rotation(self) -> list[float]:
        quat = self._numbers(4)
        length = self._draw.choice([0.5, 2.0]) if self._happens(0.1) else math.hypot(*quat)
        return [0.0] * 4 if self._happens(0.03) else [value / length for value in quat]

    def _text(self) -> bytes:
        if self._happens(0.01):
            return b"x" * 20_000
        if self._happens(0.02):
            return self._draw.choice([b"\xff", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80"])
        return self._draw.choice([b"base", b"base", b"", "prüfstand €𝄞".encode()])

    def joint_state(self, cdr: CdrWriter, stamp_ns: int) -> None:
        names, count = list(self._names), len(self._names)
        if self._draw.random() < 0.2:
            names += [self._text()]
            self._draw.shuffle(names)
        if self._happens(0.05):
            names[self._draw.randrange(len(names))] = self._draw.choice([*names, b"other"])
        if self._happens(0.02):
            self._position = self._position + 0.5 * self._noise.normal(size=count)
        position = self._position + 1e-3 * self._noise.normal(size=count)
        known = dict(zip(self._names, position.tolist(), strict=True))
        arrays = [
            [known.get(name, 7.0) for name in names],
            self._numbers(len(names)),
            self._numbers(len(names)),
        ]
        if self._happens(0.03):
            arrays[0][0] = self._draw.choice([np.nan, 100.0, 1e300])
        if self._happens(0.05):
            arrays[self._draw.randrange(3)].pop()
        if self._happens(0.03):
            arrays[self._draw.randrange(3)].clear()
        cdr.stamp(stamp_ns).text(self._text()).put("I", len(names))
        for name in names:
            cdr.text(name)
        for array in arrays:
            cdr.array("d", array)

    def imu(self, cdr: CdrWriter, stamp_ns: int) -> None:
        covariance = [-1.0 if self._happens(0.05) else 0.0, *self._numbers(8)]
        cdr.stamp(stamp_ns).text(self._text())
        cdr.put("d", *self._rotation(), *covariance, *self._numbers(3 + 9 + 3 + 9))

    def odometry(self, cdr: CdrWriter, stamp_ns: int) -> None:
        cdr.stamp(stamp_ns).text(self._text()).text(self._text())
        cdr.put("d", *self._numbers(7 + 36 + 6 + 36))

    def pose_stamped(self, cdr: CdrWriter, stamp_ns: int) -> None:
        cdr.stamp(stamp_ns).text(self._text()).put("d", *self._numbers(3), *self._rotation())

    def twist(self, cdr: CdrWriter, stamp_ns: int) -> None:
        cdr.put("d", *self._numbers(6))

    def twist_stamped(self, cdr: CdrWriter, stamp_ns: int) -> None:
        cdr.stamp(stamp_ns).text(self._text()).put("d", *self._numbers(6))

    def float32_array(self, cdr: CdrWriter, stamp_ns: int) -> None:
        dimensions = 0 if self.is_valid else self._draw.choice([0, 0, 1, 2])
        cdr.put("I", dimensions)
        for _ in range(dimensions):
            cdr.text(self._text()).put("I", 3).put("I", 3)
        size = self._draw.randrange(6) if self._happens(0.1) else 3
        cdr.put("I", 0).array("f", [0.1 * i for i in range(size)])

    def perceived(self, cdr: CdrWriter, stamp_ns: int) -> None:
        frame = self._draw.choice([self._text(), self.label, b"contract:0", b"contract:\0"])
        cdr.stamp(stamp_ns).text(self.label if self.is_valid else frame).stamp(stamp_ns)
        cdr.text(self._text() if self._happens(0.1) else b"").put("I", 1)
        cdr.array("d", self._numbers(self._draw.randrange(1, 5) if self._happens(0.1) else 2))


_MAKERS: dict[str, Callable[[RandomMessages, CdrWriter, int], None]] = {
    "sensor_msgs/msg/JointState": RandomMessages.joint_state,
    "sensor_msgs/msg/Imu": RandomMessages.imu,
    "nav_msgs/msg/Odometry": RandomMessages.odometry,
    "geometry_msgs/msg/PoseStamped": RandomMessages.pose_stamped,
    "geometry_msgs/msg/Twist": RandomMessages.twist,
    "geometry_msgs/msg/TwistStamped": RandomMessages.twist_stamped,
    "std_msgs/msg/Float32MultiArray": RandomMessages.float32_array,
    "policy_msgs/msg/Perceived": RandomMessages.perceived,
}
