# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A chunk policy in its node, in lockstep: each way to execute chunks, with cameras that fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tools.digests.bundles import seeded_chunks
from tools.digests.digest import Case
from tools.digests.messages import chunk_stages, command_stages, position_stages, tapped_stages
from tools.digests.robots import START_NS, Joints, stamp
from tools.digests.ros_robot import RosRobot, environment
from tools.digests.seeded_backend import FAULT, TAP

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
        bundle = seeded_chunks(folder / f"seeded_{name}", PAIRINGS.get(name, {}))
        place = folder / name
        place.mkdir()
        tap, fault = place / "tap", place / "fault"
        asked = {"bundle": str(bundle), "backend": "seeded", "status_rate_hz": 50.0, **parameters}
        with (
            environment(**{TAP: str(tap), FAULT: str(fault)}),
            RosRobot("act_policy_node", asked, place) as robot,
        ):
            arm = Arm(robot, compressed=parameters.get("image_transport") == "compressed")
            opened = len(tap.read_text("utf-8").splitlines())
            arm.ask("stand")
            arm.tick(_TO_STAND)
            arm.ask("run")
            _script(arm, fault)
            arm.ask("reset")
            arm.ask("damp")
            counters = robot.counters(lambda status: status.mode == 0 and not status.latched)
            arm.tick()
            yield (
                name,
                {
                    "answers": arm.answers,
                    **tapped_stages(tap, opened),
                    **chunk_stages(robot.chunks),
                    **(
                        position_stages(robot.commands, parameters["output"])
                        if "output" in parameters
                        else command_stages(robot.commands)
                    ),
                    "counters": [f"{rule}: {count}" for rule, count in counters.items()],
                },
            )


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


class Arm:
    """The arm, its cameras, its operator."""

    def __init__(self, robot: RosRobot, *, compressed: bool) -> None:
        """Meet the node.

        Args:
            robot: The node's other side.
            compressed: Whether images are PNG.
        """
        self.robot, self._compressed = robot, compressed
        self._now_ns, self._tick = START_NS, 0
        self.joints = Joints(ARM, AT_REST, PERIOD_NS * 1e-9)
        self.answers = list[str]()
        self.delay_ns = dict.fromkeys(CAMERAS, 0)
        """How old the frame of each camera is."""
        self.silent = frozenset[str]()
        """Inputs that bring no message."""
        self.frozen = False
        self.change: Callable[[str, Any], None] | None = None
        """Changes a message, of the topic that is named, before it is published."""
        robot.meet(self._show, 1 + len(CAMERAS))

    def ask(self, name: str) -> None:
        """Ask for a service and note the answer."""
        self.answers.append(f"{name}: {self.robot.ask(name)}")

    def tick(self, count: int = 1) -> None:
        """Go on for some ticks."""
        for _ in range(count):
            self._tick += 1
            self._now_ns += PERIOD_NS
            self.joints.follow(self.robot.tick(self._show), self._tick, 0.002)

    def _show(self) -> None:
        from rosgraph_msgs.msg import Clock
        from sensor_msgs.msg import JointState

        joint_state, clock = JointState(), Clock()
        joint_state.name = [*ARM]
        joint_state.position = self.joints.position.tolist()
        joint_state.velocity = self.joints.velocity.tolist()
        stamp(joint_state.header.stamp, self._now_ns)
        self._publish("joint_states", joint_state)
        for number, camera in enumerate(CAMERAS):
            message = self._image(number)
            stamp(message.header.stamp, self._now_ns - self.delay_ns[camera])
            self._publish(f"{camera}/image_raw{'/compressed' * self._compressed}", message)
        stamp(clock.clock, self._now_ns)
        self.robot.publish("/clock", clock)

    def _publish(self, topic: str, message: Any) -> None:
        if topic.partition("/")[0] in self.silent:
            return
        if self.change:
            self.change(topic, message)
        self.robot.publish(topic, message)

    def _image(self, number: int) -> Any:
        from sensor_msgs.msg import CompressedImage, Image

        tick = 0 if self.frozen else self._tick
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


def _script(arm: Arm, fault: Path) -> None:
    """Run, with one thing after another that goes wrong with the cameras."""
    arm.tick(75)
    arm.silent = frozenset(["wrist"])
    arm.tick(6)
    arm.silent = frozenset()
    arm.tick(20)
    arm.delay_ns["front"] = 30_000_000
    arm.tick(20)
    arm.delay_ns["front"], arm.delay_ns["wrist"] = 100_000_000, 10_000_000
    arm.tick(20)
    arm.delay_ns = dict.fromkeys(CAMERAS, 0)
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
