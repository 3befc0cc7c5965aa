# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The ten minutes as a recording: what a robot's own sensors would have logged, and pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from robot_sim.demo.plots import write_plots
from robot_sim.figures import FOOT_NAMES, JOINT_NAMES, Array
from robot_sim.metrics import velocity_yaw_aligned
from robot_sim.rotation import tilt_rad
from robot_sim.trace import Trace

CLOSE_UP_S = 12.0
_UNITS = {
    "time": "s since the robot began to stand up", "command": "vx, vy m/s, wz rad/s",
    "velocity": "as the command, in the yaw-aligned base frame",
    "orientation": "x y z w, body to world", "ang_vel_body": "rad/s", "lin_acc_body": "m/s^2",
    "joint_effort": "N m", "foot_force_world": "N",
}  # fmt: skip


def write_recording(trace: Trace, folder: Path) -> None:
    """Write command, velocity, IMU, torques and foot forces of a walk as JSON, and pictures of it.

    The pictures show the whole walk and the seconds about the largest tilt.
    """
    recording = {
        "rate_hz": float(np.round(1.0 / np.diff(trace.time_s[:2])[0], 6)),
        "units": _UNITS,
        "joint_names": JOINT_NAMES, "foot_names": FOOT_NAMES,
        "time": _rounded(trace.time_s), "command": _rounded(trace.command),
        "velocity": _rounded(velocity_yaw_aligned(trace)),
        "orientation": _rounded(trace.quat_xyzw),
        "ang_vel_body": _rounded(trace.ang_vel_body), "lin_acc_body": _rounded(trace.lin_acc_body),
        "joint_effort": _rounded(trace.joint_effort),
        "foot_force_world": _rounded(trace.foot_force_world),
    }  # fmt: skip
    (folder / "ten_minutes.json").write_text(json.dumps(recording), "utf-8")
    write_plots(trace, folder / "ten_minutes.png")
    worst_s = trace.time_s[int(np.argmax(tilt_rad(trace.quat_xyzw)))]
    near = np.searchsorted(trace.time_s, [worst_s - CLOSE_UP_S / 2, worst_s + CLOSE_UP_S / 2])
    write_plots(trace.rows(slice(*near.tolist())), folder / "largest_tilt.png")


def _rounded(values: Array) -> Any:
    return np.round(values, 4).tolist()
