# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The simulated SO-101 on its emulated servo bus, in real time, for LeRobot's own classes.

It lives in a process of its own, as LeRobot's libraries of servos spin while they wait.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from robot_driver.interfaces import DriverError
from robot_sim.arm_servos import ArmServos
from robot_sim.arm_world import ArmWorld
from robot_sim.faults import starting
from robot_sim.figures import Array
from robot_sim.servo_bus import ServoFault, ServoPort

_STEPS = 4
FEETECH, DYNAMIXEL = "feetech", "dynamixel"
JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")


T = TypeVar("T")
SOON_S = 60.0
"""Far beyond what a busy machine takes."""


def patiently(call: Callable[[], T], errors: tuple[type[Exception], ...] = (DriverError,)) -> T:
    """Return what servos answer: on a busy machine they may after LeRobot's time-out."""
    end_s = time.monotonic() + SOON_S
    while True:
        try:
            return call()
        except errors:
            if time.monotonic() > end_s:
                raise


class EmulatedArm:
    """Use it in a `with` block.

    Attributes:
        family: Of its servos.
        port: Serial port of its bus.
    """

    def __init__(
        self, folder: Path, family: str = FEETECH, *, arm: int = 1, name: str = "follower"
    ) -> None:
        """Make an arm at home that is held, and its calibration file NAME.json."""
        self.family = family
        words = [str(folder / f"{name}.json"), family, str(arm)]
        self._process = subprocess.Popen(
            [sys.executable, __file__, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.port: str = self._answer()

    def __enter__(self) -> EmulatedArm:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
        self._process.wait()

    @property
    def joint_pos(self) -> Array:
        """Where the joints really are [6], rad."""
        return np.array(self._ask("joint_pos"))

    def get(self, name: str, register: str) -> int:
        return int(self._ask("get", name, register))

    def put(self, name: str, register: str, value: int) -> None:
        self._ask("put", name, register, value)

    def memory(self) -> list[str]:
        """Return all that can be written of all servos."""
        memory: list[str] = self._ask("memory")
        return memory

    def limp(self) -> bool:
        return not any(self.get(name, "torque_on") for name in JOINTS)

    def fails(self, *texts: str) -> None:
        """Begin these faults now, and end all others.

        Args:
            texts: Without a start; durations are from now on.
        """
        self._ask("fails", *texts)

    def _ask(self, *question: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


def live(file: Path, family: str, seed: int) -> None:
    """Simulate in real time and answer, until standard input ends."""
    world, arm = ArmWorld(), ArmServos(family, seed=seed)
    arm.save_calibration(file)
    arm.hold(world)
    servos = {servo.name: servo for servo in arm.bus.servos}
    port = ServoPort(arm.bus)
    answer_with(port.name)
    offset_ns, heard = time.monotonic_ns(), b""
    while True:
        arm.drive(world)
        world.advance(_STEPS)
        ahead_ns = world.time_ns + offset_ns - time.monotonic_ns()
        offset_ns -= min(0, ahead_ns)
        if not select.select([0], [], [], max(0, ahead_ns) / 1e9)[0]:
            continue
        asked = os.read(0, 1000)
        if not asked:
            port.close()
            return
        heard += asked
        if not heard.endswith(b"\n"):
            continue
        what, *rest = json.loads(heard)
        heard, answer = b"", None
        if what == "joint_pos":
            answer = world.sense().joint_pos.tolist()
        elif what == "get":
            answer = servos[rest[0]].get(rest[1])
        elif what == "put":
            servos[rest[0]].put(*rest[1:])
        elif what == "memory":
            answer = [servo.read(0, 56).hex() for servo in servos.values()]
        elif what == "fails":
            now_s = max(0.0, world.time_ns / 1e9 - 1e-3)  # whole ms are written
            arm.bus.plan(ServoFault.parse_all(starting(text, now_s) for text in rest))
            arm.drive(world)
        answer_with(answer)


def answer_with(answer: Any) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    live(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
