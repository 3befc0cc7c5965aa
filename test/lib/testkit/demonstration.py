# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings of demonstrations: an arm, its leader, and two cameras that send JPEG.

A clip imitates a camera on a table: a textured ground, two moving objects, and sensor noise
(standard deviation 2 of 255). Beyond its length it plays backwards and forwards.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from policy_core.interfaces import U8

from .bags import TYPES, S, header, joint_state, write_bag

CAMERAS = ("front", "wrist")
JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
RATE_HZ, JOINTS_HZ = 30, 100
START_S = 1_700_000_000
_NOISE, _QUALITY = 2.0, 90


def mapping_content(size: tuple[int, int]) -> dict[str, Any]:
    """Return the content of a mapping file for these recordings, with this image size."""
    height, width = size
    source = {"type": "sensor_msgs/msg/JointState"}
    return {
        "schema_version": 1,
        "robot_type": "so101_follower",
        "rate_hz": RATE_HZ,
        "joints": {name: {"unit": "degrees"} for name in JOINTS[:-1]}
        | {"gripper": {"unit": "range_0_100", "low_rad": -0.174533, "high_rad": 1.745329}},
        "vectors": {
            "observation.state": [{"topic": "joint_states", **source}],
            "action": [{"topic": "leader/joint_states", **source}],
        },
        "cameras": {
            name: {"topic": f"{name}/image_raw/compressed", "height": height, "width": width}
            for name in CAMERAS
        },
    }


def clip(frames: int, size: tuple[int, int], seed: int) -> list[U8]:
    """Return a clip, uint8 [height, width, 3] each."""
    rng, (height, width) = np.random.default_rng(seed), size
    small = rng.integers(60, 200, (height // 16, width // 16, 3)).astype(np.float32)
    ground = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    found = []
    for number in range(frames):
        image, turn = ground.copy(), 2 * np.pi * number / max(frames, 60)
        centre = (int(width * (0.5 + 0.3 * np.cos(turn))), int(height * (0.5 + 0.3 * np.sin(turn))))
        cv2.circle(image, centre, height // 8, (220.0, 40.0, 40.0), -1, cv2.LINE_AA)
        corner = (int(width * 0.1 + number % (width // 2)), height // 6)
        cv2.rectangle(
            image,
            corner,
            (corner[0] + width // 8, corner[1] + height // 5),
            (40.0, 80.0, 210.0),
            -1,
        )
        noisy = image + rng.normal(0.0, _NOISE, image.shape)
        found.append(np.clip(noisy, 0, 255).astype(np.uint8))
    return found


def positions_rad(time_s: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return joint positions within their ranges."""
    return 0.6 + 0.5 * np.sin(time_s * np.arange(1.0, 7.0) / 3.0)


def write_demonstration(
    folder: Path,
    duration_s: float,
    *,
    size: tuple[int, int] = (480, 640),
    seed: int = 0,
    clip_frames: int = 150,
    image_topic: str = "image_raw/compressed",
) -> Path:
    """Write a recording as `ros2 bag record` does; the leader is 50 ms ahead.

    The topic of images is below the camera's name.
    """
    images = {
        name: [_jpeg(one) for one in clip(clip_frames, size, seed + number)]
        for number, name in enumerate(CAMERAS)
    }
    said = (
        (topic, START_S * S + time_ns, message)
        for time_ns, topic, message in _messages(duration_s, images, image_topic)
    )
    return write_bag(folder, said)


def _messages(
    duration_s: float, images: dict[str, list[Any]], image_topic: str
) -> Iterator[tuple[int, str, Any]]:
    """Yield time since the start, topic and message, in order of time."""
    step_ns, frame = S // JOINTS_HZ, 0
    for time_ns in range(0, round(duration_s * S), step_ns):
        for topic, ahead_s in (("/joint_states", 0.0), ("/leader/joint_states", 0.05)):
            yield (
                time_ns,
                topic,
                joint_state(START_S * S + time_ns, JOINTS, positions_rad(time_ns / S + ahead_s)),
            )
        while (begin_ns := frame * S // RATE_HZ) < time_ns + step_ns:
            for name, shots in images.items():
                there, back = divmod(frame, len(shots))[::-1]
                shot = shots[-1 - there if back % 2 else there]
                yield (
                    begin_ns,
                    f"/{name}/{image_topic}",
                    TYPES.types["sensor_msgs/msg/CompressedImage"](
                        header(START_S * S + begin_ns), "rgb8; jpeg compressed bgr8", shot
                    ),
                )
            frame += 1


def _jpeg(image: U8) -> Any:
    options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1].ravel()
