# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The driver of my_robot does what every driver must do."""

import itertools
import threading
import time

import numpy as np
from my_robot_msgs.msg import LowCommand, LowState
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from my_robot_driver.driver import FIGURES
from robot_driver.testing.case import COMMANDED, GIVEN_BACK, TAKEN, DriverCase, RobotDouble
from robot_driver.testing.conformance import DriverConformance, DriverTimes

PERIOD_S, WATCHDOG_S = 0.005, 1.0
NUMBERS = itertools.count()
# Motors 0 to 11 as LowState.msg numbers them, with the names of the robot's URDF.
LEGS = ("FR", "FL", "HR", "HL")
JOINTS = [f"{leg}_{part}_joint" for leg in LEGS for part in ("HipX", "HipY", "Knee")]
FOLDED_RAD = np.array([0.0, -1.35, 2.55] * 4)


class MyRobotDouble(RobotDouble):
    """A my_robot that lies folded: a node on a thread of its own."""

    def __init__(self) -> None:
        super().__init__(JOINTS, FOLDED_RAD)
        self._name = f"/double_{next(NUMBERS)}"
        self._begin_s = self._next_s = time.monotonic()
        self._number = 0
        self._heard_s, self._controlled = 0.0, False
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @property
    def parameters(self) -> dict[str, object]:
        return {"state_topic": f"{self._name}/state", "command_topic": f"{self._name}/command"}

    def start(self) -> None:
        self._thread.start()

    def restart(self) -> None:
        self._begin_s, self._number, self._controlled = self._next_s, 0, False

    def close(self) -> None:
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        context = Context()
        context.init(args=[])
        node = Node("double", context=context, enable_rosout=False)
        self._states = node.create_publisher(LowState, f"{self._name}/state", 10)
        node.create_subscription(LowCommand, f"{self._name}/command", self._take, 1000)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        while not self._ending.is_set():
            executor.spin_once(timeout_sec=max(0.0, self._next_s - time.monotonic()))
            # All that are due: the rate is the robot's, however busy this machine is.
            while time.monotonic() >= self._next_s:
                self._next_s += PERIOD_S
                self._send()
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()

    def _send(self) -> None:
        if time.monotonic() - self._heard_s > WATCHDOG_S:
            self._controlled = False
        self._number += 1
        if (sensed := self.sense()) is not None:
            x, y, z, w = sensed.quat_xyzw
            self._states.publish(
                LowState(
                    number=self._number,
                    tick_ms=round(1000 * (self._next_s - self._begin_s)),
                    angle_deg=np.degrees(sensed.joint_pos).astype(np.float32),
                    speed_deg_s=np.degrees(sensed.joint_vel).astype(np.float32),
                    torque_nm=sensed.joint_effort.astype(np.float32),
                    orientation_wxyz=np.array([w, x, y, z], np.float32),
                    gyro_deg_s=np.degrees(sensed.ang_vel).astype(np.float32),
                    acceleration_g=(sensed.lin_acc / 9.81).astype(np.float32),
                )
            )

    def _take(self, command: LowCommand) -> None:
        self._heard_s = time.monotonic()
        if command.mode == LowCommand.MODE_RELEASE:
            self._controlled = False
            self.hear(GIVEN_BACK)
            return
        if not self._controlled:
            self._controlled = True
            self.hear(TAKEN)
        fields = (
            np.radians(command.angle_deg),
            np.radians(command.speed_deg_s),
            command.torque_nm,
            command.stiffness,
            command.damping,
        )
        self.hear(COMMANDED, np.stack(fields, axis=1).astype(np.float64))


CASE = DriverCase(
    command=["my_robot_driver"],
    node="my_robot_driver",
    robot=MyRobotDouble,
    figures=FIGURES,
    lost_counter="missed",
    # A busy machine may hold up the double for a while.
    parameters={"state_timeout_s": 0.5, "joint_state_rate_hz": 200.0},
    joint_state_rate_hz=200.0,
)


class TestConformance(DriverConformance):
    """All that does not depend on the clock."""

    case = CASE


class TestTimes(DriverTimes):
    """Rates and delays: run it on a machine that does nothing else."""

    case = CASE
