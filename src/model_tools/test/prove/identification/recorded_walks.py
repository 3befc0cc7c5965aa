# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings of a simulated walk, as `ros2 bag record` makes them of a robot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model_tools.simulation.controlled import ControlledPolicy
from model_tools.simulation.robot import mixed
from policy_core.bundle.bundle import JointBundle
from policy_core.interfaces import F64
from policy_inference.backends.registry import open_backend
from policy_inference.bag_file import BagFile
from policy_inference.flight.message_types import message_types
from policy_inference.flight.sensors import IMU, JOINT_STATES, SensorMessages
from policy_inference.messages.wire import JOINT_COMMAND
from robot_sim.drives import DriveCommand
from robot_sim.world import NS_PER_S, Sensors, World

JOINT_PERIOD_NS, IMU_STEPS = 2_000_000, 2
SENT_AFTER_NS = 500_000


@dataclass(frozen=True, kw_only=True)
class Robot:
    """What the robot of a recording has that its contract does not say.

    Attributes:
        latency_ms: Of commands.
        stiffness_scale, damping_scale: Gains as shares of the commanded ones.
        noise: Standard deviations of positions (rad), velocities (rad/s), torques (N m).
        turned_deg: How the gyroscope is mounted, about x.
    """

    latency_ms: float = 0.0
    stiffness_scale: float = 1.0
    damping_scale: float = 1.0
    noise: Sequence[float] = (0.0, 0.0, 0.0)
    turned_deg: float = 0.0


def record_walk(folder: Path, bundle: JointBundle, robot: Robot, duration_s: float) -> Path:
    """Walk with jumping commands, and record joints at 500 Hz, the IMU at 250 Hz, and commands."""
    types = message_types()
    messages, bag = SensorMessages(types), BagFile(folder, types)
    backend, _ = open_backend(bundle, ["onnx"])
    policy, world = ControlledPolicy(bundle, backend), World()
    world.latency_ns = round(robot.latency_ms * 1e6)
    world.scale_gains(stiffness=robot.stiffness_scale, damping=robot.damping_scale)
    random = np.random.default_rng(1)
    schedule = mixed(duration_s, seed=3)
    for tick in range(round(duration_s * bundle.contract.rate_hz)):
        sensed = world.sense()
        newest = [value for time_s, value in schedule if time_s <= tick / bundle.contract.rate_hz]
        drive = policy(sensed, np.array(newest[-1]))
        world.apply(drive)
        sent_ns = sensed.time_ns + SENT_AFTER_NS
        assert policy.targets is not None
        command = _command(types, drive, sensed.time_ns, tick, int(policy.targets.mode))
        bag.write("/joint_command", JOINT_COMMAND, sent_ns, command)
        for step in range(round(NS_PER_S / bundle.contract.rate_hz) // JOINT_PERIOD_NS):
            sensed = world.sense()
            values = [
                value + random.normal(0.0, sigma, value.shape) if sigma else value
                for value, sigma in zip(
                    (sensed.joint_pos, sensed.joint_vel, sensed.joint_effort),
                    robot.noise,
                    strict=True,
                )
            ]
            stamp_ns = sensed.time_ns
            said = messages.joint_states(stamp_ns, sensed.joint_names, *values)
            bag.write("/joint_states", JOINT_STATES.type, stamp_ns, said)
            if step % IMU_STEPS == 0:
                bag.write("/imu/data", IMU.type, stamp_ns, _imu(messages, sensed, robot))
            world.step(JOINT_PERIOD_NS)
    backend.close()
    bag.finish()
    return folder


def _imu(messages: SensorMessages, sensed: Sensors, robot: Robot) -> bytes:
    angle = np.radians(robot.turned_deg)
    cosine, sine = np.cos(angle), np.sin(angle)
    turned: F64 = np.array([[1.0, 0.0, 0.0], [0.0, cosine, sine], [0.0, -sine, cosine]])
    rate = turned @ sensed.ang_vel_body
    return messages.imu(sensed.time_ns, sensed.quat_xyzw, rate, sensed.lin_acc_body)


def _command(types: Any, drive: DriveCommand, stamp_ns: int, number: int, mode: int) -> bytes:
    """Return the command as a JointCommand."""
    make = types.types
    sec, nanosec = divmod(stamp_ns, NS_PER_S)
    message = make[JOINT_COMMAND](
        stamp=make["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec),
        sequence=number,
        valid_for=make["builtin_interfaces/msg/Duration"](sec=0, nanosec=drive.valid_for_ns),
        mode=mode,
        names=list(drive.joint_names),
        **{
            name: np.asarray(getattr(drive, name), float)
            for name in (
                "position",
                "velocity",
                "effort",
                "stiffness",
                "damping",
                "effort_limit",
            )
        },
    )
    return bytes(types.serialize_cdr(message, JOINT_COMMAND))
