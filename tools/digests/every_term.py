# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A joint policy that reads every term there is, in its node, in lockstep.

Two model inputs with different histories and statistics, a recurrent state, an output that is
observed, joints with other names on the robot, wheels that are driven by velocity, an effort.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tools.digests.bundles import gathering_model
from tools.digests.digest import Case
from tools.digests.messages import FlightContent, command_stages, recordings_in
from tools.digests.robots import FollowingJoints, LockstepRobot, on_grid, turn, wave
from tools.digests.ros_robot import RosRobot
from tools.digests.texts import inspections, replayed

PERIOD_NS = 20_000_000
_JOINTS = ["left_hip", "left_knee", "right_hip", "right_knee", "left_wheel", "right_wheel"]
_ON_ROBOT = [*(f"{name}_joint" for name in _JOINTS[:4]), *_JOINTS[4:]]
_SITTING = np.array([0.5, -1.0, 0.5, -1.0, 3.0, -3.0])
_INPUTS = 5
_RING_S = 1
_TO_STAND = 110
_SHAPES = {
    "obs": [1, 93],
    "extra": [1, 42],
    "h_in": [1, 2, 4],
    "action": [1, 6],
    "estimate": [1, 3],
    "h_out": [1, 2, 4],
}
_IN, _OUT = ("obs", "extra", "h_in"), ("action", "estimate", "h_out")


def every_term(folder: Path) -> Iterator[tuple[str, Case]]:
    """Return one case: the whole run."""
    bundle, flights = write_bundle(folder / "every"), folder / "flights"
    parameters = {
        "bundle": str(bundle),
        "backend": "seeded",
        "status_rate_hz": 50.0,
        "flight.folder": str(flights),
        "flight.min_free_mb": 1.0,
        "flight.duration_s": float(_RING_S),
    }
    with RosRobot("joint_policy_node", parameters, folder) as robot:
        rover = Rover(robot)
        _drive(rover)
        counters = robot.counters(lambda status: status.mode == 0 and status.latched)
        rover.tick()
        robot.end_record()
    recordings = recordings_in(flights, "-run")
    yield (
        "node",
        {
            "answers": rover.answers,
            **FlightContent(recordings).stages(rover.began_ns, rover.now_ns),
            **command_stages(robot.commands[rover.first :]),
            "counters": [f"{rule}: {count}" for rule, count in counters.items()],
        },
    )
    yield "replay", replayed(folder, recordings[0])
    yield from inspections(folder, {"every_term": bundle})


class Rover(LockstepRobot):
    """The robot and its operator."""

    def __init__(self, robot: RosRobot) -> None:
        """Connect to the node and begin to record."""
        self.velocity = (0.0, 0.0, 0.0)
        self.heights: list[float] | None = None
        joints = FollowingJoints(_ON_ROBOT, _SITTING, PERIOD_NS * 1e-9)
        super().__init__(robot, joints, PERIOD_NS, _INPUTS)
        self.tick(2 * _RING_S * 1_000_000_000 // PERIOD_NS)
        robot.record()
        self.began_ns, self.first = self.now_ns, len(robot.commands)

    def messages(self) -> dict[str, Any]:
        """Return one message for each input."""
        from geometry_msgs.msg import Twist
        from nav_msgs.msg import Odometry
        from sensor_msgs.msg import Imu
        from std_msgs.msg import Float32MultiArray

        imu, odom, twist = Imu(), Odometry(), Twist()
        shake = on_grid(wave(self.ticks, 8, 40) / 32.0)
        turn(imu.orientation, float(shake[0]), float(shake[1]))
        rates, speed = imu.angular_velocity, odom.twist.twist.linear
        rates.x, rates.y, rates.z = (shake[2:5] * 16.0).tolist()
        speed.x, speed.y, speed.z = (shake[5:] * 64.0).tolist()
        twist.linear.x, twist.linear.y, twist.angular.z = self.velocity
        heights = on_grid(wave(self.ticks, 5, 30)).tolist()
        return {
            "joint_states": self.joint_state(),
            "imu/data": imu,
            "odom": odom,
            "cmd_vel": twist,
            "heights": Float32MultiArray(data=heights if self.heights is None else self.heights),
        }


def _drive(rover: Rover) -> None:
    rover.ask("stand")
    rover.tick(_TO_STAND)
    rover.ask("run")
    for velocity in ((0.0, 0.0, 0.0), (0.5, 0.0, 0.25), (0.0, 0.05, 0.0), (-0.5, 0.5, -0.5)):
        rover.velocity = velocity
        rover.tick(35)
    for name in ("odom", "heights", "imu/data"):
        rover.silent = frozenset([name])
        rover.tick(4)
        rover.silent = frozenset()
        rover.tick(12)
    rover.silent = frozenset(["heights"])
    rover.tick(20)
    rover.silent = frozenset()
    rover.tick(10)
    rover.heights = [0.5] * 4
    rover.tick(3)
    rover.heights = None
    rover.tick(10)
    rover.ask("damp")
    rover.tick(20)
    rover.ask("stand")
    rover.tick(_TO_STAND)
    rover.ask("run")
    rover.tick(40)
    rover.heights = [math.nan] * 5
    rover.tick(5)
    rover.ask("estop")


def write_bundle(folder: Path) -> Path:
    """Write the bundle: contract, statistics, and a model that picks and halves values."""
    folder.mkdir()
    model = gathering_model(
        {name: _SHAPES[name] for name in _IN}, {name: _SHAPES[name] for name in _OUT}
    )
    (folder / "policy.onnx").write_bytes(model)
    statistics = folder / "obs_stats.npz"
    mean, std = on_grid(wave(5, 93) / 16.0), 0.75 + on_grid(wave(9, 93) / 4.0)
    std[7] = 0.0
    np.savez(statistics, mean=mean.astype(np.float32), std=std.astype(np.float32))
    text = yaml.safe_dump(_contract(_sha256(folder / "policy.onnx"), _sha256(statistics)))
    (folder / "policy.yaml").write_text(text, "utf-8")
    return folder


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _contract(model: str, statistics: str) -> dict[str, Any]:
    legs, wheels = ".*_(hip|knee)", ".*_wheel"
    return {
        "schema_version": 1,
        "kind": "joint",
        "name": "every_term",
        "version": "1.0.0",
        "rate_hz": 50,
        "joints": {
            "names": _JOINTS,
            "robot_names": {legs: "{name}_joint"},
            "default_position": {".*_hip": 0.25, ".*_knee": -0.5, wheels: 0.0},
            "position_min": {legs: -2.0, wheels: -1e6},
            "position_max": {legs: 2.0, wheels: 1e6},
            "velocity_limit": {legs: 20.0, wheels: 40.0},
            "effort_limit": {legs: 20.0, wheels: 5.0},
            "stiffness": {legs: 40.0, wheels: 0.0},
            "damping": {legs: 1.0, wheels: 0.5},
        },
        "stand": {
            "position": {".*_hip": 0.25, ".*_knee": -0.5, wheels: 0.0},
            "stiffness": {legs: 60.0, wheels: 0.0},
            "damping": 2.0,
            "duration_s": 1.5,
        },
        "damp": {"damping": 3.0},
        "observations": {"obs": _obs(statistics), "extra": _extra()},
        "action": {
            "output": "action",
            "terms": [
                {
                    "joints": ["right_hip", "right_knee", "left_hip"],
                    "kind": "position",
                    "scale": 0.25,
                    "offset": "default_position",
                    "clip": [-2.0, 2.0],
                },
                {"joints": [wheels], "kind": "velocity", "scale": {wheels: 4.0}},
                {"joints": ["left_knee"], "kind": "effort", "scale": 2.0, "offset": 0.5},
            ],
        },
        "velocity_command": {"min": [-0.5, -0.25, -0.5], "max": [0.5, 0.25, 0.5]},
        "model": {
            "inputs": {name: {"shape": _SHAPES[name]} for name in _IN},
            "outputs": {name: {"shape": _SHAPES[name]} for name in _OUT},
            "artifacts": {"onnx": {"file": "policy.onnx", "sha256": model, "precision": "fp32"}},
        },
        "state": [{"input": "h_in", "output": "h_out"}],
        "safety": {"on_fault": "damp", "max_tilt_rad": 1.0, "blend_s": 0.3},
        "provenance": {"source": "a check of digests", "licence": "Apache-2.0"},
    }


def _obs(statistics: str) -> dict[str, Any]:
    return {
        "order": "scale_then_clip",
        "history": {"length": 3, "layout": "per_term", "order": "newest_first", "init": "repeat"},
        "clip": 4.0,
        "normalisation": {"file": "obs_stats.npz", "sha256": statistics, "clip": 5.0},
        "terms": [
            {"term": "base_ang_vel", "parts": ["z", "x"], "scale": [0.25, 0.5]},
            {"term": "base_lin_vel", "clip": [-1.0, 1.0]},
            {"term": "base_quat_wxyz"},
            {"term": "projected_gravity"},
            {"term": "velocity_command", "parts": ["wz", "vx"], "scale": [1.0, 2.0]},
            {"term": "joint_pos_rel", "joints": [".*_hip", ".*_knee"]},
            {"term": "joint_vel", "scale": 0.05, "clip": [-0.5, 0.5]},
            {"term": "last_action", "history_length": 1},
            {"term": "external", "topic": "heights", "size": 5, "timeout_s": 0.3},
        ],
    }


def _extra() -> dict[str, Any]:
    return {
        "order": "clip_then_scale",
        "history": {"length": 2, "layout": "per_frame", "order": "oldest_first", "init": "zero"},
        "terms": [
            {
                "term": "phase",
                "period_s": 0.64,
                "offsets": [0.0, 0.5],
                "parts": ["cos", "sin"],
                "standing": {"below": 0.1, "phase": "zero", "clock": "stops"},
            },
            {"term": "tick", "scale": 0.01},
            {"term": "last_output", "output": "estimate", "scale": 0.5},
            {"term": "joint_pos", "clip": [-1.0, 1.0], "scale": 2.0},
            {"term": "base_quat_xyzw"},
            {"term": "velocity_command"},
        ],
    }
