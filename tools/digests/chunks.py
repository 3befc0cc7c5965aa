# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A chunk policy in its node, in lockstep: each way to execute chunks, with cameras that fail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from policy_inference.processes import environment
from tools.digests.bundles import seeded_chunks
from tools.digests.digest import Case
from tools.digests.messages import (
    chunk_stages,
    command_stages,
    position_stages,
    recordings_in,
    tapped_stages,
)
from tools.digests.robots import FollowingJoints, LockstepRobot
from tools.digests.ros_robot import RosRobot
from tools.digests.seeded_backend import FAULT, TAP
from tools.digests.texts import inspections, replayed

PERIOD_NS = 33_333_333
ARM = ["shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper"]
AT_REST = np.array([0.125, -1.25, 1.0, 1.0, -1.5, 0.25])
"""Positions in which the arm begins, rad."""
CAMERAS = ("front", "wrist")
HEIGHT, WIDTH = 96, 128
_TO_STAND = 100
"""Ticks that standing up takes, and some more."""


def execute(folder: Path) -> Iterator[tuple[str, Case]]:
    """Return a case for each way to execute chunks."""
    for name, parameters in WAYS.items():
        place = folder / name
        place.mkdir()
        bundle = seeded_chunks(place / "seeded", PAIRINGS.get(name, {}))
        tap, fault = place / "tap", place / "fault"
        flights = place / "flights"
        asked = {
            "bundle": str(bundle),
            "backend": "seeded",
            "status_rate_hz": 50.0,
            "flight.folder": str(flights),
            "flight.min_free_mb": 1.0,
            **parameters,
        }
        with (
            environment({TAP: str(tap), FAULT: str(fault)}),
            RosRobot("act_policy_node", asked, place) as robot,
        ):
            arm = LockstepArm(robot, compressed=parameters.get("image_transport") == "compressed")
            opened = len(tap.read_text("utf-8").splitlines())
            robot.record()
            arm.ask("stand")
            arm.tick(_TO_STAND)
            arm.ask("run")
            _script(arm, fault)
            arm.ask("reset")
            arm.ask("damp")
            counters = robot.counters(lambda status: status.mode == 0 and not status.latched)
            arm.tick()
            robot.end_record()
            executed = {
                "answers": arm.answers,
                **tapped_stages(tap, opened),
                **chunk_stages(robot.chunks),
                **(
                    position_stages(robot.commands, parameters["output"])
                    if "output" in parameters
                    else command_stages(robot.commands)
                ),
                "counters": [f"{rule}: {count}" for rule, count in counters.items()],
            }
        yield name, executed
        (recording,) = recordings_in(flights, "-run")
        yield f"replay_{name}", replayed(place, recording)
        yield from inspections(place, {f"flight_{name}": recording})


WAYS: Mapping[str, Mapping[str, Any]] = {
    "synchronous": {"mode": "synchronous", "n_action_steps": 12},
    "synchronous_slow": {
        "mode": "synchronous",
        "simulated_latency_s": 0.15,
        "output": "position_array",
    },
    "ensemble": {"mode": "ensemble", "output": "joint_trajectory"},
    "asynchronous": {
        "mode": "asynchronous",
        "simulated_latency_s": 0.1,
        "refill_threshold": 0.5,
        "fade_s": 0.2,
    },
    "realigned": {
        "mode": "asynchronous",
        "simulated_latency_s": 0.25,
        "refill_threshold": 0.75,
        "fade_s": 0.3,
        "realign": True,
        "output": "joint_state",
        "image_transport": "compressed",
    },
}


PAIRINGS: Mapping[str, Mapping[str, Any]] = {"realigned": {"tolerance_s": 0.02}}
"""By way, the contract's pairing where it is not the default."""


class LockstepArm(LockstepRobot):
    """The arm, its cameras, its operator."""

    def __init__(self, robot: RosRobot, *, compressed: bool) -> None:
        """Meet the node.

        Args:
            robot: The node's other side.
            compressed: Whether images are PNG.
        """
        self._compressed, self.frozen = compressed, False
        joints = FollowingJoints(ARM, AT_REST, PERIOD_NS * 1e-9)
        super().__init__(robot, joints, PERIOD_NS, 1 + len(CAMERAS))

    def messages(self) -> dict[str, Any]:
        """Return the state of the joints, and an image of each camera."""
        end = "/compressed" * self._compressed
        images = {
            f"{camera}/image_raw{end}": self._image(place) for place, camera in enumerate(CAMERAS)
        }
        return {"joint_states": self.joint_state(), **images}

    def _image(self, number: int) -> Any:
        from sensor_msgs.msg import CompressedImage, Image

        tick = 0 if self.frozen else self.ticks
        pixels = synthetic_image(number, tick)
        if self._compressed:
            import cv2

            message = CompressedImage(format="png")
            message.data = cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()
            return message
        return Image(
            height=HEIGHT, width=WIDTH, encoding="rgb8", step=3 * WIDTH, data=pixels.tobytes()
        )


def synthetic_image(camera: int, tick: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return an image [height, width, 3] RGB that whole numbers make."""
    row, column, colour = np.ogrid[:HEIGHT, :WIDTH, :3]
    values = row * (3 + camera) + column * 5 + colour * 40 + tick * (7 + 2 * camera) + camera * 90
    return np.asarray(values % 256, np.uint8)


def _script(arm: LockstepArm, fault: Path) -> None:
    """Run, with one thing after another that goes wrong with the cameras."""
    arm.tick(75)
    arm.silent = frozenset(["wrist"])
    arm.tick(6)
    arm.silent = frozenset()
    arm.tick(20)
    arm.late_ns = {"front": 30_000_000}
    arm.tick(20)
    arm.late_ns = {"front": 100_000_000, "wrist": 10_000_000}
    arm.tick(20)
    arm.late_ns = {}
    arm.tick(10)
    arm.change = _blue_first
    arm.tick(10)
    arm.change = _too_small
    arm.tick(4)
    arm.change = None
    arm.tick(20)
    arm.frozen = True
    arm.tick(15)
    arm.frozen = False
    arm.tick(10)
    fault.write_text("raise", "utf-8")
    arm.tick(5)
    fault.unlink()
    arm.tick(40)
    arm.silent = frozenset(["joint_states"])
    arm.tick(4)
    arm.silent = frozenset()
    arm.tick(20)


def _blue_first(topic: str, message: Any) -> None:
    if hasattr(message, "encoding"):
        message.encoding = "bgr8"


def _too_small(topic: str, message: Any) -> None:
    if topic.startswith("front") and hasattr(message, "height"):
        message.height -= 1
        message.data = message.data[: -message.step]
