# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Simulates my_robot's computer in real time: Lite3 physics behind my_robot's messages.

The command sender has control until it releases control or is silent for 1 s; then the motors damp.
"""

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import rclpy
from my_robot_msgs.msg import LowCommand, LowState
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from my_robot_driver.driver import FIGURES, G_M_S2, JOINT_NAMES
from policy_inference.fast_dds import fast_dds_without_shared_memory
from robot_sim.errors import SimError
from robot_sim.world import DriveCommand, World

STATE_RATE_HZ = 500.0
WATCHDOG_NS = 1_000_000_000
NOISE_G = 0.002
END_SIGNALS = (signal.SIGINT, signal.SIGTERM)
MOST_STEPS = 50
"""Maximum number of simulation steps per cycle, so that on a slow machine the robot slows down but
does not stop.
"""


class Simulator(Node):
    """A simulated robot that starts lying on the floor and sends its state."""

    def __init__(self) -> None:
        """Switch the robot on."""
        super().__init__("my_robot_simulator")
        self._world = World()
        self._order = [self._world.joint_names.index(name) for name in JOINT_NAMES]
        self._noise = np.random.default_rng(0)
        self._begin_s, self._done, self._number = time.monotonic(), 0, 0
        self._states = self.create_publisher(LowState, "/my_robot/low_state", 1)
        self.create_subscription(LowCommand, "/my_robot/low_command", self._obey, 1)
        self.create_timer(1.0 / STATE_RATE_HZ, self._go_on)

    def _obey(self, command: LowCommand) -> None:
        if command.mode != LowCommand.MODE_JOINTS:
            self._world.expire()
            return
        fields = (command.angle_deg, command.speed_deg_s, command.torque_nm)
        angle_deg, speed_deg_s, torque_nm = (field.astype(np.float64) for field in fields)
        drives = DriveCommand(
            joint_names=JOINT_NAMES,
            position=np.radians(angle_deg),
            velocity=np.radians(speed_deg_s),
            effort=torque_nm,
            stiffness=command.stiffness.astype(np.float64),
            damping=command.damping.astype(np.float64),
            effort_limit=FIGURES.largest_torque_nm,
            valid_for_ns=WATCHDOG_NS,
        )
        try:
            self._world.apply(drives)
        except SimError as error:
            self.get_logger().error(f"command ignored: {error}", throttle_duration_sec=1.0)

    def _go_on(self) -> None:
        due = int((time.monotonic() - self._begin_s) * self._world.steps_per_s)
        steps = min(due - self._done, MOST_STEPS)
        self._done = due
        if steps > 0:
            self._world.advance(steps)
            self._states.publish(self._state())

    def _state(self) -> LowState:
        sensors, order = self._world.sense(), self._order
        x, y, z, w = sensors.quat_xyzw
        self._number += 1
        return LowState(
            number=self._number,
            tick_ms=sensors.time_ns // 1_000_000,
            angle_deg=np.degrees(sensors.joint_pos[order]).astype(np.float32),
            speed_deg_s=np.degrees(sensors.joint_vel[order]).astype(np.float32),
            torque_nm=sensors.joint_effort[order].astype(np.float32),
            temperature_c=np.full(len(order), 30.0, np.float32),
            orientation_wxyz=np.array([w, x, y, z], np.float32),
            gyro_deg_s=np.degrees(sensors.ang_vel_body).astype(np.float32),
            # a real IMU has noise; the driver treats one without noise as failed
            acceleration_g=self._noise.normal(sensors.lin_acc_body / G_M_S2, NOISE_G).astype(
                np.float32
            ),
        )


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of the command `my_robot_simulator`; Ctrl-C and SIGTERM end it with status 0."""
    # with shared memory, `publish` may wait 0.33 s while another process starts or ends
    os.environ.update(fast_dds_without_shared_memory(os.environ))
    # rclpy's own handlers would end its context within a callback, which then cannot publish
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    for number in END_SIGNALS:
        signal.signal(number, end)
    with suppress(KeyboardInterrupt):
        rclpy.spin(Simulator())


def end(*_: object) -> None:
    """End the simulation at the first signal, and ignore the rest.

    A terminal and `ros2 launch` send one signal each, the second while Python exits.
    """
    for number in END_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
