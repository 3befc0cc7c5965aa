# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The simulated SO-101 on its emulated servo bus, in real time, for LeRobot's own classes."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType

from robot_sim.arm_servos import ArmServos
from robot_sim.arm_world import ArmWorld
from robot_sim.faults import starting
from robot_sim.figures import Array
from robot_sim.servo_bus import ServoFault
from robot_sim.servo_port import ServoPort

_STEPS = 4
FEETECH, DYNAMIXEL = "feetech", "dynamixel"


class EmulatedArm:
    """Use it in a `with` block.

    Attributes:
        family: Of its servos.
        port: Serial port of its bus.
        servos: As the bus has them.
    """

    def __init__(
        self, folder: Path, family: str = FEETECH, *, arm: int = 1, name: str = "follower"
    ) -> None:
        """Make an arm at home that is held, and its calibration file NAME.json."""
        self.family, self._world = family, ArmWorld()
        self._arm = ArmServos(family, seed=arm)
        self._arm.save_calibration(folder / f"{name}.json")
        self._arm.hold(self._world)
        self.servos = {servo.name: servo for servo in self._arm.bus.servos}
        self._port = ServoPort(self._arm.bus)
        self.port = self._port.name
        self._lock, self._ending = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> EmulatedArm:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._ending.set()
        self._thread.join()
        self._port.close()

    @property
    def joint_pos(self) -> Array:
        """Where the joints really are [6], rad."""
        with self._lock:
            return self._world.sense().joint_pos

    def limp(self) -> bool:
        """Whether no servo has torque."""
        return not any(servo.get("torque_on") for servo in self.servos.values())

    def fails(self, *texts: str) -> None:
        """Begin these faults now, and end all others.

        Args:
            texts: Without a start; durations are from now on.
        """
        with self._lock:
            now_s = self._world.time_ns / 1e9
            faults = ServoFault.parse_all(starting(text, now_s) for text in texts)
            self._arm.bus.plan(faults)
            self._arm.drive(self._world)

    def _run(self) -> None:
        offset_ns = time.monotonic_ns()
        while not self._ending.is_set():
            with self._lock:
                self._arm.drive(self._world)
                self._world.advance(_STEPS)
                ahead_ns = self._world.time_ns + offset_ns - time.monotonic_ns()
            if ahead_ns > 0:
                time.sleep(ahead_ns / 1e9)
            else:
                offset_ns -= ahead_ns
